"""Energies of a picture's blocks by frequency, from which noise is estimated."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from n2n_cli.images.pixels import LUMA
from n2n_cli.nn.functional import Array

SIDE = 16
"""Side of a block, in pixels."""
EDGES = 0, 1, 2, 4, 8, SIDE
"""Limits of the bands along an axis, as numbers of DCT coefficients."""
BANDS = len(EDGES) - 1
_BLOCKS = 2048  # maximum number of blocks
_STEP = 8  # minimum distance between blocks, in pixels
_FAR = 1e6  # magnitude from which values are not taken for a picture
_CLIPPED = 0.1  # maximum fraction of black and white values in a block


def _dct() -> Array:
    """Make the (SIDE, SIDE) orthonormal DCT-II matrix, one row per frequency."""
    k = np.arange(SIDE)
    rows = math.sqrt(2 / SIDE) * np.cos(math.pi / SIDE * np.outer(k, k + 0.5))
    rows[0] /= math.sqrt(2)
    return rows


_BAND = np.searchsorted(EDGES, np.arange(SIDE), side="right") - 1  # of each coefficient
_PLACE = (_BAND[:, None] * BANDS + _BAND).ravel()
COUNTS = np.bincount(_PLACE).astype(np.float32)
"""Number of coefficients in each band of a block; bands are ordered by vertical frequency first."""
_TRANSFORM = np.kron(_dct(), _dct()).T.astype(np.float32)  # (pixels, coefficients)
_MEANS = np.zeros((SIDE * SIDE, len(COUNTS)), np.float32)  # (coefficients, bands)
_MEANS[np.arange(SIDE * SIDE), _PLACE] = 1 / COUNTS[_PLACE]


@dataclass(frozen=True)
class Spectrum:
    """Mean energy of the DCT coefficients in each band of each block.

    Energies are in squared grey levels of 255.

    Attributes
    ----------
    brightness : (N,) array
        Mean luma of each block, in grey levels of 255.
    luma, channels : (N, BANDS * BANDS) arrays
        Energies of luma, and mean energies of red, green and blue.
    chroma : (N, BANDS * BANDS) array or None
        Mean energies of blue - luma and red - luma; None for a gray picture.
    """

    brightness: Array
    luma: Array
    channels: Array
    chroma: Array | None


def spread(h: int, w: int) -> tuple[Array, Array]:
    """Choose rows and columns of the blocks' first pixels, spread over a picture."""
    down, across = ((side - SIDE) // _STEP + 1 for side in (h, w))
    if down * across > _BLOCKS:
        down = max(1, min(down, max(_BLOCKS // across, round(math.sqrt(_BLOCKS * h / w)))))
        across = max(1, min(across, _BLOCKS // down))
    return np.linspace(0, h - SIDE, down).astype(int), np.linspace(0, w - SIDE, across).astype(int)


def measure(pixels: Array) -> Spectrum:
    """Measure the blocks of a picture of at least SIDE pixels along both axes.

    Parameters
    ----------
    pixels : (H, W, C) array
        Integers, or floats in [0, 1].
    """
    h, w, channels = pixels.shape
    tops, lefts = spread(h, w)
    views = np.lib.stride_tricks.sliding_window_view(pixels, (SIDE, SIDE), axis=(0, 1))
    blocks = views[tops[:, None], lefts].reshape(-1, channels, SIDE * SIDE)
    brightest = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    clipped = ((blocks == 0) | (blocks == brightest)).mean(axis=(1, 2))
    used = clipped <= max(_CLIPPED, float(np.quantile(clipped, 0.1)))
    if pixels.dtype.kind == "f":
        used &= (np.abs(blocks) < _FAR).all(axis=(1, 2))  # False for NaN
    blocks = blocks[used]
    values = blocks * np.float32(255 / brightest)
    coefficients = values.reshape(-1, SIDE * SIDE) @ _TRANSFORM
    coefficients = coefficients.reshape(len(blocks), channels, SIDE * SIDE)
    if channels == 1:
        luma = _energy(coefficients[:, 0])
        return Spectrum(coefficients[:, 0, 0] / SIDE, luma, luma, None)
    weights = LUMA[:, 0]
    red, green, blue = np.moveaxis(coefficients, 1, 0)
    y = weights[0] * red + weights[1] * green + weights[2] * blue
    rgb = (_energy(red) + _energy(green) + _energy(blue)) / 3
    chroma = (_energy(blue - y) + _energy(red - y)) / 2
    return Spectrum(y[:, 0] / SIDE, _energy(y), rgb, chroma)


def _energy(coefficients: Array) -> Array:
    """Mean square in each band: (N, coefficients) -> (N, bands)."""
    means: Array = np.square(coefficients) @ _MEANS
    return means
