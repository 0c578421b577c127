"""Copying of the parts of a file other than pixels."""

from __future__ import annotations

from typing import BinaryIO

from n2n_cli.errors import ImageError

_STEP = 1 << 20  # bytes copied at a time


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
