"""Supported image formats, and the pixel types that each can hold."""

from __future__ import annotations

from pathlib import Path

from n2n_cli.errors import ImageError

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".jif": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".dib": "BMP",
    **dict.fromkeys((".fits", ".fit", ".fts", ".fz", ".fits.fz", ".fits.gz", ".fit.gz"), "FITS"),
    **dict.fromkeys((".mrc", ".mrcs", ".map", ".st", ".rec", ".ali", ".mrc.gz", ".map.gz"), "MRC"),
}
INSTRUMENTS = ("FITS", "MRC")
"""Formats of instruments, whose values are measurements."""
HOLDS_ALPHA = {"PNG", "TIFF", "WEBP", "BMP"}
HOLDS_DEPTH = {
    "PNG": "uint8 uint16",
    "TIFF": "uint8 uint16 int8 int16 uint32 int32 float16 float32 float64",
    "FITS": "uint8 uint16 int8 int16 uint32 int32 float32 float64",
    "MRC": "uint8 uint16 int8 int16 float16 float32",
}
"""NumPy names of the pixel types of a format; other formats hold only uint8."""
GRAY_ONLY = {"MRC"}
LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "PNG": 2**31 - 1}
JPEG_QUALITY = 95


def ending_of(path: Path | str) -> str:
    """File name extension in lower case; two parts for compressed files, as .fits.gz."""
    suffixes = Path(path).suffixes[-2:]
    both = "".join(suffixes).lower()
    return both if both in FORMATS else Path(path).suffix.lower()


def has_ending(path: Path | str) -> bool:
    """True for a file name with the extension of an image format."""
    return ending_of(path) in FORMATS


def format_of(path: Path | str) -> str:
    """Image format of a file name extension.

    Raises
    ------
    ImageError
        When the extension is unknown.
    """
    ending = ending_of(path)
    if ending not in FORMATS:
        raise ImageError(
            f"`{path}` does not have the extension of an image format",
            hint="known extensions: " + ", ".join(FORMATS),
        )
    return FORMATS[ending]


def format_named(name: str) -> str:
    """Image format of a name such as `png`, `jpg` or `tiff`.

    Raises
    ------
    ImageError
        When there is no such format.
    """
    if f".{name.lower()}" not in FORMATS:
        raise ImageError(
            f"there is no image format `{name}`", hint="known: " + ", ".join(ending[1:] for ending in FORMATS)
        )
    return FORMATS[f".{name.lower()}"]


def is_lossy(image_format: str, quality: int | None = None) -> bool:
    """True for JPEG, and for WebP with a `quality`."""
    return image_format == "JPEG" or (image_format == "WEBP" and quality is not None)
