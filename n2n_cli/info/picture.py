"""Facts of a picture file: how it is stored, what it carries, and how noisy it is."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from n2n_cli.images import FORMATS, format_of, read_pages
from n2n_cli.noise.level import sigma_of

_FIRST_BYTES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_CARRIED = {"exif": "EXIF", "icc_profile": "ICC profile", "xmp": "XMP", "texts": "texts", "colour": "colour"}


@dataclass(frozen=True)
class PictureFacts:
    """A picture; of a file of several pages, the first.

    Attributes
    ----------
    source : str
    format : str
        As "PNG".
    bytes : int
        Of the file.
    width, height : int
        In pixels.
    channels : int
        1 for gray, 3 for RGB; alpha is not among them.
    bits : int
        Of each channel.
    number_type : str
        Of its values: "uint8", "uint16", "float32" or other integers.
    alpha : bool
    pages : int
    dpi : (float, float) or None
        Dots per inch, across and down.
    metadata : tuple of str
        What else it carries.
    notes : tuple of str
        What is changed when it is read.
    sigma_255 : float
        Estimated noise, in grey levels of 255; not a number for a picture of less than 16 pixels a side.
    """

    source: str
    format: str
    bytes: int
    width: int
    height: int
    channels: int
    bits: int
    number_type: str
    alpha: bool
    pages: int
    dpi: tuple[float, float] | None
    metadata: tuple[str, ...]
    notes: tuple[str, ...]
    sigma_255: float


def is_picture(source: str) -> bool:
    """Whether it is a picture and not a checkpoint or a configuration: by its ending, or by its first bytes."""
    path = Path(source)
    if path.suffix.lower() in FORMATS:
        return True
    with suppress(OSError, ValueError), path.open("rb") as file:
        first = file.read(12)
        return first.startswith(_FIRST_BYTES) or (first[:4], first[8:]) == (b"RIFF", b"WEBP")
    return False


def describe_picture(source: str) -> PictureFacts:
    """Read a picture whole and look at it.

    Raises
    ------
    ImageError
        When it cannot be read.
    """
    reader = read_pages(source)
    first = next(iter(reader))
    pages = 1 + sum(1 for _ in reader)
    height, width, channels = first.pixels.shape
    dtype = first.pixels.dtype
    return PictureFacts(
        source,
        first.format or format_of(source),
        Path(source).stat().st_size,
        width,
        height,
        channels,
        8 * dtype.itemsize,
        dtype.name,
        first.alpha is not None,
        pages,
        first.metadata.get("dpi"),
        tuple(name for key, name in _CARRIED.items() if first.metadata.get(key)),
        first.notes,
        sigma_of(first),
    )
