"""A picture in memory: its pixels, and how they were stored."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypedDict

import numpy as np

from n2n_cli.images.pixels import from_unit, to_float, to_integer, to_unit
from n2n_cli.nn.functional import Array


class Text(TypedDict):
    """A text of a PNG, or a JPEG's comment (`keyword` is then Comment)."""

    keyword: str
    text: str
    language: str
    translated: str


class Metadata(TypedDict, total=False):
    """What a file carries beside the pixels; a key that is absent was not there.

    `exif` (with JPEG's head ``Exif\\0\\0``), `icc_profile` and `xmp` are bytes as stored; `dpi` is (x, y) in dots per
    inch and `aspect` the same without a unit; `texts` are a PNG's; `colour` are a PNG's chunks on colour (gAMA, cHRM,
    sRGB, cICP) as (name, data); `compressed` says that a TIFF's pixels were packed, `reduced` that a TIFF's page is a
    small copy of another.
    """

    exif: bytes
    icc_profile: bytes
    xmp: bytes
    dpi: tuple[float, float]
    aspect: tuple[float, float]
    texts: tuple[Text, ...]
    colour: tuple[tuple[bytes, bytes], ...]
    compressed: bool
    reduced: bool


@dataclass(frozen=True)
class Picture:
    """A picture and how it was stored, so that it can be stored that way again.

    Attributes
    ----------
    pixels : (H, W, C) array of uint8, uint16, float32, int8, int16, uint32 or int32
        C is 1 for gray and 3 for RGB.
    alpha : (H, W) array of the same type, or None
        Opacity, kept as it was.
    metadata : Metadata
        What the file carried beside the pixels.
    notes : tuple of str
        What was changed while reading, for the user.
    value_range : (float, float) or None
        The values that stand for 0 and 1 before the network. None: 0 and the highest of uint8 and uint16, 0 and 1 of
        float32.
    lossless : bool
        Whether the format it was read from keeps pixels as they are: what a lossy output would be the first to lose.
    format : str
        The format it was read from, such as ``PNG``; empty where it was made in memory.
    """

    pixels: Array
    alpha: Array | None = None
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()
    value_range: tuple[float, float] | None = None
    lossless: bool = True
    format: str = ""

    def to_unit(self, part: Array) -> Array:
        """Any part of the pixels, of any shape, as float32 in [0, 1]."""
        return to_float(part) if self.value_range is None else to_unit(part, *self.value_range)

    def from_unit(self, part: Array) -> Array:
        """Floats back to what the picture holds: the inverse of `to_unit`, rounded to the picture's depth."""
        dtype = self.pixels.dtype
        if self.value_range is not None:
            return from_unit(part, *self.value_range, dtype)
        return part.astype(dtype, copy=False) if dtype.kind == "f" else to_integer(part, dtype)

    def as_float(self) -> Array:
        """(C, H, W) float32 in [0, 1]."""
        return np.moveaxis(self.to_unit(self.pixels), -1, 0)

    def with_float(self, pixels: Array) -> Picture:
        """The same picture with other pixels: (C, H, W) floats in [0, 1], rounded to this picture's depth."""
        return replace(self, pixels=self.from_unit(np.moveaxis(pixels, 0, -1)))
