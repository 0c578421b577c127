"""Opening of picture files and streams, with errors for the user."""

from __future__ import annotations

import errno
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from PIL import Image, UnidentifiedImageError

from n2n_cli.errors import ImageError
from n2n_cli.images import kinds
from n2n_cli.images.copying import copy_at_most
from n2n_cli.images.packing import is_packed, unpacked

Source: TypeAlias = Path | str | BinaryIO

MAX_PIXELS = 250_000_000
"""Default maximum size of a picture, in pixels, since a small file can claim any size."""

_IN_MEMORY = 2**27  # maximum bytes of a stream in memory; longer ones are copied to a temporary file
_STREAM_PER_PIXEL, _LEAST_STREAM = 16, 2**26
"""Maximum bytes of a stream for each pixel of the limit of a picture; minimum of this maximum, in bytes."""

Image.MAX_IMAGE_PIXELS = None  # `check_size` sets a limit per call instead


logging.getLogger("PIL").addHandler(logging.NullHandler())  # Pillow logs damage that our errors report


def label_of(place: Source, name: str | None) -> str:
    """Name of a file or a stream in messages."""
    return f"`{name or place}`" if name or isinstance(place, (str, Path)) else "the stream"


def page_label(label: str, number: int) -> str:
    """Name of a page in messages.

    The first page has no number, since it may be the only one.
    """
    return label if number == 0 else f"{label}, page {number + 1},"


@contextmanager
def opened(source: Source, name: str | None, max_pixels: int = MAX_PIXELS) -> Iterator[tuple[BinaryIO, str]]:
    """Open a seekable file; yields the file and its name for messages.

    Errors of the file become `ImageError`; errors of the block only inside `reading_errors`. A stream that is not
    seekable is copied first, to a temporary file if it is long. It is refused at once if its first bytes are not those
    of a picture. Its length is limited in proportion to `max_pixels`, since a stream may be endless.
    """
    label = label_of(source, name)
    with ExitStack() as stack:
        with reading_errors(label):
            if isinstance(source, (str, Path)):
                file: BinaryIO = stack.enter_context(Path(source).open("rb"))
                hint = "copy it again"
            else:
                file = source if source.seekable() else stack.enter_context(_copied(source, label, max_pixels))
                hint = "see the messages of the program before the pipe"
            _check_start(file, label, hint)
            if is_packed(file):
                file = stack.enter_context(unpacked(file, _IN_MEMORY))
        yield file, label


@contextmanager
def reading_errors(label: str) -> Iterator[None]:
    """Convert errors of the block, which reads a picture, to `ImageError`."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except FileNotFoundError:
        raise ImageError(f"there is no file {label}", hint="list the files with `ls`") from None
    except IsADirectoryError:
        raise ImageError(f"{label} is a folder, not a picture", hint="name a picture in it") from None
    except PermissionError:
        raise ImageError(f"{label} may not be read", hint="its owner can permit it: `chmod +r`") from None
    except Exception as error:
        # On damaged input the decoders may raise any exception: ValueError, SyntaxError, EOFError, struct.error, ...
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise ImageError(
                f"{label} cannot be unpacked or copied: no space left in `{tempfile.gettempdir()}`",
                hint="save it as a file that is not packed, or set `TMPDIR` to another folder",
            ) from None
        if isinstance(error, OSError) and error.errno:
            raise ImageError(f"{label} cannot be read: {error.strerror}", hint="check its name") from None
        words = " ".join(str(error).split())
        reason = "" if isinstance(error, UnidentifiedImageError) or not words else f" ({words})"
        raise _not_whole(label, reason) from None


def _not_whole(label: str, reason: str = "") -> ImageError:
    return ImageError(
        f"{label} is not a whole PNG, JPEG, TIFF, WebP, BMP, FITS or MRC picture{reason}",
        hint="copy it again; if a viewer shows it, save it from there as PNG",
    )


@contextmanager
def _copied(stream: BinaryIO, label: str, max_pixels: int) -> Iterator[BinaryIO]:
    """Copy a stream to a seekable file.

    If its first bytes are not those of a picture, no more is read.
    """
    most = max(_LEAST_STREAM, _STREAM_PER_PIXEL * max_pixels)
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as copy:
        start = stream.read(kinds.START)
        if start:
            _check_kind(label, start)
        copy.write(start)
        if not copy_at_most(stream, copy, most):
            raise ImageError(
                f"{label} is longer than {most // 10**6:,} MB, the limit of a stream",
                hint="save it as a file, or give a larger `--max-pixels`",
            )
        yield copy  # type: ignore[misc]


def _check_start(file: BinaryIO, label: str, hint: str) -> None:
    file.seek(0)
    start = file.read(kinds.START)
    if not start:
        raise ImageError(f"{label} is empty", hint=hint)
    _check_kind(label, start)
    file.seek(0)


def _check_kind(label: str, start: bytes) -> None:
    kinds.refuse_foreign(label, start)
    if kinds.format_in(start) is None:
        raise _not_whole(label)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Ignore Pillow's warnings about unusual metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True)
class Limits:
    """Limits on pictures, since a small file can claim any size.

    Attributes
    ----------
    pixels : int
        Maximum size of a picture, in pixels.
    memory : int, optional
        Maximum memory of the pixels, in bytes.
    """

    pixels: int = MAX_PIXELS
    memory: int | None = None


def check_size(label: str, height: int, width: int, limits: Limits, *, pixel_bytes: int = 1) -> None:
    """Refuse a picture that is too large, before memory is allocated for it.

    Parameters
    ----------
    pixel_bytes : int
        Memory for a pixel, in bytes.

    Raises
    ------
    ImageError
        When it is too large; the message names the limit, and the hint the option that raises it.
    """
    max_pixels = limits.pixels
    count = height * width
    if count > max_pixels:
        raise ImageError(
            f"{label} claims to have {width:,} x {height:,} = {count:,} pixels, more than the limit of {max_pixels:,}",
            hint=f"if this is right and memory suffices: `--max-pixels {count}`",
        )
    if limits.memory is not None and count * pixel_bytes > limits.memory:
        raise ImageError(
            f"{label} has {width:,} x {height:,} pixels, which take {count * pixel_bytes // 10**6:,} MB, more than the "
            f"limit of {limits.memory // 10**6:,} MB",
            hint="a larger `--max-memory`",
        )
