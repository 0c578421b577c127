"""He initialisation of a network, which keeps the variance across layers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from n2n_cli.nn.activations import LeakyReLU, ReLU
from n2n_cli.nn.conv import Convolution
from n2n_cli.nn.init import he_normal
from n2n_cli.nn.module import Module
from n2n_cli.nn.transpose_conv import TransposeConv2d


def start_as_he(network: Module, *, rng: np.random.Generator) -> None:
    """Draw the weights of all convolutions by `he_normal`; set biases to zero.

    The variance depends on the activation that follows each convolution.
    """
    for layer, following in _convolutions(network):
        slope = following.negative_slope if isinstance(following, LeakyReLU) else float(not isinstance(following, ReLU))
        weight = layer.weight.data
        # Each output of a transposed convolution uses only one in stride^2 kernel taps per input channel.
        inputs = len(weight) / np.prod(layer.stride) if isinstance(layer, TransposeConv2d) else weight.shape[1]
        fan_in = max(1, round(inputs * weight.shape[2] * weight.shape[3]))
        weight[...] = he_normal(weight.shape, fan_in, slope=slope, rng=rng, dtype=weight.dtype)
        if layer.bias is not None:
            layer.bias.data.fill(0)


def _convolutions(module: Module) -> Iterator[tuple[Convolution, Module | None]]:
    """Every convolution, in order, with the module after it in its container."""
    children = [child for _, child in module.children()]
    for child, following in itertools.pairwise([*children, None]):
        if isinstance(child, Convolution):
            yield child, following
        elif child is not None:
            yield from _convolutions(child)
