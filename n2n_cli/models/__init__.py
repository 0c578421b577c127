"""Models: networks with optimiser and loss, and the bundled weights.

model          Model: network, optimiser, loss and checkpoint
trainer        Trainer: optimiser steps, alone, on workers or on several ranks
predictor      Predictor: a compiled network that denoises images of any size
channels       adapts images to a network with another number of channels
choice         finds the checkpoint that a name stands for
exporting      checkpoints without training state, and averages of several
onnx_file      a network as an ONNX file, for images of any size
onnx_nodes     ONNX nodes of each kind of layer
self_ensemble  average over eight flips and rotations
"""
