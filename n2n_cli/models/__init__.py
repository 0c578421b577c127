"""Models: networks with the way they are trained, and the weights that come with the package.

model          Model: network, optimiser, loss and checkpoint
trainer        Trainer: steps of an optimiser
predictor      Predictor: denoises images of any size
channels       images of other channels than a network's
choice         which checkpoint a name stands for
exporting      checkpoints without training state, and means of several
self_ensemble  average over flips and rotations
"""
