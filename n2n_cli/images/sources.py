"""Opening of picture files and streams, with errors for the user."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

from PIL import Image, UnidentifiedImageError

from n2n_cli.errors import ImageError

Source: TypeAlias = Path | str | BinaryIO

MAX_PIXELS = 250_000_000
"""Default maximum size of a picture, in pixels: a small file can claim any size."""

Image.MAX_IMAGE_PIXELS = None  # `check_size` has a limit per call instead of one per process


logging.getLogger("PIL").addHandler(logging.NullHandler())  # it logs damage that our errors report


def label_of(place: Source, name: str | None) -> str:
    """Name of a file or a stream in messages."""
    return f"`{name or place}`" if name or isinstance(place, (str, Path)) else "the stream"


@contextmanager
def opened(source: Source, name: str | None) -> Iterator[tuple[BinaryIO, str]]:
    """Open a seekable file, and give its name for messages.

    Errors in the block become `ImageError`. A stream that is not seekable is read to its end first.
    """
    label = label_of(source, name)
    try:
        if isinstance(source, (str, Path)):
            with Path(source).open("rb") as file:
                yield _not_empty(file, label, "copy it again"), label
        else:
            stream = source if source.seekable() else io.BytesIO(source.read())
            yield _not_empty(stream, label, "see what the program before the pipe says"), label
    except (ImageError, MemoryError):
        raise
    except FileNotFoundError:
        raise ImageError(f"there is no file {label}", hint="see what is there with `ls`") from None
    except IsADirectoryError:
        raise ImageError(f"{label} is a folder, not a picture", hint="name a picture in it") from None
    except PermissionError:
        raise ImageError(f"{label} may not be read", hint="its owner can allow it: `chmod +r`") from None
    except Exception as error:
        # On damaged input the decoders may raise any exception: ValueError, SyntaxError, EOFError, struct.error, ...
        if isinstance(error, OSError) and error.errno:
            raise ImageError(f"{label} cannot be read: {error.strerror}", hint="check its name") from None
        words = " ".join(str(error).split())
        reason = "" if isinstance(error, UnidentifiedImageError) or not words else f" ({words})"
        raise ImageError(
            f"{label} is not a whole PNG, JPEG, TIFF, WebP or BMP picture{reason}",
            hint="copy it again; where a viewer shows it, save it from there as PNG",
        ) from None


def _not_empty(file: BinaryIO, label: str, hint: str) -> BinaryIO:
    if file.seek(0, io.SEEK_END) == 0:
        raise ImageError(f"{label} is empty", hint=hint)
    file.seek(0)
    return file


@contextmanager
def without_warnings() -> Iterator[None]:
    """Ignore Pillow's warnings about unusual metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check_size(label: str, height: int, width: int, max_pixels: int) -> None:
    """Refuse a picture that is too large, before memory is allocated for it.

    Raises
    ------
    ImageError
        With the limit and the option that raises it.
    """
    count = height * width
    if count > max_pixels:
        raise ImageError(
            f"{label} claims to have {width:,} x {height:,} = {count:,} pixels, more than the limit of {max_pixels:,}",
            hint=f"if this is right and memory suffices: `--max-pixels {count}`",
        )
