"""Scores of a picture against the clean one, defined once for the whole project.

Pictures are in [0, 1]. Each is clipped to that range first; the mean squared error is taken in float64 over all pixels
and channels. `mean_psnr` is the figure of the literature; `pooled_psnr` is the EPFL course's one figure for a whole
set: the error is averaged over the set before the logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np

from n2n_cli.errors import ShapeError
from n2n_cli.nn.functional import Array

_PART = 2**20
"""Elements that are taken to float64 at a time: a large picture is not held in memory once more."""
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
_TILE = 64  # pixels a side: the maps of one tile stay in the cache


def mean_squared_error(picture: Array, clean: Array) -> float:
    """Mean over every element of (picture - clean)^2, both clipped to [0, 1]."""
    _check_alike(picture, clean)
    total = 0.0
    for ours, theirs in _parts(picture, clean):
        error = np.subtract(np.clip(ours, 0, 1), np.clip(theirs, 0, 1), dtype=np.float64)
        total += float(np.sum(np.square(error)))
    return total / picture.size


def ssim(picture: Array, clean: Array) -> float:
    """Structural similarity of two pictures: 1 for equal ones, near 0 for unrelated ones.

    Means, variances and covariance are taken under a Gaussian window of 11x11 pixels with a standard deviation of 1.5
    pixels, wherever it lies wholly inside the picture. Along a side shorter than that, the window is as long as the
    side. The result is the mean over places and channels.

    Parameters
    ----------
    picture, clean : (C, H, W) arrays
        In [0, 1]; clipped to it first.

    Raises
    ------
    ShapeError
        When the shapes differ, or are no (C, H, W).

    References
    ----------
    Wang, Bovik, Sheikh, Simoncelli (2004), "Image quality assessment: from error visibility to structural similarity",
    IEEE TIP 13(4), equation 13 with K1 = 0.01, K2 = 0.03.
    """
    _check_alike(picture, clean)
    if picture.ndim != 3:
        raise ShapeError(f"SSIM needs pictures of shape (C, H, W), these have {picture.shape}")
    total, count = 0.0, 0
    for rows in _spans(picture.shape[1]):
        for columns in _spans(picture.shape[2]):
            similarity = _similarity(picture[:, rows, columns], clean[:, rows, columns])
            total, count = total + float(similarity.sum()), count + similarity.size
    return total / count


def _similarity(picture: Array, clean: Array) -> Array:
    """The SSIM of every whole window of a tile: (C, H, W) -> (C, H - 10, W - 10)."""
    x, y = np.clip(picture, 0, 1, dtype=np.float64), np.clip(clean, 0, 1, dtype=np.float64)
    maps = np.stack([x, y, x * x + y * y, x * y])
    # Two products with banded matrices: many times faster than eleven shifted additions on either axis.
    mean_x, mean_y, square, product = _windows(x.shape[1]) @ maps @ _windows(x.shape[2]).T
    means, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    variances, covariance = square - squares, product - means
    similarity: Array = (2 * means + _C1) * (2 * covariance + _C2) / ((squares + _C1) * (variances + _C2))
    return similarity


@cache
def _windows(size: int) -> Array:
    """(places, size) matrix: row i weighs the pixels under the window that starts at pixel i; each row's sum is 1."""
    length = min(_WINDOW, size)
    weights = np.exp(-0.5 * ((np.arange(length) - (length - 1) / 2) / _SIGMA) ** 2)
    matrix = np.zeros((size - length + 1, size))
    for i, row in enumerate(matrix):
        row[i : i + length] = weights / weights.sum()
    return matrix


def _spans(size: int) -> Iterator[slice]:
    """Parts of an axis that overlap by the window less one pixel, so that every place of it lies in exactly one."""
    places = max(1, size - _WINDOW + 1)
    step = _TILE - _WINDOW + 1
    for start in range(0, places, step):
        yield slice(start, start + _TILE)


def _parts(picture: Array, clean: Array) -> Iterator[tuple[Array, Array]]:
    if not picture.size:
        raise ShapeError(f"pictures of shape {picture.shape} have nothing to compare")
    axis = int(np.argmax(picture.shape)) if picture.ndim else 0
    count = min(-(-picture.size // _PART), max(picture.shape, default=1))
    if count == 1:
        return iter([(picture, clean)])
    return zip(np.array_split(picture, count, axis), np.array_split(clean, count, axis), strict=True)


def _check_alike(picture: Array, clean: Array) -> None:
    if picture.shape != clean.shape:
        raise ShapeError(f"a picture of shape {picture.shape} cannot be compared with one of shape {clean.shape}")


def decibel(error: float) -> float:
    """Peak signal-to-noise ratio, in dB, of a mean squared error of pictures in [0, 1]; infinite for no error."""
    return math.inf if error == 0 else -10 * math.log10(error)  # not a number stays so


def psnr(picture: Array, clean: Array) -> float:
    """Peak signal-to-noise ratio of one picture, in dB; both in [0, 1] and of the same shape."""
    return decibel(mean_squared_error(picture, clean))


def mean_psnr(errors: Iterable[float]) -> float:
    """Mean over pictures of each picture's PSNR, in dB, from the pictures' mean squared errors."""
    return float(np.mean([decibel(error) for error in errors]))


def pooled_psnr(errors: Iterable[float]) -> float:
    """PSNR, in dB, of the mean error of a set of pictures of one size: the EPFL course's whole-set figure."""
    return decibel(float(np.mean(list(errors))))
