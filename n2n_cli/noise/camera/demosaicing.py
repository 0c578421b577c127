"""Demosaicing: interpolation of a full colour at every pixel of a Bayer mosaic.

Both methods are linear, so noise can be demosaiced separately.

References
----------
Malvar, He, Cutler (2004), "High-quality linear interpolation for demosaicing of Bayer-patterned color images", ICASSP,
figure 2.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from n2n_cli.nn.functional import Array

Kernels: TypeAlias = dict[str, Array]
"""5x5 weights of the mosaic around a pixel, by position of the nearest pixels of the wanted colour."""

_REACH = 2  # radius of the kernels, in pixels


def _symmetric(centre: float, near: float, diagonal: float, far: float) -> Array:
    kernel = np.zeros((5, 5), np.float32)
    kernel[2, 2] = centre
    kernel[[1, 3, 2, 2], [2, 2, 1, 3]] = near
    kernel[[1, 1, 3, 3], [1, 3, 1, 3]] = diagonal
    kernel[[0, 4, 2, 2], [2, 2, 0, 4]] = far
    return kernel


def _row(centre: float, near: float, diagonal: float, far: float, across: float) -> Array:
    """Make weights for a colour whose nearest pixels are left and right.

    `across` is the weight two rows above and below.
    """
    kernel = _symmetric(centre, 0, diagonal, 0)
    kernel[2, [1, 3]] = near
    kernel[2, [0, 4]] = far
    kernel[[0, 4], 2] = across
    return kernel


def _kernels(green: Array, row: Array, diagonal: Array) -> Kernels:
    return {"cross": green, "row": row, "column": row.T, "diagonal": diagonal}


BILINEAR = _kernels(_symmetric(0, 0.25, 0, 0), _row(0, 0.5, 0, 0, 0), _symmetric(0, 0, 0.25, 0))
MALVAR = _kernels(
    _symmetric(4, 2, 0, -1) / 8,
    _row(5, 4, -1, -1, 0.5) / 8,
    _symmetric(6, 0, 2, -1.5) / 8,
)


def demosaic(picture: Array, red: tuple[int, int], kernels: Kernels) -> Array:
    """Replace two of three colours at each pixel by interpolation of a Bayer mosaic.

    The mosaic is periodic: beyond an edge it continues at the opposite edge.

    Parameters
    ----------
    picture : (H, W, 3) float array
    red : (int, int)
        Row and column, 0 or 1, of the first red pixel.
    kernels : Kernels
        `BILINEAR` or `MALVAR`.
    """
    h, w, _ = picture.shape
    # A periodic mosaic needs even sides; an extra row or column is added and removed again.
    picture = np.pad(picture, ((0, h % 2), (0, w % 2), (0, 0)), "edge")
    result = picture.copy()
    mosaic = np.empty(picture.shape[:2], picture.dtype)
    for y, x in _SITES:
        mosaic[y::2, x::2] = picture[y::2, x::2, _colour(y, x, red)]
    wrapped = np.pad(mosaic, _REACH, "wrap")
    for y, x in _SITES:
        for colour in range(3):
            place = _nearest(y, x, colour, red)
            if place is not None:
                result[y::2, x::2, colour] = _filtered(wrapped, kernels[place], y, x)
    return result[:h, :w]


_SITES = ((0, 0), (0, 1), (1, 0), (1, 1))


def _colour(y: int, x: int, red: tuple[int, int]) -> int:
    """Index of the colour measured by the pixels (y, x) of 2x2 cells."""
    return ((y - red[0]) % 2) + ((x - red[1]) % 2)


def _nearest(y: int, x: int, colour: int, red: tuple[int, int]) -> str | None:
    """Position of a colour's nearest pixels around (y, x); None if (y, x) measures it."""
    measured = _colour(y, x, red)
    if measured == colour:
        return None
    if colour == 1:
        return "cross"
    if measured != 1:
        return "diagonal"
    in_row = red[0] if colour == 0 else 1 - red[0]
    return "row" if y == in_row else "column"


def _filtered(wrapped: Array, kernel: Array, y: int, x: int) -> Array:
    """Cross-correlate with a kernel at the pixels (y, x) of all 2x2 cells."""
    h, w = (side - 2 * _REACH for side in wrapped.shape)
    taps = np.argwhere(kernel)
    parts = (kernel[i, j] * wrapped[i + y : i + h : 2, j + x : j + w : 2] for i, j in taps)
    return sum(parts, start=np.zeros((h // 2, w // 2), wrapped.dtype))
