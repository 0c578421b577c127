"""EXIF data, XMP data and resolutions: checked and adapted for writing."""

from __future__ import annotations

import re
from typing import Any

from PIL import ExifTags, Image

HEAD = b"Exif\0\0"
ORIENTATION = int(ExifTags.Base.Orientation)
_CENTIMETRE, _CENTIMETRES_AN_INCH = 3, 2.54  # value of the tag ResolutionUnit
DAMAGED = "its EXIF data is damaged and was left out"
# Tags of EXIF and TIFF that describe the picture; the others describe the layout of one file.
DESCRIPTIVE_TAGS: set[int] = {
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Orientation,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Copyright,
    ExifTags.IFD.Exif,
    ExifTags.IFD.GPSInfo,
}
_XMP_ORIENTATION = re.compile(rb'(tiff:Orientation(?:=["\']|>))[0-9]')


def loaded(data: bytes) -> Image.Exif:
    """Parse EXIF data; damaged data may raise any exception."""
    exif = Image.Exif()
    exif.load(data)
    return exif


def without_layout(exif: Image.Exif) -> Image.Exif:
    """Remove the tags that describe a file's layout, in place."""
    for tag in set(exif) - DESCRIPTIVE_TAGS:
        del exif[tag]
    return exif


def checked(data: bytes) -> bytes:
    """Parse EXIF data and add JPEG's header; damaged data may raise any exception."""
    without_layout(loaded(data)).tobytes()
    return HEAD + data.removeprefix(HEAD)


def upright_xmp(data: bytes) -> bytes:
    """Set the orientation in XMP data to upright."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", data)


def density(x: Any, y: Any) -> tuple[float, float] | None:
    """A resolution as floats, or None if invalid: a TIFF may hold 0/0, or a text."""
    try:
        pair = float(x), float(y)
    except (ArithmeticError, TypeError, ValueError):
        return None
    return pair if all(0 < value < 2**16 for value in pair) else None


def dots_per_inch(x: Any, y: Any, unit: Any = None) -> tuple[float, float] | None:
    """As `density`, but None for 1 dot per inch, which stands for an unknown one.

    Parameters
    ----------
    unit : int, optional
        As in EXIF data: 3 for dots per centimetre, all else for dots per inch.
    """
    pair = density(x, y)
    if pair and unit == _CENTIMETRE:
        pair = density(*(_CENTIMETRES_AN_INCH * value for value in pair))
    return pair if pair and min(pair) > 1 else None
