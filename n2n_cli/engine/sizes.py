"""Array sizes of a network, and micro-batches that fit into the cache."""

from __future__ import annotations

import math

from n2n_cli.nn.containers import Sequential
from n2n_cli.nn.functional import Shape
from n2n_cli.nn.geometry import Geometry
from n2n_cli.nn.skips import Residual, SkipConcat

LEAST_MICRO_BATCHES = 8
"""Minimum number of micro-batches per batch (if it has as many images), so that all threads have work."""


def most_values(network: Geometry, shape: Shape) -> int:
    """Values per image in the largest array of a network, for a batch shape."""
    if not isinstance(network, Sequential | Residual | SkipConcat):
        return math.prod(network.output_shape(shape)[1:])
    most, inner = math.prod(shape[1:]), shape
    for module in network:
        most = max(most, most_values(module, inner))
        inner = module.output_shape(inner)
    return max(most, math.prod(network.output_shape(shape)[1:]))


def micro_batches(n: int, together: float) -> list[slice]:
    """Split `n` images into micro-batches of about `together` images."""
    return cut(n, max(LEAST_MICRO_BATCHES, -(-n // max(1, round(together)))))


def cut(n: int, count: int) -> list[slice]:
    """Split range(n) into at most `count` slices, nearly equal in length."""
    count = min(n, count)
    return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]
