"""The framework: layers, losses and optimisers in NumPy. Arrays in, arrays out; no files, no clock, no terminal.

Arrays are (N, C, H, W), names and argument order are those of `torch.nn`.
"""

from n2n_cli.nn.activations import ReLU, Sigmoid
from n2n_cli.nn.containers import Sequential
from n2n_cli.nn.conv import Conv2d
from n2n_cli.nn.losses import MSE, Loss
from n2n_cli.nn.module import Module, Parameter
from n2n_cli.nn.optim import SGD, Optimizer
from n2n_cli.nn.upsampling import NearestUpsampling

__all__ = [
    "MSE",
    "SGD",
    "Conv2d",
    "Loss",
    "Module",
    "NearestUpsampling",
    "Optimizer",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
]
