"""Reading of pictures from files and streams."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from PIL import Image

from n2n_cli.errors import ImageError
from n2n_cli.images import depth, pillow
from n2n_cli.images.picture import Picture
from n2n_cli.images.png import chunks as png_chunks
from n2n_cli.images.png import metadata as png_metadata
from n2n_cli.images.png import pixels as png16
from n2n_cli.images.sources import MAX_PIXELS, Source, check_size, opened, without_warnings
from n2n_cli.images.tiff import pages as tiff_pages
from n2n_cli.images.tiff import pixels as tiff_pixels

_ACTL, _FRAMES = b"acTL", struct.Struct(">II")  # chunk of an animated PNG: numbers of frames and of repetitions
_NOT_READ = {b"GIF87a": "GIF", b"GIF89a": "GIF"}


def read_picture(source: Source, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a PNG, JPEG, TIFF, WebP or BMP file.

    Palette and 1-bit pictures become RGB or gray, CMYK becomes RGB. Of a camera's file with several views, the first is
    read. The orientation of a TIFF is applied; that of other formats stays in the EXIF data.

    Parameters
    ----------
    source : path or binary file
        A stream that is not seekable is read to its end.
    name : str, optional
        Name of the source in messages, such as ``stdin``; the path by default.
    max_pixels : int
        Larger pictures are refused before they are decoded.

    Raises
    ------
    ImageError
        When the file is missing, is not such a picture, is damaged, too large, animated, has several pages, or is of a
        depth that cannot be kept.
    """
    with opened(source, name) as (file, label):
        pages = _pages(file, label, max_pixels)
        if _is_tiff(file):
            with without_warnings():
                count = sum(1 for _ in tiff_pages.read_pages(file))
            if count > 1:
                raise ImageError(
                    f"{label} has {count} frames or pages; only single pictures are read here",
                    hint="save the one to be read as a picture of its own",
                )
        return next(pages)


def read_pages(source: Source, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Iterator[Picture]:
    """Read the pages of a TIFF one by one; another picture is a single page.

    Parameters and errors are those of `read_picture`; an error is raised when its page is reached.
    """
    with opened_pages(source, name=name, max_pixels=max_pixels) as pages:
        yield from pages


@contextmanager
def opened_pages(source: Source, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Iterator[Pages]:
    """Open a picture file, to read its pages and samples of them inside the block.

    Parameters and errors are those of `read_pages`.
    """
    with opened(source, name) as (file, label):
        yield Pages(file, label, max_pixels)


class Pages:
    """The pages of an open picture file, read one by one."""

    def __init__(self, file: BinaryIO, label: str, max_pixels: int) -> None:
        self._file, self._label, self._max_pixels = file, label, max_pixels

    def __iter__(self) -> Iterator[Picture]:
        return _pages(self._file, self._label, self._max_pixels)

    def sample(self, most: int) -> Iterator[Picture]:
        """Read at most so many pages besides the first, evenly spread over the file, the last among them."""
        if most < 1 or not _is_tiff(self._file):
            return
        with without_warnings():
            others = list(tiff_pages.read_pages(self._file))[1:]
        step = max(1, -(-len(others) // most))
        for number in range(len(others) - 1, -1, -step):
            with without_warnings():
                picture = _tiff_page(f"{self._label}, page {number + 2},", others[number], self._max_pixels)
            yield picture


def picture_size(source: Source, *, name: str | None = None) -> tuple[int, int]:
    """(rows, columns) of a picture, or of a TIFF's first page, from the header.

    Raises
    ------
    ImageError
        As from `read_picture`, for errors in the header.
    """
    with opened(source, name) as (file, label):
        if _is_tiff(file):
            with without_warnings():
                page = next(tiff_pages.read_pages(file))
                height, width = page.size[:: -1 if page.orientation > 4 else 1]
        elif _is_png(file):
            header = png_chunks.read_header(file)
            height, width = header.height, header.width
        else:
            with without_warnings(), _other_image(file, label) as image:
                height, width = image.height, image.width
        check_size(label, height, width, MAX_PIXELS)
        return height, width


def _pages(file: BinaryIO, label: str, max_pixels: int) -> Iterator[Picture]:
    if _is_png(file):
        yield _png(file, label, max_pixels)
    elif _is_tiff(file):
        yield from _tiff(file, label, max_pixels)
    else:
        yield _other(file, label, max_pixels)


def _is_png(file: BinaryIO) -> bool:
    """True for a PNG; the file is then left behind the signature."""
    file.seek(0)
    return file.read(len(png_chunks.SIGNATURE)) == png_chunks.SIGNATURE


def _is_tiff(file: BinaryIO) -> bool:
    file.seek(0)
    return tiff_pages.is_tiff(file.read(8))


def _png(file: BinaryIO, label: str, max_pixels: int) -> Picture:
    header = png_chunks.read_header(file)
    check_size(label, header.height, header.width, max_pixels)
    chunks = png_chunks.read_chunks(file, header)
    for content in (content for name, content in chunks.others if name == _ACTL):
        frames, _ = _FRAMES.unpack(content)
        _refuse_animation(label, frames)
    with without_warnings():
        metadata, notes = png_metadata.read_metadata(chunks.others)
        notes += tuple(f"its {name.decode('latin-1')} chunk is damaged and was left out" for name in chunks.damaged)
        if header.depth < 16:
            image_file = chunks.simple_file()
            chunks.pixels.clear()
            with Image.open(image_file, formats=["PNG"]) as image:
                image.load()
                image_file.close()  # frees memory: the image would keep it open while its pixels are copied
                return pillow.picture_of(label, image, metadata, notes)
    channels = png16.CHANNELS[header.colour]
    pixels = png16.decode(chunks.contents(b"IDAT"), header.height, header.width, channels, header.interlaced)
    alpha = pixels[..., -1] if channels in (2, 4) else None
    pixels = pixels if alpha is None else pixels[..., :-1]
    if alpha is None and (transparent := chunks.contents(b"tRNS")):
        alpha = np.where((pixels == np.frombuffer(transparent[0], ">u2")).all(axis=2), 0, 65535).astype(np.uint16)
    return Picture(pixels, alpha, metadata, notes, format="PNG")


def _tiff(file: BinaryIO, label: str, max_pixels: int) -> Iterator[Picture]:
    pages = tiff_pages.read_pages(file)
    number = 0
    while True:
        with without_warnings():
            page = next(pages, None)
            if page is None:
                return
            number += 1
            # The first page has no number, since it may be the only one.
            picture = _tiff_page(label if number == 1 else f"{label}, page {number},", page, max_pixels)
        yield picture


def _tiff_page(label: str, page: tiff_pages.Page, max_pixels: int) -> Picture:
    check_size(label, *page.size, max_pixels)
    metadata, notes = tiff_pages.read_metadata(page)
    layout = tiff_pixels.layout_of(page)
    if layout is not None:
        return depth.read_tiff_page(label, page, layout, metadata, notes)
    try:
        image = page.image()
    except SyntaxError:  # from Pillow, for pixels that it does not support
        raise ImageError(
            f"{label} holds pixels of a kind that is not supported ({page.kind()})",
            hint="convert it to gray or RGB of 8 or 16 bits",
        ) from None
    with image:
        picture = pillow.picture_of(label, image, metadata, notes)
    return replace(picture, lossless=page.tags.get(tiff_pages.COMPRESSION) not in tiff_pages.LOSSY)


def _other(file: BinaryIO, label: str, max_pixels: int) -> Picture:
    with without_warnings(), _other_image(file, label) as image:
        check_size(label, image.height, image.width, max_pixels)
        frames = getattr(image, "n_frames", 1)
        if image.format != "MPO":
            _refuse_animation(label, frames)
        image.load()
        metadata, notes = pillow.read_metadata(image)
        if frames > 1:
            notes += (f"only the first of its {frames} views was read",)
        picture = pillow.picture_of(label, image, metadata, notes)
        return replace(picture, lossless=False) if image.format == "WEBP" and _is_lossy_webp(file) else picture


def _other_image(file: BinaryIO, label: str) -> Image.Image:
    """Open a JPEG, WebP or BMP without decoding it."""
    file.seek(0)
    start = file.read(6)
    if start in _NOT_READ:
        animated = ""
        file.seek(0)
        with Image.open(file, formats=["GIF"]) as image:
            animated = "an animated " if getattr(image, "is_animated", False) else "a "
        raise ImageError(
            f"{label} is {animated}{_NOT_READ[start]} picture; supported are PNG, JPEG, TIFF, WebP and BMP",
            hint="save the picture that is meant as PNG",
        )
    file.seek(0)
    return Image.open(file, formats=["JPEG", "WEBP", "BMP"])


def _is_lossy_webp(file: BinaryIO) -> bool:
    """True if the first picture is compressed as VP8, not as VP8L (lossless)."""
    at, name = 12, b""
    while name not in (b"VP8 ", b"VP8L"):
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        at += 8 + length + length % 2
    return name == b"VP8 "


def _refuse_animation(label: str, frames: int) -> None:
    if frames > 1:
        raise ImageError(
            f"{label} is animated, it has {frames} frames; only single pictures are read",
            hint="save the frames as pictures of their own",
        )
