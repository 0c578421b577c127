"""The framework: layers, losses and optimisers in NumPy. Arrays in, arrays out; no files, no clock, no terminal.

Arrays are (N, C, H, W), names and argument order are those of `torch.nn`.
"""

from n2n_cli.nn.activations import LeakyReLU, ReLU, Sigmoid
from n2n_cli.nn.containers import Sequential
from n2n_cli.nn.conv import Conv2d
from n2n_cli.nn.losses import L1, MSE, Loss
from n2n_cli.nn.module import Module, Parameter
from n2n_cli.nn.optim import SGD, Adam, AdamW, Muon
from n2n_cli.nn.optimizer import Optimizer
from n2n_cli.nn.pooling import MaxPool2d
from n2n_cli.nn.shuffle import PixelShuffle, PixelUnshuffle
from n2n_cli.nn.skips import Residual, SkipConcat
from n2n_cli.nn.transpose_conv import TransposeConv2d
from n2n_cli.nn.upsampling import NearestUpsampling

__all__ = [
    "L1",
    "MSE",
    "SGD",
    "Adam",
    "AdamW",
    "Conv2d",
    "LeakyReLU",
    "Loss",
    "MaxPool2d",
    "Module",
    "Muon",
    "NearestUpsampling",
    "Optimizer",
    "Parameter",
    "PixelShuffle",
    "PixelUnshuffle",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "SkipConcat",
    "TransposeConv2d",
]
