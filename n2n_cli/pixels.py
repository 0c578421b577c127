"""Integer pixels as they are stored <-> float32 pixels in [0, 1] as the network sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.nn.functional import Array


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
