"""Reading of pictures from files and streams."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO, Protocol, TypeVar

import numpy as np
from PIL import Image

from n2n_cli.errors import ImageError
from n2n_cli.images import pillow
from n2n_cli.images.axes import Description
from n2n_cli.images.depth import colours_alone
from n2n_cli.images.fits.reading import FitsPages
from n2n_cli.images.kinds import format_of_file
from n2n_cli.images.mrc import MrcPages
from n2n_cli.images.orientation import orientation_of
from n2n_cli.images.picture import Metadata, Picture
from n2n_cli.images.png import chunks as png_chunks
from n2n_cli.images.png import metadata as png_metadata
from n2n_cli.images.png import pixels as png16
from n2n_cli.images.simple_formats import opened_image, read_simple, refuse_animation
from n2n_cli.images.sources import (
    MAX_PIXELS,
    Limits,
    Source,
    check_size,
    opened,
    page_label,
    reading_errors,
    without_warnings,
)
from n2n_cli.images.tiff.reading import TiffPages

Item = TypeVar("Item")

_ACTL, _FRAMES = b"acTL", struct.Struct(">II")  # chunk of an animated PNG: numbers of frames and of repetitions


def read_picture(
    source: Source, *, name: str | None = None, max_pixels: int = MAX_PIXELS, page: int | None = None
) -> Picture:
    """Decode a PNG, JPEG, TIFF, WebP, BMP, FITS or MRC file.

    Palette and 1-bit pictures become RGB or gray, CMYK becomes RGB. If a camera's file has several views, the first is
    read. The pixels are as stored; `orientation.upright` rotates them as the EXIF data requires.

    Parameters
    ----------
    source : path or binary file
        Picture file; a stream that is not seekable is read to its end.
    name : str, optional
        Name of the source in messages, such as ``stdin``; the path by default.
    max_pixels : int
        Maximum number of pixels; larger pictures are refused before they are decoded.
    page : int, optional
        Page to read of a file that has several, from 1.

    Raises
    ------
    ImageError
        When the file is missing, is not such a picture, is damaged, too large or animated, has several pages or lacks
        `page`, or has a bit depth that cannot be kept.
    """
    with opened_pages(source, name=name, max_pixels=max_pixels) as pages:
        if len(pages) > 1 and page is None:
            raise ImageError(
                f"{pages.label} has {len(pages)} frames or pages; only single pictures are read here",
                hint="`--page N`, if the command has it; or save the wanted one as a separate picture",
            )
        number = 0 if page is None or len(pages) == 1 else page - 1
        if not 0 <= number < len(pages):
            raise ImageError(
                f"{pages.label} has {len(pages)} pages, and no page {page}", hint="pages are numbered from 1"
            )
        return pages.page(number)


def read_pages(
    source: Source, *, name: str | None = None, max_pixels: int = MAX_PIXELS, max_memory: int | None = None
) -> Iterator[Picture]:
    """Read the pages of a TIFF, FITS or MRC one by one; other formats have one page.

    Parameters and errors are those of `read_picture`; an error is raised when its page is reached.

    Parameters
    ----------
    max_memory : int, optional
        Maximum memory of the pixels, in bytes; larger pictures are refused before they are decoded.
    """
    with opened_pages(source, name=name, max_pixels=max_pixels, max_memory=max_memory) as pages:
        yield from pages


@contextmanager
def opened_pages(
    source: Source,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    max_memory: int | None = None,
    all_channels: bool = False,
) -> Iterator[Pages]:
    """Open a picture file as a context; its pages can be read inside.

    Parameters and errors are those of `read_pages`.

    Parameters
    ----------
    all_channels : bool
        Also read pages with channels besides gray or RGB, as `Picture.extra`. By default these pages are refused, and a
        single channel besides RGB is left out with a note.
    """
    with opened(source, name, max_pixels) as (file, label):
        yield Pages(file, label, Limits(max_pixels, max_memory), all_channels=all_channels)


class PageReader(Protocol):
    """The pages of an open file of one format, each read on request."""

    @property
    def description(self) -> Description:
        """Description of the pages by the file's writer."""

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of the first page, upright."""

    def __len__(self) -> int: ...

    def is_reduced(self, number: int) -> bool:
        """True for a smaller version of another page, such as a thumbnail."""

    def page(self, number: int) -> Picture:
        """Read a page; raise any exception for a damaged one."""


READERS: dict[str, Callable[[BinaryIO, str, Limits], PageReader]] = {
    "TIFF": TiffPages,
    "FITS": FitsPages,
    "MRC": MrcPages,
}
"""Readers of the formats that hold pages; files of other formats hold a single picture."""
PAGED_FORMATS = READERS.keys()
"""Names of the formats that hold pages."""


class Pages:
    """The pages of an open picture file, read in any order.

    Iterating over it, or `page`, reads a page; no other page is kept in memory.
    """

    def __init__(self, file: BinaryIO, label: str, limits: Limits, *, all_channels: bool = False) -> None:
        self.label, self._all_channels = label, all_channels
        with reading_errors(label):
            self._reader = _reader(file, label, limits)

    def __len__(self) -> int:
        return len(self._reader)

    def __iter__(self) -> Iterator[Picture]:
        return map(self.page, range(len(self)))

    @property
    def description(self) -> Description:
        """Description of the pages by the file's writer."""
        with reading_errors(self.label):
            return self._reader.description

    def is_reduced(self, number: int) -> bool:
        """True for a smaller version of another page, such as a thumbnail."""
        with reading_errors(self.label):
            return self._reader.is_reduced(number)

    def page(self, number: int) -> Picture:
        """Read a page; pages are numbered from 0."""
        with reading_errors(self.label):
            picture = self._reader.page(number)
        return picture if self._all_channels else colours_alone(page_label(self.label, number), picture)

    def sample(self, most: int, numbers: Sequence[int] | None = None) -> Iterator[Picture]:
        """Read some pages besides the first, spread over the file, the last included.

        Parameters
        ----------
        most : int
            Maximum number of these pages.
        numbers : sequence of int, optional
            Pages to choose from; by default all.
        """
        yield from map(self.page, spread(range(len(self)) if numbers is None else numbers, most))


def spread(items: Sequence[Item], most: int) -> Sequence[Item]:
    """Choose at most `most` evenly spread items after the first, with the last."""
    others = items[1:]
    return others[:: -max(1, -(-len(others) // most))] if most > 0 else ()


def _reader(file: BinaryIO, label: str, limits: Limits) -> PageReader:
    return READERS.get(format_of_file(file) or "", _SinglePicture)(file, label, limits)


class _SinglePicture:
    """Reader of the picture of a file whose format has no pages."""

    description = Description()

    def __init__(self, file: BinaryIO, label: str, limits: Limits) -> None:
        self._file, self._label, self._limits = file, label, limits
        self._is_png = format_of_file(file) == "PNG"

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns), upright."""
        if self._is_png:
            header, metadata = _png_header(self._file), Metadata()
            height, width = header.height, header.width
            with suppress(ValueError):  # damage after the header is reported when the picture is read
                chunks = png_chunks.read_chunks(self._file, header, skip_pixels=True)
                metadata, _ = png_metadata.read_metadata(chunks.others)
        else:
            with opened_image(self._file, self._label, self._limits, load=False) as (image, whole, _):
                height, width = image.height, image.width
                metadata, _ = pillow.read_metadata(image, whole)
        return (width, height) if orientation_of(metadata) > 4 else (height, width)

    def __len__(self) -> int:
        return 1

    def is_reduced(self, number: int) -> bool:
        return False

    def page(self, number: int) -> Picture:
        read = _png if self._is_png else read_simple
        return read(self._file, self._label, self._limits)


def picture_size(source: Source, *, name: str | None = None) -> tuple[int, int]:
    """Read (rows, columns) of an upright picture, or first page, from the header.

    Raises
    ------
    ImageError
        Errors of `read_picture`, for the header.
    """
    with opened(source, name) as (file, label), reading_errors(label), without_warnings():
        height, width = _reader(file, label, Limits()).size
        check_size(label, height, width, Limits())
        return height, width


def _png_header(file: BinaryIO) -> png_chunks.Header:
    file.seek(len(png_chunks.SIGNATURE))
    return png_chunks.read_header(file)


def _png(file: BinaryIO, label: str, limits: Limits) -> Picture:
    header = _png_header(file)
    pixel_bytes = header.depth * png16.CHANNELS.get(header.colour, 3) // 8
    check_size(label, header.height, header.width, limits, pixel_bytes=max(1, pixel_bytes))
    chunks = png_chunks.read_chunks(file, header)
    behind = -file.tell() + file.seek(0, io.SEEK_END)
    for part in (part for part in chunks.others if part.key == _ACTL and len(part.data) == _FRAMES.size):
        frames, _ = _FRAMES.unpack(part.data)
        refuse_animation(label, frames)
    with without_warnings():
        has_key = bool(chunks.contents(b"tRNS"))
        parts, unfit = png_metadata.fitting(chunks.others, header, transparent=has_key)
        metadata, notes = png_metadata.read_metadata(parts)
        notes += unfit + pillow.bytes_behind(behind)
        notes += tuple(f"its {name.decode('latin-1')} chunk is damaged and was left out" for name in chunks.damaged)
        if not chunks.ended:
            notes += ("it ends right after its pixels: later data may be missing",)
        if header.depth < 16:
            image_file = chunks.simple_file()
            chunks.pixels.clear()
            with Image.open(image_file, formats=["PNG"]) as image:
                image.load()
                image_file.close()  # free its memory before the pixels are copied
                return pillow.picture_of(label, image, metadata, notes)
    channels = png16.CHANNELS[header.colour]
    pixels = png16.decode(chunks.contents(b"IDAT"), header.height, header.width, channels, header.interlaced)
    alpha = pixels[..., -1] if channels in (2, 4) else None
    pixels = pixels if alpha is None else pixels[..., :-1]
    if alpha is None and (transparent := chunks.contents(b"tRNS")):
        alpha = np.where((pixels == np.frombuffer(transparent[0], ">u2")).all(axis=2), 0, 65535).astype(np.uint16)
    return Picture(pixels, alpha, metadata, notes, format="PNG")
