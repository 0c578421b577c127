"""Correlation of noise between pixels, and pixel-shuffle downsampling.

Methods that learn from a single noisy picture assume independent noise in neighbouring pixels. Demosaicing and
compression make it dependent in a camera's JPEG. Pixel-shuffle downsampling by 2 splits a picture into four, each of
every second pixel of every second row; neighbours in them are two pixels apart in the original, and nearly independent.

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
"""Maximum correlation of noise that counts as independent."""
MOST_FACTOR = 4
"""Maximum pixel-shuffle factor; larger ones leave too little of a picture."""
_SIDE, _MOST = 32, 1024  # side of a window in pixels, and maximum number of windows
_LEAST = 8  # minimum number of windows
_SMOOTH = 0.25  # fraction of smoothest windows that are used
_NOTHING = 1e-8  # variance that counts as no noise: (1/40 of a grey level of 255) squared


def noise_correlation(noisy: Picture, denoised: Picture, distance: int = 1) -> tuple[float, float]:
    """Correlation of the removed noise between pixels at a distance.

    Only smooth windows of the picture are used, since a denoiser also removes some texture.

    Parameters
    ----------
    noisy, denoised : Picture
        Pictures of the same size.
    distance : int
        Distance in pixels: 1 for neighbours, 2 for neighbours after pixel-shuffle downsampling by 2.

    Returns
    -------
    (across, down) : floats from -1 to 1
        NaN if the picture is too small, or nothing was removed.
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
    """Measure texture, noise variance, and noise covariances across and down."""
    clean = denoised.to_unit(denoised.pixels[place]).astype(np.float64)
    removed = noisy.to_unit(noisy.pixels[place]) - clean
    removed -= removed.mean(axis=(0, 1))
    texture = np.square(np.diff(clean, axis=0)).mean() + np.square(np.diff(clean, axis=1)).mean()
    across = (removed[:, distance:] * removed[:, :-distance]).mean()
    down = (removed[distance:] * removed[:-distance]).mean()
    return float(texture), float(np.square(removed).mean()), float(across), float(down)


def correlation_notes(noisy: Picture, denoised: Picture, factor: int) -> list[str]:
    """Note for the user if noise at a distance of `factor` pixels is correlated."""
    most = max(noise_correlation(noisy, denoised, factor))
    if not most > LIMIT:  # also for NaN
        return []
    if factor > 1:
        more = f"; try `--pd {factor + 1}`" if factor < MOST_FACTOR else ""
        return [f"noise {factor} pixels apart is still correlated ({most:.2f}){more}"]
    return [
        f"the removed noise is correlated between neighbouring pixels ({most:.2f}): it contains detail, or is not "
        "independent as assumed; try `--pd 2`"
    ]


def shuffled_down(picture: Picture, factor: int) -> list[Picture]:
    """Split a picture into factor^2 pictures of every factor-th pixel and row.

    The results are views of the pixels, without alpha. A picture with a side shorter than `factor` is not split.
    """
    h, w = picture.pixels.shape[:2]
    if factor == 1 or min(h, w) < factor:
        return [picture]
    return [replace(picture, pixels=picture.pixels[i::factor, j::factor], alpha=None) for i, j in _starts(factor)]


def shuffled_up(picture: Picture, parts: Sequence[Picture], factor: int) -> Picture:
    """Invert `shuffled_down`; take alpha and metadata from `picture`."""
    if len(parts) == 1:
        return replace(picture, pixels=parts[0].pixels)
    pixels: Array = np.empty(picture.pixels.shape, parts[0].pixels.dtype)
    for (i, j), part in zip(_starts(factor), parts, strict=True):
        pixels[i::factor, j::factor] = part.pixels
    return replace(picture, pixels=pixels)


def _starts(factor: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(factor) for j in range(factor)]
