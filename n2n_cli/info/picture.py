"""Facts about a picture file: format, metadata and estimated noise."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from n2n_cli.images import format_of, has_ending, opened_pages, other_names, page_axes, pages_of_channel
from n2n_cli.images.kinds import START, foreign_kind, format_in
from n2n_cli.noise.analysis import NoiseAnalysis
from n2n_cli.values.choice import SAMPLED, choose_values
from n2n_cli.values.transform import noise_of

_METADATA = {"exif": "EXIF", "icc_profile": "ICC profile", "xmp": "XMP", "photoshop": "IPTC", "texts": "texts"}


@dataclass(frozen=True)
class PictureFacts:
    """Facts about a picture file, or about its first page if it has several.

    Attributes
    ----------
    source : str
    format : str
        "PNG", "JPEG", "TIFF", "WEBP" or "BMP".
    bytes : int
        Size of the file.
    width, height : int
        Size in pixels.
    channels : int
        1 for gray, 3 for RGB, or more; alpha is not counted.
    bits : int
        Bits per channel.
    number_type : str
        dtype of the pixels, such as "uint8" or "float32".
    alpha : bool
    pages : int
    axes : tuple of (str, int)
        Letters and sizes of the axes of the pages, the slowest first.
    pixel_size : dict
        Pixel size along each axis, and its unit, by the axis' letter.
    channel_names : tuple of str
    dpi : (float, float) or None
        Dots per inch, horizontal and vertical.
    metadata : tuple of str
        Kinds of metadata in the file, such as "EXIF".
    notes : tuple of str
        Changes made by reading.
    values : str
        Kind and range of the values, and the noise of measured values.
    noise : NoiseAnalysis
        Noise in grey levels of 255, or in the units of measured values.
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
    axes: tuple[tuple[str, int], ...]
    pixel_size: dict[str, tuple[float, str]]
    channel_names: tuple[str, ...]
    dpi: tuple[float, float] | None
    metadata: tuple[str, ...]
    notes: tuple[str, ...]
    values: str
    noise: NoiseAnalysis


def is_picture(source: str) -> bool:
    """True for a picture file, by its name or first bytes.

    Pictures of unsupported formats count, too.
    """
    path = Path(source)
    if has_ending(path):
        return True
    with suppress(OSError, ValueError), path.open("rb") as file:
        start = file.read(START)
        # A checkpoint is a zip file.
        return format_in(start) is not None or (foreign_kind(start) is not None and not start.startswith(b"PK"))
    return False


def describe_picture(source: str) -> PictureFacts:
    """Read a picture file and collect facts about it.

    Raises
    ------
    ImageError
        When the file cannot be read.
    """
    with opened_pages(source, all_channels=True) as file:
        first, pages, description = file.page(0), len(file), file.description
        axes = page_axes(file.label, pages, description.axes)
        others = file.sample(SAMPLED, pages_of_channel(axes, pages, 0))
        seen = first.parts()[0]
        values, text = choose_values(seen, (page.parts()[0] for page in others))
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
        axes,
        dict(description.pixel_size),
        description.channels,
        first.metadata.get("dpi"),
        (*(name for key, name in _METADATA.items() if first.metadata.get(key)), *other_names(first.metadata)),
        (*first.notes, *description.notes),
        text + (f"; {values.reason}" if values.reason else ""),
        noise_of(seen, values),
    )
