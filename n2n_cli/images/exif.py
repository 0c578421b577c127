"""EXIF data, XMP data and resolutions: seen to be whole, and made fit for the file they go to."""

from __future__ import annotations

import re
from typing import Any

from PIL import ExifTags, Image

HEAD = b"Exif\0\0"
ORIENTATION = int(ExifTags.Base.Orientation)
CENTIMETRES_AN_INCH = 2.54
DAMAGED = "its EXIF data is damaged and was left out"
# The tags of EXIF and TIFF that tell about the picture; the others tell how one file holds it.
TELLING: set[int] = {
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
    """EXIF data taken apart; damaged data raise nearly anything."""
    exif = Image.Exif()
    exif.load(data)
    return exif


def telling(exif: Image.Exif) -> Image.Exif:
    """The same object without the tags that would describe another file's layout."""
    for tag in set(exif) - TELLING:
        del exif[tag]
    return exif


def checked(data: bytes) -> bytes:
    """The same EXIF data with the head that JPEG must have; damaged data raise nearly anything."""
    telling(loaded(data)).tobytes()
    return HEAD + data.removeprefix(HEAD)


def upright_xmp(data: bytes) -> bytes:
    """XMP data of pixels that have been turned as its orientation said."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", data)


def density(x: Any, y: Any) -> tuple[float, float] | None:
    """A resolution that a file claims, or None where it cannot be one: a TIFF may claim 0/0, or a text."""
    try:
        pair = float(x), float(y)
    except (ArithmeticError, TypeError, ValueError):
        return None
    return pair if all(0 < value < 2**16 for value in pair) else None


def dots_per_inch(x: Any, y: Any) -> tuple[float, float] | None:
    """As `density`; one dot per inch is what programs write that know no resolution."""
    pair = density(x, y)
    return pair if pair and min(pair) > 1 else None
