"""Noise that is correlated between neighbouring pixels: by how much, and how to take them apart.

Methods that learn from a noisy picture take the noise of neighbours for independent. In a camera's JPEG it is not: the
sensor's colours were interpolated, and the compression smeared what was left. Pixel-shuffle downsampling takes every
second pixel of every second row, four pictures in all, in which neighbours are two pixels apart and nearly independent.

References
----------
Zhou, Jiao, Huang, Wang, Wang, Shi, Huang (2020), "When AWGN-based Denoiser Meets Real Noises", arXiv:1904.03485,
section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from n2n_cli.images import Picture
from n2n_cli.nn.functional import Array

LIMIT = 0.2
"""Correlation from which on the assumption is broken."""
MOST_FACTOR = 4
"""Of pixel-shuffle downsampling: above it, little is left of a picture in its parts."""
_SIDE, _MOST = 32, 1024  # pixels of a window's side, and windows
_LEAST = 8  # windows, to tell anything
_SMOOTH = 0.25  # share of windows, the smoothest
_NOTHING = 1e-8  # 1/40 of a grey level of 255, squared


def noise_correlation(noisy: Picture, denoised: Picture, distance: int = 1) -> tuple[float, float]:
    """Correlation of what was removed from a picture, between pixels so far apart.

    It is taken over the smooth windows of the picture: where there is texture, a denoiser removes some of that, too.

    Parameters
    ----------
    noisy, denoised : Picture
        Of the same size; kept in floats or integers.
    distance : int
        In pixels: 1 for neighbours, 2 for the neighbours of pixel-shuffle downsampling by 2.

    Returns
    -------
    (across, down) : floats from -1 to 1
        Not numbers where the picture is too small, or nothing was removed.
    """
    h, w = noisy.pixels.shape[:2]
    down = min(h // _SIDE, max(1, math.isqrt(_MOST * h // w))) if w else 0
    across = min(w // _SIDE, _MOST // down) if down else 0
    if down * across < _LEAST:
        return math.nan, math.nan
    tops = np.linspace(0, h - _SIDE, down).astype(int)
    lefts = np.linspace(0, w - _SIDE, across).astype(int)
    rows = []
    for top in tops:
        for left in lefts:
            place = slice(top, top + _SIDE), slice(left, left + _SIDE)
            rows.append(_moments(noisy, denoised, place, distance))
    texture, *moments = np.array(rows).T
    smooth = texture <= np.quantile(texture, _SMOOTH)
    variance, by_column, by_row = (float(moment[smooth].mean()) for moment in moments)
    if variance <= _NOTHING:
        return math.nan, math.nan
    return by_column / variance, by_row / variance


def _moments(
    noisy: Picture, denoised: Picture, place: tuple[slice, slice], distance: int
) -> tuple[float, float, float, float]:
    """Of a window: its texture, and of what was removed, the variance and the covariances across and down."""
    clean = denoised.to_unit(denoised.pixels[place]).astype(np.float64)
    removed = noisy.to_unit(noisy.pixels[place]) - clean
    removed -= removed.mean(axis=(0, 1))
    texture = np.square(np.diff(clean, axis=0)).mean() + np.square(np.diff(clean, axis=1)).mean()
    across = (removed[:, distance:] * removed[:, :-distance]).mean()
    down = (removed[distance:] * removed[:-distance]).mean()
    return float(texture), float(np.square(removed).mean()), float(across), float(down)


def correlation_notes(noisy: Picture, denoised: Picture, factor: int) -> list[str]:
    """What is told where the noise of neighbours is not independent; of a picture that was taken apart by `factor`."""
    most = max(noise_correlation(noisy, denoised, factor))
    if not most > LIMIT:  # also where it is not a number
        return []
    if factor > 1:
        more = f"; try `--pd {factor + 1}`" if factor < MOST_FACTOR else ""
        return [f"noise {factor} pixels apart is still correlated ({most:.2f}){more}"]
    return [
        f"what was removed is correlated between neighbouring pixels ({most:.2f}): detail, or noise that is not "
        "independent as assumed; look whether `--pd 2` is better"
    ]


def shuffled_down(picture: Picture, factor: int) -> list[Picture]:
    """Every `factor`-th pixel of every `factor`-th row, from each first one on: factor^2 pictures, views of this one.

    A picture with a side shorter than `factor` stays as it is. Alpha is left out.
    """
    h, w = picture.pixels.shape[:2]
    if factor == 1 or min(h, w) < factor:
        return [picture]
    return [replace(picture, pixels=picture.pixels[i::factor, j::factor], alpha=None) for i, j in _starts(factor)]


def shuffled_up(picture: Picture, parts: Sequence[Picture], factor: int) -> Picture:
    """The inverse of `shuffled_down`: the picture with the pixels of its parts, and alpha and the rest as they were."""
    if len(parts) == 1:
        return replace(picture, pixels=parts[0].pixels)
    pixels: Array = np.empty(picture.pixels.shape, parts[0].pixels.dtype)
    for (i, j), part in zip(_starts(factor), parts, strict=True):
        pixels[i::factor, j::factor] = part.pixels
    return replace(picture, pixels=pixels)


def _starts(factor: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(factor) for j in range(factor)]
