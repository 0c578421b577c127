"""Parts of noise measurements: sampled tiles, wavelet filter, robust deviation.

References
----------
Donoho, Johnstone (1994), "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81(3), section 4.3: the finest
wavelet coefficients of a picture are almost only noise, and their median absolute deviation gives its standard
deviation.
Daubechies (1992), "Ten lectures on wavelets", table 6.1.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from n2n_cli.nn.functional import Array

HIGH = np.array(
    [
        *(-0.010597401784997278, -0.032883011666982945, 0.030841381835986965, 0.18703481171888114),
        *(-0.02798376941698385, -0.6308807679295904, 0.7148465705525415, -0.23037781330885523),
    ],
    np.float32,
)
"""High-pass filter of Daubechies' wavelet of four vanishing moments: its coefficients are 0 for cubic polynomials."""
TAPS = len(HIGH)
_TILE, _TILES = 128, 8  # a large picture is sampled by 8x8 tiles of 128x128 pixels
_MEDIAN = NormalDist().inv_cdf(0.75)  # median of the absolute value of a standard normal variable


def deviation(values: Array) -> float:
    """Robust standard deviation of zero-mean normal values by their median magnitude."""
    return float(np.median(np.abs(values))) / _MEDIAN


def spread_tiles(pixels: Array) -> Array:
    """Cut (H, W, C) into (T, H, W, C): one tile, or tiles spread over a large picture."""
    h, w = pixels.shape[:2]
    if h * w <= (_TILE * _TILES) ** 2:
        return pixels[None]
    # A long and thin picture has few tiles along one axis, so it gets more along the other.
    rows, columns = min(h, _TILE), min(w, _TILE)
    down = min(_TILES**2, max(1, h // rows), max(_TILES, _TILES**2 // max(1, w // columns)))
    across = min(w // columns, _TILES**2 // down)
    tops = np.linspace(0, h - rows, down).astype(int)
    lefts = np.linspace(0, w - columns, across).astype(int)
    return np.stack([pixels[top : top + rows, left : left + columns] for top in tops for left in lefts])


def filtered(x: Array, taps: Array, axis: int) -> Array:
    """Cross-correlate (T, H, W, C) with `taps` along an axis: stride 2, no padding."""
    x = np.moveaxis(x, axis, 0)
    count = (len(x) - TAPS) // 2 + 1
    y = np.zeros((count, *x.shape[1:]), x.dtype)
    for i, tap in enumerate(taps):
        y += tap * x[i : i + 2 * count - 1 : 2]
    return np.moveaxis(y, 0, axis)
