"""PSNR and SSIM of pictures against their ground truth.

Pictures are clipped to [0, 1] first. The mean squared error is computed in float64 over all pixels and channels. For a
set of pictures, the literature reports the mean PSNR (`mean_psnr`); the EPFL course that this project started from
reports the PSNR of the mean error over the set (`pooled_psnr`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np

from n2n_cli.errors import ShapeError
from n2n_cli.nn.functional import Array

_CHUNK = 2**20
"""Number of elements converted to float64 at a time, to save memory."""
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
_TILE = 64  # side of a tile, in pixels, whose maps fit into the processor's cache


def mean_squared_error(picture: Array, clean: Array) -> float:
    """Mean squared error over all elements, after clipping both to [0, 1]."""
    _check_same_shape(picture, clean)
    total = 0.0
    for ours, theirs in _chunks(picture, clean):
        error = np.subtract(np.clip(ours, 0, 1), np.clip(theirs, 0, 1), dtype=np.float64)
        total += float(np.sum(np.square(error)))
    return total / picture.size


def ssim(picture: Array, clean: Array) -> float:
    """Structural similarity (SSIM): 1 for equal pictures, near 0 for unrelated ones.

    Means, variances and covariance are weighted by a Gaussian window of 11x11 pixels with a standard deviation of 1.5
    pixels, at every position inside the picture. Along a side shorter than 11 pixels, the window is as long as the
    side. The result is the mean over positions and channels.

    Parameters
    ----------
    picture, clean : (C, H, W) arrays
        Pictures, which are clipped to [0, 1] first.

    Raises
    ------
    ShapeError
        When the shapes differ, or are not (C, H, W).

    References
    ----------
    Wang, Bovik, Sheikh, Simoncelli (2004), "Image quality assessment: from error visibility to structural similarity",
    IEEE TIP 13(4), equation 13 with K1 = 0.01, K2 = 0.03.
    """
    _check_same_shape(picture, clean)
    if picture.ndim != 3:
        raise ShapeError(f"SSIM needs pictures of shape (C, H, W), these have {picture.shape}")
    total, count = 0.0, 0
    for rows in _spans(picture.shape[1]):
        for columns in _spans(picture.shape[2]):
            similarity = _similarity(picture[:, rows, columns], clean[:, rows, columns])
            total, count = total + float(similarity.sum()), count + similarity.size
    return total / count


def _similarity(picture: Array, clean: Array) -> Array:
    """SSIM at every position of the window: (C, H, W) -> (C, H - 10, W - 10)."""
    x, y = np.clip(picture, 0, 1, dtype=np.float64), np.clip(clean, 0, 1, dtype=np.float64)
    maps = np.stack([x, y, x * x + y * y, x * y])
    # The window is separable: two products with banded matrices, much faster than 11 shifted sums per axis.
    mean_x, mean_y, square, product = _windows(x.shape[1]) @ maps @ _windows(x.shape[2]).T
    means, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    variances, covariance = square - squares, product - means
    similarity: Array = (2 * means + _C1) * (2 * covariance + _C2) / ((squares + _C1) * (variances + _C2))
    return similarity


@cache
def _windows(size: int) -> Array:
    """Matrix (positions, size) whose row i holds the window weights at position i.

    The weights of a row sum to 1.
    """
    length = min(_WINDOW, size)
    weights = np.exp(-0.5 * ((np.arange(length) - (length - 1) / 2) / _SIGMA) ** 2)
    matrix = np.zeros((size - length + 1, size))
    for i, row in enumerate(matrix):
        row[i : i + length] = weights / weights.sum()
    return matrix


def _spans(size: int) -> Iterator[slice]:
    """Yield tiles along an axis; each window position is in exactly one of them."""
    positions = max(1, size - _WINDOW + 1)
    step = _TILE - _WINDOW + 1
    for start in range(0, positions, step):
        yield slice(start, start + _TILE)


def _chunks(picture: Array, clean: Array) -> Iterator[tuple[Array, Array]]:
    if not picture.size:
        raise ShapeError(f"pictures of shape {picture.shape} have nothing to compare")
    axis = int(np.argmax(picture.shape)) if picture.ndim else 0
    count = min(-(-picture.size // _CHUNK), max(picture.shape, default=1))
    if count == 1:
        return iter([(picture, clean)])
    return zip(np.array_split(picture, count, axis), np.array_split(clean, count, axis), strict=True)


def _check_same_shape(picture: Array, clean: Array) -> None:
    if picture.shape != clean.shape:
        raise ShapeError(f"a picture of shape {picture.shape} cannot be compared with one of shape {clean.shape}")


def decibel(error: float) -> float:
    """Convert a mean squared error of pixels in [0, 1] to PSNR, in dB."""
    return math.inf if error == 0 else -10 * math.log10(error)  # NaN stays NaN


def psnr(picture: Array, clean: Array) -> float:
    """Peak signal-to-noise ratio (PSNR) of a picture, in dB, for a range of [0, 1]."""
    return decibel(mean_squared_error(picture, clean))


def mean_psnr(errors: Iterable[float]) -> float:
    """Mean of the pictures' PSNR, in dB, from their mean squared errors."""
    return float(np.mean([decibel(error) for error in errors]))


def pooled_psnr(errors: Iterable[float]) -> float:
    """PSNR, in dB, of the average mean squared error of equally large pictures."""
    return decibel(float(np.mean(list(errors))))
