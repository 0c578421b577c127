"""Conversion of stored pixels to float32 in [0, 1] and back; flips and rotations."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.nn.functional import Array

LUMA = np.array([[0.299], [0.587], [0.114]], np.float32)
"""Weights of red, green and blue in gray: ITU-R BT.601, as in Pillow."""


def to_float(pixels: Array) -> Array:
    """Convert uint8 or uint16 pixels to float32 in [0, 1]; do not scale floats."""
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32, copy=False)
    return pixels * np.float32(1 / np.iinfo(pixels.dtype).max)


def to_integer(pixels: Array, dtype: DTypeLike) -> Array:
    """Clip float pixels to [0, 1] and round them to the nearest level of `dtype`."""
    kind = np.result_type(pixels.dtype, np.float32)
    levels: Array = np.clip(pixels, 0, 1, dtype=kind)
    levels *= kind.type(np.iinfo(np.dtype(dtype)).max)
    np.rint(levels, out=levels)
    integers: Array = levels.astype(dtype)
    return integers


def flip_rotate(x: Array, variant: int, axes: tuple[int, int] = (0, 1)) -> Array:
    """Make a view of pictures in one of the 8 flips and rotations.

    Pictures are flipped first, then transposed.

    Parameters
    ----------
    x : (H, W, ...) array, or with height and width on other axes
    variant : int
        0 to 7, the sum of 1 (flip vertically), 2 (flip horizontally) and 4 (transpose).
    axes : pair of int
        Axes of height and width.
    """
    flipped = np.flip(x, _flipped_axes(variant, axes))
    return flipped.swapaxes(*axes) if variant & 4 else flipped


def undo_flip_rotate(x: Array, variant: int, axes: tuple[int, int] = (0, 1)) -> Array:
    """Invert `flip_rotate`."""
    return np.flip(x.swapaxes(*axes) if variant & 4 else x, _flipped_axes(variant, axes))


def _flipped_axes(variant: int, axes: tuple[int, int]) -> tuple[int, ...]:
    return tuple(axis for bit, axis in enumerate(axes) if variant >> bit & 1)
