"""Picture in memory: pixels and metadata."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypedDict

import numpy as np

from n2n_cli.images.pixels import to_float, to_integer
from n2n_cli.images.tiff.entries import Order
from n2n_cli.nn.functional import Array

ALPHA = ASSOCIATED, UNASSOCIATED = 1, 2
"""Values of TIFF's tag ExtraSamples for premultiplied alpha, and for alpha that is not."""


class Text(TypedDict):
    """A text of a PNG, or a comment of a JPEG, whose `keyword` is Comment."""

    keyword: str
    text: str
    language: str
    translated: str


class Part(NamedTuple):
    """One piece of metadata as stored in a file.

    Attributes
    ----------
    key : bytes or int
        Name of a PNG or WebP chunk, number of a JPEG marker or a TIFF tag.
    data : bytes
        Content, unchanged.
    type : int
        Type of a TIFF tag's values.
    behind : bool
        True if the chunk follows the pixels of a PNG.
    """

    key: bytes | int
    data: bytes
    type: int = 0
    behind: bool = False


@dataclass(frozen=True)
class Stored:
    """Metadata as stored in a file, for another file of the same format.

    Attributes
    ----------
    format : str
        Format of the file, such as ``PNG``.
    parts : tuple of Part
        All metadata, in order, except the description of the file's layout.
    order : "<" or ">"
        Byte order of a TIFF and of its parts.
    """

    format: str
    parts: tuple[Part, ...]
    order: Order = "<"


class Metadata(TypedDict, total=False):
    """Metadata of a picture file; a key is present only if the file has it.

    `exif` (with JPEG's header ``Exif\\0\\0``), `icc_profile`, `xmp` and `photoshop` (Photoshop's image resources, which
    hold IPTC data) are bytes as stored; `dpi` is (x, y) in dots per inch and `aspect` the same without a unit; `texts`
    are PNG's texts and JPEG's comments. `stored` has all metadata as stored in the file, these included: a part is
    written again unless the key that it belongs to was changed. `compressed` marks a TIFF with compressed pixels, and
    `planar` one whose channels are stored one after another. `history` describes the processing of the pixels, for
    formats with a place for it.
    """

    exif: bytes
    icc_profile: bytes
    xmp: bytes
    photoshop: bytes
    dpi: tuple[float, float]
    aspect: tuple[float, float]
    texts: tuple[Text, ...]
    stored: Stored
    compressed: bool
    planar: bool
    history: str


@dataclass(frozen=True)
class Picture:
    """A picture, with the format it was stored in for writing it in the same way.

    Attributes
    ----------
    pixels : (H, W, C) array of integers of 8 to 32 bits, or of floats
        C is 1 for gray and 3 for RGB, plus the channels of `extra`.
    alpha : (H, W) array of the same type, or None
        Opacity, passed through unchanged.
    metadata : Metadata
    notes : tuple of str
        Changes made while reading, for the user.
    nodata : float or None
        Value that stands for missing data, from the file's tags.
    lossless : bool
        True if the source file holds its pixels without loss.
    format : str
        Format of the source file, such as ``PNG``; empty for a picture made in memory.
    extra : tuple of int
        Values of TIFF's tag ExtraSamples for the channels after gray or RGB: 0, or 1 or 2 for alpha.
    """

    pixels: Array
    alpha: Array | None = None
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()
    nodata: float | None = None
    lossless: bool = True
    format: str = ""
    extra: tuple[int, ...] = ()

    @property
    def channels(self) -> Array:
        """Return (H, W, C) pixels, or (H, W, C + 1) with alpha as the last channel."""
        return self.pixels if self.alpha is None else np.concatenate([self.pixels, self.alpha[..., None]], axis=2)

    def parts(self) -> list[Picture]:
        """Split into pictures: gray or RGB, and each further channel except alpha."""
        if not self.extra:
            return [self]
        pixels = [np.ascontiguousarray(self.pixels[..., part]) for part in self._slices()]
        return [replace(self, pixels=part, extra=()) for part in pixels]

    def with_parts(self, parts: list[Picture]) -> Picture:
        """Return a copy with the pixels of all `parts`."""
        if not self.extra:
            return replace(self, pixels=parts[0].pixels)
        pixels = self.pixels.copy()
        for place, part in zip(self._slices(), parts, strict=True):
            pixels[..., place] = part.pixels
        return replace(self, pixels=pixels)

    def _slices(self) -> list[slice]:
        colours = self.pixels.shape[2] - len(self.extra)
        others = [colours + place for place, kind in enumerate(self.extra) if kind not in ALPHA]
        return [slice(colours), *(slice(place, place + 1) for place in others)]

    def to_unit(self, part: Array) -> Array:
        """Convert pixels of any shape to float32; integers are divided by their maximum."""
        return to_float(part)

    def from_unit(self, part: Array) -> Array:
        """Invert `to_unit`, rounding to the picture's depth."""
        dtype = self.pixels.dtype
        return part.astype(dtype, copy=False) if dtype.kind == "f" else to_integer(part, dtype)
