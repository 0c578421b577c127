"""Models: networks with optimiser and loss, and the bundled weights.

model          Model: network, optimiser, loss and checkpoint
trainer        Trainer: optimiser steps, alone, on workers or on several ranks
predictor      Predictor: a compiled network that denoises images of any size
channels       adaptation of images to a network with another number of channels
choice         choice of a checkpoint by name or path
exporting      checkpoints without training state, and averages of several
onnx_file      ONNX files of networks, for images of any size
onnx_nodes     ONNX nodes of each type of layer
self_ensemble  average over eight flips and rotations
"""
