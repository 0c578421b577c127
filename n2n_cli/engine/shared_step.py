"""Shared memory of two processes for a training step."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Sequence
from typing import IO

import numpy as np

from n2n_cli.nn.functional import Shape


class SharedStep:
    """Weights, batch and gradients of a training step in shared memory.

    Parameters
    ----------
    memory : int
        Descriptor of a file, which is enlarged to the size needed.
    x, target : (N, C, H, W)
        Shapes of all batches.
    groups : int
        Number of groups that such a batch is split into.
    weights : list of shapes

    Attributes
    ----------
    part : (2,) array of int64
        Range of the groups to compute: first and last + 1.
    losses : (groups,) array of float64
    sums : (groups, size) array of float32
        Gradients of each group, as one flat array.
    x, target : (N, C, H, W) arrays of float32
    weights : list of arrays of float32

    Raises
    ------
    OSError
        If there is not enough memory.
    """

    def __init__(self, memory: int, x: Shape, target: Shape, groups: int, weights: Sequence[Shape]) -> None:
        shapes = x, target, (groups, sum(map(math.prod, weights))), *weights
        numbers = 2 * (2 + groups)  # float32 values that `part` and `losses` take, before the arrays
        size = 4 * (numbers + sum(map(math.prod, shapes)))
        if hasattr(os, "posix_fallocate"):  # reserve now: writing to missing memory kills the process
            os.posix_fallocate(memory, 0, size)
        else:
            os.truncate(memory, size)
        flat = np.frombuffer(mmap.mmap(memory, size), np.float32)
        self.part = flat[:4].view(np.int64)
        self.losses = flat[4:numbers].view(np.float64)
        ends = np.cumsum([numbers, *map(math.prod, shapes)]).tolist()
        arrays = (
            flat[start:stop].reshape(shape) for start, stop, shape in zip(ends[:-1], ends[1:], shapes, strict=True)
        )
        self.x, self.target, self.sums, *self.weights = arrays


def shared_file() -> IO[bytes]:
    """Open an anonymous file, in memory where the system supports it."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("n2n"), "w+b")
    return tempfile.TemporaryFile()
