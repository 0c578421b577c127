"""The deep-learning framework: layers, losses and optimisers in NumPy.

Arrays are (N, C, H, W); names and argument order follow `torch.nn`. Nothing here reads files, the clock or the
terminal.

Layers and networks:

module           Parameter and Module, the base of layers and containers
containers       Sequential
geometry         output shapes and receptive fields
skips            Residual and SkipConcat: containers with a skip connection
conv             convolution
transpose_conv   transposed convolution
upsampling       nearest-neighbour upsampling
pooling          max pooling
shuffle          pixel shuffle and unshuffle
activations      ReLU, LeakyReLU, Sigmoid
functional       pure array functions behind the layers, in adjoint pairs
init             weight initialisation
he               He initialisation of a whole network
freezing         frozen parameters
spec             networks built from the tables of a TOML file
registering      names of a user's own layers and losses
gradient_check   gradients by central differences
arguments        checks of constructor arguments
state            loading of saved arrays by name

Training:

losses           MSE, L1
optimizer        base class of the optimisers
optim            SGD, gradient clipping; all optimisers can be imported from here
adam             Adam, AdamW
muon             Muon
schedules        learning-rate schedules
averaging        moving average of the weights
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
