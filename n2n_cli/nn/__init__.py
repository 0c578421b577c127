"""The framework: layers, losses and optimisers in NumPy. Arrays in, arrays out; no files, no clock, no terminal.

Arrays are (N, C, H, W), names and argument order are those of `torch.nn`.

What a network is made of:

module           Parameter and Module, what every layer and container is
containers       Sequential: modules one after the other
geometry         shapes of outputs, and the pixels that they depend on
skips            Residual and SkipConcat: modules with a path around them
conv             the convolution
transpose_conv   the convolution that enlarges
upsampling       enlarging by repetition
pooling          the largest value of every window
shuffle          pixels to channels and back
activations      ReLU, LeakyReLU, Sigmoid
functional       the pure array functions behind the layers, in adjoint pairs
init             how weights start
he               He initialisation of a whole network
freezing         parameters that do not learn
spec             a network as tables of a TOML file
registering      names of a user's own layers and losses
gradient_check   gradients by central differences
arguments        checks of constructor arguments

How it learns:

losses           MSE, L1
optimizer        what every optimiser is
optim            SGD, gradient clipping; all optimisers can be imported from here
adam             Adam, AdamW
muon             Muon
schedules        the learning rate from step to step
averaging        the mean of the weights over the last steps
"""

from n2n_cli.nn.activations import LeakyReLU, ReLU, Sigmoid
from n2n_cli.nn.containers import Sequential
from n2n_cli.nn.conv import Conv2d
from n2n_cli.nn.gradient_check import check_gradients
from n2n_cli.nn.losses import L1, MSE, Loss, register_loss
from n2n_cli.nn.module import Module, Parameter
from n2n_cli.nn.optim import SGD, Adam, AdamW, Muon
from n2n_cli.nn.optimizer import Optimizer
from n2n_cli.nn.pooling import MaxPool2d
from n2n_cli.nn.shuffle import PixelShuffle, PixelUnshuffle
from n2n_cli.nn.skips import Residual, SkipConcat
from n2n_cli.nn.spec import register_layer
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
    "check_gradients",
    "register_layer",
    "register_loss",
]
