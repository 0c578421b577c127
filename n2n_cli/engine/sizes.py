"""Sizes of the arrays that a network makes, which decide how many images go through together."""

from __future__ import annotations

import math

from n2n_cli.nn.containers import Sequential
from n2n_cli.nn.functional import Shape
from n2n_cli.nn.geometry import Geometry
from n2n_cli.nn.skips import Residual, SkipConcat


def most_values(network: Geometry, shape: Shape) -> int:
    """Values in the largest array that a network makes of one image; `shape` (N, C, H, W) is that of a batch."""
    if not isinstance(network, Sequential | Residual | SkipConcat):
        return math.prod(network.output_shape(shape)[1:])
    most, inner = math.prod(shape[1:]), shape
    for module in network:
        most = max(most, most_values(module, inner))
        inner = module.output_shape(inner)
    return max(most, math.prod(network.output_shape(shape)[1:]))
