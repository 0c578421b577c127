"""Copying of files and of their parts."""

from __future__ import annotations

from gzip import GzipFile
from typing import IO, BinaryIO

from n2n_cli.errors import ImageError

_STEP = 1 << 20  # bytes copied at a time


def copy_at_most(source: IO[bytes] | GzipFile, target: IO[bytes], most: int) -> bool:
    """Copy a file to its end; False if the target would exceed `most` bytes."""
    while part := source.read(_STEP):
        if target.tell() + len(part) > most:
            return False
        target.write(part)
    return True


def copy_part(source: BinaryIO | None, start: int, stop: int, target: BinaryIO, image_format: str) -> None:
    """Copy bytes `start` to `stop` of a picture's source file; nothing without a file.

    Raises
    ------
    ImageError
        When that file was closed before the picture was written.
    EOFError
        When the file became shorter.
    """
    if source is None or start == stop:
        return
    if source.closed:
        raise ImageError(
            f"the {image_format} file that the picture was read from is closed", hint="write while it is open"
        )
    source.seek(start)
    while start < stop:
        part = source.read(min(_STEP, stop - start))
        if not part:
            raise EOFError("the file that is read became shorter")
        target.write(part)
        start += len(part)
