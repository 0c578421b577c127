"""Downscaling of pictures, which makes their detail finer."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from n2n_cli.images.pixels import to_float
from n2n_cli.nn.functional import Array

_LOBES = 3


def shrunk(picture: Array, size: int) -> Array:
    """Downscale a square (H, H, C) integer picture to (size, size, C) float32.

    Uses the Lanczos kernel with three lobes, scaled by the downscaling factor as an anti-aliasing filter.

    References
    ----------
    Turkowski (1990), "Filters for common resampling tasks"; `PIL.Image.Resampling.LANCZOS`.
    """
    weights = _lanczos(picture.shape[0], size)
    rows = np.tensordot(weights, to_float(picture), axes=(1, 0))  # (size, H, C)
    both = np.tensordot(weights, rows, axes=(1, 1))  # (size of columns, size of rows, C)
    small: Array = np.clip(both.swapaxes(0, 1), 0, 1)
    return small


@lru_cache(maxsize=1024)
def _lanczos(old: int, new: int) -> Array:
    """Resampling weights, (new, old); each row sums to 1."""
    stretch = old / new
    centres = (np.arange(new) + 0.5) * stretch
    distance = (np.arange(old) + 0.5 - centres[:, None]) / stretch
    kernel = np.where(np.abs(distance) < _LOBES, np.sinc(distance) * np.sinc(distance / _LOBES), 0)
    weights: Array = (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32)
    weights.flags.writeable = False
    return weights
