"""Files compressed by gzip, as observatories and microscopy archives publish them."""

from __future__ import annotations

import gzip
import io
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from n2n_cli.images.copying import copy_at_most

_MAGIC = b"\x1f\x8b\x08"
_LEAST, _RATIO = 2**28, 100
"""Maximum size of an unpacked file: this many bytes, or this multiple of its packed size."""
_STEP = 2**20
_START = 4096
_LEVEL = 6


def unpacked_start(start: bytes) -> bytes:
    """Unpack the first bytes of a gzip file; return those of any other file unchanged."""
    if not start.startswith(_MAGIC):
        return start
    try:
        return zlib.decompressobj(31).decompress(start, _START)
    except zlib.error:
        return start


def is_packed(file: BinaryIO) -> bool:
    """True for a gzip file."""
    file.seek(0)
    start = file.read(len(_MAGIC))
    file.seek(0)
    return start == _MAGIC


@contextmanager
def unpacked(file: BinaryIO, in_memory: int) -> Iterator[BinaryIO]:
    """Unpack a file, to a temporary file if that is longer than `in_memory` bytes.

    Raises
    ------
    ValueError
        When the file unpacks to far more bytes than it has.
    EOFError, OSError, zlib.error
        When the file is damaged.
    """
    most = max(_LEAST, _RATIO * file.seek(0, io.SEEK_END))
    file.seek(0)
    with tempfile.SpooledTemporaryFile(in_memory) as spool, gzip.GzipFile(fileobj=file) as packed_file:
        if not copy_at_most(packed_file, spool, most):
            raise ValueError(f"it unpacks to more than {most // 10**6:,} MB; if it is right, unpack it with gunzip")
        spool.seek(0)
        yield spool  # type: ignore[misc]


@contextmanager
def packed(target: BinaryIO, in_memory: int) -> Iterator[BinaryIO]:
    """Compress the output of the block into a target, without name and date."""
    with tempfile.SpooledTemporaryFile(in_memory) as spool:
        yield spool  # type: ignore[misc]
        spool.seek(0)
        with gzip.GzipFile(filename="", mode="wb", fileobj=target, compresslevel=_LEVEL, mtime=0) as packed_file:
            shutil.copyfileobj(spool, packed_file, _STEP)
