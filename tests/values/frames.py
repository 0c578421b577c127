"""Synthetic frames of measured values."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.nn.functional import Array


def blobs(side: int, rng: np.random.Generator) -> Array:
    """Cells with soft edges, partly overlapping, on a dark background.

    The signal is a (side, side) array from 0 to 1.
    """
    y, x = np.mgrid[:side, :side]
    signal = np.zeros((side, side))
    for _ in range(14 * side**2 // 128**2):
        row, column, radius = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(5, 12)
        squared = ((y - row) ** 2 + (x - column) ** 2) / (2 * radius**2)
        signal += rng.uniform(0.3, 1) * np.exp(-(squared**2))
    return np.clip(signal, 0, 1.5) / 1.5


def counted(
    signal: Array, dtype: DTypeLike, rng: np.random.Generator, *, offset: float = 0, read_noise: float = 0
) -> Array:
    """Photon counts with mean `signal`, read noise and an offset.

    They are rounded to the type of a file.
    """
    values = rng.poisson(signal) + offset + rng.normal(0, read_noise, signal.shape)
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    frame: Array = values.astype(dtype)
    return frame


def rms(x: Array) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
