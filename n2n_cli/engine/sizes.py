"""Sizes of the arrays that a network makes, and micro-batches of images that fit into a cache."""

from __future__ import annotations

import math

from n2n_cli.nn.containers import Sequential
from n2n_cli.nn.functional import Shape
from n2n_cli.nn.geometry import Geometry
from n2n_cli.nn.skips import Residual, SkipConcat

LEAST_PARTS = 8
"""Micro-batches that a batch is cut into where it has as many images, so that several threads have work."""


def most_values(network: Geometry, shape: Shape) -> int:
    """Values in the largest array that a network makes of one image; `shape` (N, C, H, W) is that of a batch."""
    if not isinstance(network, Sequential | Residual | SkipConcat):
        return math.prod(network.output_shape(shape)[1:])
    most, inner = math.prod(shape[1:]), shape
    for module in network:
        most = max(most, most_values(module, inner))
        inner = module.output_shape(inner)
    return max(most, math.prod(network.output_shape(shape)[1:]))


def micro_batches(n: int, together: float) -> list[slice]:
    """The images of each micro-batch of `n` images, of which about so many go `together`."""
    return cut(n, max(LEAST_PARTS, -(-n // max(1, round(together)))))


def cut(n: int, count: int) -> list[slice]:
    """0 to n in at most `count` parts that differ by one at the most."""
    count = min(n, count)
    return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]
