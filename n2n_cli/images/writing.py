"""Pictures -> picture files and streams."""

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
from n2n_cli.images.formats import FORMATS, HOLDS_ALPHA, HOLDS_DEPTH, LONGEST_SIDE, format_of
from n2n_cli.images.picture import Picture
from n2n_cli.images.png import pixels as png16
from n2n_cli.images.png.chunks import SIGNATURE, Header, chunk, header_chunk
from n2n_cli.images.png.metadata import write_metadata
from n2n_cli.images.sources import without_warnings
from n2n_cli.images.tiff.writing import TiffWriter
from n2n_cli.system.atomic_files import replacing

Target: TypeAlias = Path | str | BinaryIO

_COLOURS = {(1, False): 0, (3, False): 2, (1, True): 4, (3, True): 6}  # PNG's, by channels and alpha
_IN_MEMORY = 2**27  # bytes of a stream's picture; longer ones wait in a temporary file


def write_picture(
    target: Target,
    picture: Picture,
    *,
    format: str | None = None,
    quality: int | None = None,
    name: str | None = None,
) -> tuple[str, ...]:
    """Write a picture; a file appears whole, by rename, and a stream gets the whole picture or nothing.

    BMP holds no EXIF data: there the pixels themselves are turned as its orientation says.

    Parameters
    ----------
    target : path or binary file
    picture : Picture
    format : str, optional
        One of `FORMATS`; by itself, what the target's name asks for. A stream needs it.
    quality : int, optional
        From 1 to 100, for JPEG (by itself 95; colour is kept at full resolution from 90 on) and WebP (by itself
        without loss).
    name : str, optional
        What messages call the target, such as ``stdout``; the path by itself.

    Returns
    -------
    tuple of str
        What the format could not hold, for the user.

    Raises
    ------
    ImageError
        When the format is unknown or cannot hold the picture's depth or alpha, or the file cannot be written.
    ArgumentError
        When `quality` is out of its range.
    """
    return write_pages(target, [picture], format=format, quality=quality, name=name)


def write_pages(
    target: Target,
    pages: Iterable[Picture],
    *,
    format: str | None = None,
    quality: int | None = None,
    name: str | None = None,
) -> tuple[str, ...]:
    """Write the pages of a TIFF, or the one picture of another format; each page is asked for when its turn comes.

    Parameters, notes and errors are those of `write_picture`; an error of `pages` itself passes through.

    Raises
    ------
    ImageError
        Also when there is no page, or a format that has no pages gets two.
    """
    if quality is not None and not 1 <= quality <= 100:
        raise ArgumentError("quality", quality, "a whole number from 1 to 100")
    is_path = isinstance(target, (str, Path))
    label = f"`{target if name is None else name}`" if is_path or name else "the stream"
    if format is None:
        if not isinstance(target, (str, Path)):
            raise ArgumentError("format", format, "named, for a stream has no ending: " + ", ".join(FORMATS.values()))
        format = format_of(target)
    elif format not in FORMATS.values():
        raise ArgumentError("format", format, "one of " + ", ".join(dict.fromkeys(FORMATS.values())))
    notes: dict[str, None] = {}  # each once, in order
    source = _Source(pages)
    try:
        with _open(target) as file:
            notes.update(dict.fromkeys(_write(file, label, source, format, quality)))
    except (MemoryError, ImageError):
        raise
    except Exception as error:  # the encoders raise nearly anything, as the decoders do
        if error is source.error:
            raise
        if isinstance(error, OSError) and error.errno:
            if isinstance(error, BrokenPipeError):
                raise
            way_out = _way_out(error.errno, Path(target) if isinstance(target, (str, Path)) else None)
            raise ImageError(f"{label} cannot be written: {error.strerror}", hint=way_out) from None
        raise ImageError(f"{label} cannot be written as {format}: {error}", hint="try PNG or TIFF") from None
    return tuple(notes)


class _Source:
    """Pages that remember with what error they ended, to tell it from the encoder's."""

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
def _open(target: Target) -> Iterator[BinaryIO]:
    """A file that can be written anywhere, and reaches the target when the block ends without an error."""
    if isinstance(target, (str, Path)):
        with replacing(Path(target)) as file:
            yield file
        return
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
        yield spool  # type: ignore[misc]
        spool.seek(0)
        shutil.copyfileobj(spool, target)
        target.flush()


def _write(file: BinaryIO, label: str, pages: Iterator[Picture], image_format: str, quality: int | None) -> list[str]:
    """Write all pages; what could not be held of them."""
    notes: list[str] = []
    first = next(pages, None)
    if first is None:
        raise ImageError(f"{label} cannot be written: there is no picture", hint="see what was read")
    if image_format == "TIFF":
        writer = TiffWriter(file)
        for picture in chain([first], pages):
            check_holds(label, picture, image_format)
            writer.add(picture)
            notes += pillow.left_out(picture.metadata, image_format)
        writer.finish()
        return notes
    check_holds(label, first, image_format)
    if next(pages, None) is not None:
        raise ImageError(f"{label}: {image_format} holds a single picture, there are several pages", hint="write TIFF")
    if image_format == "PNG" and first.pixels.dtype == np.uint16:
        _write_png16(file, first)
    else:
        with without_warnings():
            pillow.write(file, first, image_format, quality)
    return [*pillow.left_out(first.metadata, image_format)]


def check_holds(label: str, picture: Picture, image_format: str) -> None:
    """See that a format can hold a picture's pixels.

    Raises
    ------
    ImageError
        Says what it cannot hold, and which format can.
    ValueError
        When the picture is none.
    """
    pixels, alpha = picture.pixels, picture.alpha
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
        raise ValueError(f"pixels of the shape {pixels.shape} are no picture")
    if alpha is not None and (alpha.shape, alpha.dtype) != (pixels.shape[:2], pixels.dtype):
        raise ValueError(f"its alpha is {alpha.dtype} of the shape {alpha.shape}, its pixels {pixels.dtype}")
    if alpha is not None and image_format not in HOLDS_ALPHA:
        raise ImageError(
            f"{label}: {image_format} cannot hold this picture's transparency", hint="write PNG, TIFF or WebP"
        )
    if pixels.dtype.name not in HOLDS_DEPTH.get(image_format, "uint8").split():
        if pixels.dtype == np.uint16:
            raise ImageError(f"{label}: {image_format} cannot hold 16 bits per channel", hint="write PNG or TIFF")
        raise ImageError(f"{label}: {image_format} cannot hold {pixels.dtype} pixels", hint="write TIFF")
    side, longest = max(pixels.shape[:2]), LONGEST_SIDE.get(image_format, math.inf)
    if side > longest:
        raise ImageError(
            f"{label}: {image_format} holds at most {longest:,} pixels a side, the picture has {side:,}",
            hint="write PNG or TIFF",
        )


def _write_png16(file: BinaryIO, picture: Picture) -> None:
    pixels = picture.pixels
    colour = _COLOURS[pixels.shape[2], picture.alpha is not None]
    if picture.alpha is not None:
        pixels = np.concatenate([pixels, picture.alpha[..., None]], axis=2)  # (H, W, C + 1)
    height, width, _ = pixels.shape
    file.write(SIGNATURE + header_chunk(Header(width, height, 16, colour, interlaced=False)))
    for name, content in write_metadata(picture.metadata):
        file.write(chunk(name, content))
    for content in png16.encode(pixels):
        file.write(chunk(b"IDAT", content))
    file.write(chunk(b"IEND", b""))


def _way_out(number: int, path: Path | None) -> str:
    if number == errno.ENOSPC:
        return "free some space, or write to another disk"
    if path is not None and number == errno.ENOENT:
        return f"make the folder first: `mkdir -p {path.parent}`"
    return "write to another name, or to a folder of your own"
