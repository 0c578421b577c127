"""Traces in a picture: JPEG's 8x8 grid, and single wrong pixels."""

from __future__ import annotations

import numpy as np

from n2n_cli.images.pixels import LUMA, to_float
from n2n_cli.nn.functional import Array

_LINES = 96  # maximum number of examined rows, and of columns
_PERIOD = 8  # period of JPEG's grid, in pixels
_NEIGHBOURS = [(i, j) for i in (0, 1, 2) for j in (0, 1, 2) if (i, j) != (1, 1)]
_TRIMMED = 1  # number of smallest, and of largest, neighbours to ignore: they may be wrong themselves
_FAR = 3.0  # minimum distance of a wrong pixel from its neighbours, as a multiple of their range
_LEAST = 16 / 255  # minimum distance of a wrong pixel from its neighbours, in [0, 1]


def jpeg_grid(pixels: Array) -> float:
    """Strength of JPEG's grid: relative excess of the steps at its lines.

    It is about 0 without a grid.

    Parameters
    ----------
    pixels : (H, W, C) array
        Integers, or floats in [0, 1].

    References
    ----------
    Wang, Sheikh, Bovik (2002), "No-reference perceptual quality assessment of JPEG compressed images", ICIP,
    equation 1.
    """
    rows, columns = (_spread(side, _LINES) for side in pixels.shape[:2])
    lines = _luma(pixels[rows]), _luma(pixels[:, columns]).T
    return min(_excess(part) for part in lines)


def impulse_share(pixels: Array) -> float:
    """Fraction of pixels that differ far more than usual from all but two neighbours.

    Parameters
    ----------
    pixels : (H, W, C) array
        Integers, or floats in [0, 1].

    References
    ----------
    Garnett, Huegerich, Chui, He (2005), "A universal noise removal algorithm with an impulse detector", IEEE TIP
    14(11): rank-ordered absolute differences.
    """
    h, w = pixels.shape[:2]
    rows = _spread(h - 2, _LINES)
    strips = _luma(pixels[rows[:, None] + np.arange(3)])  # (rows, 3, W)
    middle = strips[:, 1, 1:-1]
    around = np.sort([strips[:, i, j : j + w - 2] for i, j in _NEIGHBOURS], axis=0)
    low, high = around[_TRIMMED], around[-1 - _TRIMMED]
    beyond = np.maximum(middle - high, low - middle)
    return float(np.mean(beyond > np.maximum(_LEAST, _FAR * (high - low))))


def _spread(length: int, count: int) -> Array:
    return np.unique(np.linspace(0, length - 1, min(length, count)).astype(int))


def _luma(pixels: Array) -> Array:
    x = to_float(pixels)
    if pixels.dtype.kind == "f":
        x = np.nan_to_num(x, nan=0, posinf=0, neginf=0)
    return x[..., 0] if x.shape[-1] == 1 else (x @ LUMA)[..., 0]


def _excess(lines: Array) -> float:
    """Excess of the steps at grid lines, at the phase with the largest excess."""
    steps = np.abs(np.diff(lines, axis=1))
    over = (steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2).mean(axis=0)
    whole = len(over) // _PERIOD * _PERIOD
    mean = float(steps.mean()) if steps.size else 0.0
    if whole < 4 * _PERIOD or mean <= 0:
        return 0.0
    # The median over periods ignores an edge in the picture, which is in one period only.
    phases = np.median(over[:whole].reshape(-1, _PERIOD), axis=0)
    best = int(np.argmax(phases))
    return max(0.0, float(phases[best] - np.delete(phases, best).mean())) / mean
