"""Pixels as they are stored <-> float32 pixels in [0, 1] as the network sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.nn.functional import Array

LUMA = np.array([[0.299], [0.587], [0.114]], np.float32)
"""Shares of red, green and blue in the gray of a picture: ITU-R BT.601, as Pillow's."""


def to_float(pixels: Array) -> Array:
    """uint8 (0 to 255) or uint16 (0 to 65535) pixels as float32 in [0, 1]; float pixels as they are."""
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32, copy=False)
    return pixels * np.float32(1 / np.iinfo(pixels.dtype).max)


def to_integer(pixels: Array, dtype: DTypeLike) -> Array:
    """Float pixels rounded to the nearest of `dtype`'s levels; what lies outside [0, 1] becomes black or white."""
    kind = np.result_type(pixels.dtype, np.float32)
    levels: Array = np.clip(pixels, 0, 1, dtype=kind)
    levels *= kind.type(np.iinfo(np.dtype(dtype)).max)
    np.rint(levels, out=levels)
    integers: Array = levels.astype(dtype)
    return integers


def to_unit(pixels: Array, low: float, high: float) -> Array:
    """Pixels of any number type as float32, `low` at 0 and `high` at 1; where the two are equal, all are 0."""
    shares: Array = pixels.astype(np.float64)  # an offset far from zero would eat up float32's digits
    shares -= low
    shares /= (high - low) or 1.0
    return shares.astype(np.float32)


def from_unit(shares: Array, low: float, high: float, dtype: DTypeLike) -> Array:
    """The inverse of `to_unit`: integers are rounded, and held within what `dtype` can say; floats are not clipped."""
    values: Array = shares.astype(np.float64)
    values *= (high - low) or 1.0
    values += low
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(np.dtype(dtype))
        np.clip(np.rint(values, out=values), limits.min, limits.max, out=values)
    back: Array = values.astype(dtype)
    return back


def flip_rotate(x: Array, variant: int, axes: tuple[int, int] = (0, 1)) -> Array:
    """A view of pictures in one of the 8 flips and rotations: flipped along two axes, then transposed.

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
    """The inverse of `flip_rotate`."""
    return np.flip(x.swapaxes(*axes) if variant & 4 else x, _flipped_axes(variant, axes))


def _flipped_axes(variant: int, axes: tuple[int, int]) -> tuple[int, ...]:
    return tuple(axis for bit, axis in enumerate(axes) if variant >> bit & 1)
