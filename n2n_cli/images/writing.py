"""Writing of pictures to files and streams."""

from __future__ import annotations

import errno
import math
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np

from n2n_cli.errors import ArgumentError, ImageError
from n2n_cli.images import pillow
from n2n_cli.images.carrying import carried, order_of
from n2n_cli.images.fits.writing import FitsWriter
from n2n_cli.images.formats import (
    FORMATS,
    GRAY_ONLY,
    HOLDS_ALPHA,
    HOLDS_DEPTH,
    INSTRUMENTS,
    LONGEST_SIDE,
    ending_of,
    format_of,
)
from n2n_cli.images.mrc import MrcWriter
from n2n_cli.images.packing import packed
from n2n_cli.images.picture import Part, Picture
from n2n_cli.images.png import pixels as png16
from n2n_cli.images.png.chunks import SIGNATURE, Header, chunk, chunks_of, header_chunk
from n2n_cli.images.sources import label_of, without_warnings
from n2n_cli.images.tiff.writing import TiffWriter
from n2n_cli.system.atomic_files import replacing

Target: TypeAlias = Path | str | BinaryIO

_COLOURS = {channels: colour for colour, channels in png16.CHANNELS.items()}
_IN_MEMORY = 2**27  # bytes of a stream's picture; longer ones go through a temporary file


def write_picture(
    target: Target,
    picture: Picture,
    *,
    format: str | None = None,
    quality: int | None = None,
    name: str | None = None,
    mode: int = 0o666,
) -> tuple[str, ...]:
    """Write a picture to a file or a stream, atomically.

    A file is replaced by rename. BMP holds no EXIF data, so its pixels are rotated upright.

    Parameters
    ----------
    target : path or binary file
    picture : Picture
    format : str, optional
        One of `FORMATS`; by default from the target's extension. Required for a stream.
    quality : int, optional
        From 1 to 100, for JPEG (default 95; full colour resolution from 90 on) and WebP (default: lossless).
    name : str, optional
        Name of the target in messages, such as ``stdout``; the path by default.
    mode : int
        Permissions of a new file, before the umask.

    Returns
    -------
    tuple of str
        At most one note, which lists all that the format could not hold.

    Raises
    ------
    ImageError
        When the format is unknown, or cannot hold the picture's depth or alpha, or the file cannot be written.
    ArgumentError
        When `quality` is out of range.
    """
    return write_pages(target, [picture], format=format, quality=quality, name=name, mode=mode)


def write_pages(
    target: Target,
    pages: Iterable[Picture],
    *,
    format: str | None = None,
    quality: int | None = None,
    name: str | None = None,
    mode: int = 0o666,
) -> tuple[str, ...]:
    """Write the pages of a TIFF one by one, or a single picture in another format.

    Parameters, notes and errors are those of `write_picture`; errors of `pages` itself pass through.

    Raises
    ------
    ImageError
        Also when there is no page, or several for a format without pages.
    """
    if quality is not None and not 1 <= quality <= 100:
        raise ArgumentError("quality", quality, "a whole number from 1 to 100")
    label = label_of(target, name)
    if format is None:
        if not isinstance(target, (str, Path)):
            raise ArgumentError("format", format, "given for a stream: " + ", ".join(dict.fromkeys(FORMATS.values())))
        format = format_of(target)
    elif format not in FORMATS.values():
        raise ArgumentError("format", format, "one of " + ", ".join(dict.fromkeys(FORMATS.values())))
    left_out: dict[str, None] = {}  # an ordered set
    source = _Source(pages)
    try:
        with _open(target, mode) as file:
            left_out |= dict.fromkeys(_write(file, label, source, format, quality))
    except (MemoryError, ImageError):
        raise
    except Exception as error:  # encoders may raise any exception
        if error is source.error:
            raise
        if isinstance(error, OSError) and error.errno:
            if isinstance(error, BrokenPipeError):
                raise
            hint = _write_hint(error.errno, Path(target) if isinstance(target, (str, Path)) else None)
            raise ImageError(f"{label} cannot be written: {error.strerror}", hint=hint) from None
        raise ImageError(f"{label} cannot be written as {format}: {error}", hint="try PNG or TIFF") from None
    return (f"{format} cannot hold its {', '.join(left_out)}",) if left_out else ()


class _Source:
    """Iterator over pages that keeps their error, to distinguish it from an encoder's."""

    def __init__(self, pages: Iterable[Picture]) -> None:
        self._pages = iter(pages)
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[Picture]:
        return self

    def __next__(self) -> Picture:
        try:
            return next(self._pages)
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            raise


@contextmanager
def _open(target: Target, mode: int) -> Iterator[BinaryIO]:
    """Open a seekable file that replaces the target if the block raises no error."""
    if isinstance(target, (str, Path)):
        with replacing(Path(target), mode=mode) as file:
            if ending_of(target).endswith(".gz"):
                with packed(file, _IN_MEMORY) as unpacked:
                    yield unpacked
            else:
                yield file
        return
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
        yield spool  # type: ignore[misc]
        spool.seek(0)
        shutil.copyfileobj(spool, target)
        target.flush()


def _write(file: BinaryIO, label: str, pages: Iterator[Picture], image_format: str, quality: int | None) -> list[str]:
    """Write all pages; return names of all that the format could not hold."""
    first = next(pages, None)
    if first is None:
        raise ImageError(f"{label} cannot be written: there is no picture", hint="check the source")
    left_out: list[str] = []
    if image_format in ("TIFF", "FITS", "MRC"):
        writer = _page_writer(file, label, first, image_format)
        for picture in chain([first], pages):
            check_holds(label, picture, image_format)
            left_out += writer.add(picture)
        writer.finish()
        return left_out
    check_holds(label, first, image_format)
    if next(pages, None) is not None:
        raise ImageError(f"{label}: {image_format} holds a single picture, there are several pages", hint="write TIFF")
    taken = carried(first.metadata, image_format)
    if image_format == "PNG" and first.pixels.dtype == np.uint16:
        _write_png16(file, first, taken.parts)
    else:
        with without_warnings():
            pillow.write(file, first, taken, image_format, quality)
    return taken.left_out


def _page_writer(file: BinaryIO, label: str, first: Picture, image_format: str) -> TiffWriter | FitsWriter | MrcWriter:
    if image_format == "TIFF":
        return TiffWriter(file, order_of(first.metadata))
    return FitsWriter(file, label) if image_format == "FITS" else MrcWriter(file, label)


def check_holds(label: str, picture: Picture, image_format: str) -> None:
    """Check that a format can hold a picture's pixels.

    Raises
    ------
    ImageError
        When it cannot; the hint names a format that can.
    ValueError
        When the arrays are not a picture.
    """
    pixels, alpha = picture.pixels, picture.alpha
    if pixels.ndim != 3 or pixels.shape[2] - len(picture.extra) not in (1, 3) or not pixels.size:
        raise ValueError(f"pixels of the shape {pixels.shape} are not a picture")
    if alpha is not None and (alpha.shape, alpha.dtype) != (pixels.shape[:2], pixels.dtype):
        raise ValueError(f"its alpha is {alpha.dtype} of the shape {alpha.shape}, its pixels {pixels.dtype}")
    if picture.extra and image_format != "TIFF":
        raise ImageError(f"{label}: {image_format} cannot hold {pixels.shape[2]} channels", hint="write TIFF")
    if alpha is not None and image_format not in HOLDS_ALPHA:
        raise ImageError(
            f"{label}: {image_format} cannot hold this picture's transparency", hint="write PNG, TIFF or WebP"
        )
    if pixels.dtype.name not in HOLDS_DEPTH.get(image_format, "uint8").split():
        if pixels.dtype == np.uint16:
            raise ImageError(f"{label}: {image_format} cannot hold 16 bits per channel", hint="write PNG or TIFF")
        also = f"{picture.format} or " if picture.format in INSTRUMENTS and picture.format != image_format else ""
        raise ImageError(f"{label}: {image_format} cannot hold {pixels.dtype} pixels", hint=f"write {also}TIFF")
    if pixels.shape[2] > 1 and image_format in GRAY_ONLY:
        raise ImageError(f"{label}: {image_format} holds gray pictures only", hint="write TIFF or FITS")
    side, longest = max(pixels.shape[:2]), LONGEST_SIDE.get(image_format, math.inf)
    if side > longest:
        raise ImageError(
            f"{label}: {image_format} holds at most {longest:,} pixels a side, the picture has {side:,}",
            hint="write PNG or TIFF",
        )


def _write_png16(file: BinaryIO, picture: Picture, parts: list[Part]) -> None:
    pixels = picture.channels
    height, width, channels = pixels.shape
    file.write(SIGNATURE + header_chunk(Header(width, height, 16, _COLOURS[channels], interlaced=False)))
    file.write(chunks_of(part for part in parts if not part.behind))
    for content in png16.encode(pixels):
        file.write(chunk(b"IDAT", content))
    file.write(chunks_of(part for part in parts if part.behind) + chunk(b"IEND", b""))


def _write_hint(number: int, path: Path | None) -> str:
    if number == errno.ENOSPC:
        return "free some space, or write to another disk"
    if path is not None and number == errno.ENOENT:
        return f"make the folder first: `mkdir -p {path.parent}`"
    return "write to another name, or to a folder of your own"
