"""Scores of a picture against the clean one, defined once for the whole project.

Pictures are in [0, 1]. Each is clipped to that range first; the mean squared error is taken in float64 over all pixels
and channels. `mean_psnr` is the figure of the literature; `pooled_psnr` is the EPFL course's one figure for a whole
set: the error is averaged over the set before the logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from n2n_cli.errors import ShapeError
from n2n_cli.nn.functional import Array


def mean_squared_error(picture: Array, clean: Array) -> float:
    """Mean over every element of (picture - clean)^2, both clipped to [0, 1]."""
    if picture.shape != clean.shape:
        raise ShapeError(f"a picture of shape {picture.shape} cannot be compared with one of shape {clean.shape}")
    error = np.subtract(np.clip(picture, 0, 1), np.clip(clean, 0, 1), dtype=np.float64)
    return float(np.mean(np.square(error)))


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
