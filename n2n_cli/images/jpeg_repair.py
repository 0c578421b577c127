"""Segments of a JPEG file before its pixels; those that are damaged can be left out.

References
----------
ITU-T Rec. T.81 (1992): annex B.
"""

from __future__ import annotations

import functools
import io
import struct
from typing import BinaryIO

from PIL import Image

_COMMENT, _SCAN = 0xFE, 0xDA
_METADATA = {*range(0xE0, 0xF0), _COMMENT}  # APP0 to APP15 and comments
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
_STANDALONE = {0x01, *range(0xD0, 0xD9)}


def without_damage(file: BinaryIO) -> tuple[BinaryIO, tuple[str, ...]]:
    """The file without those of its metadata segments that Pillow cannot read, and their names.

    Raises
    ------
    ValueError
        When no segment is damaged, or they do not lead to the pixels.
    """
    segments, rest = _split(file)
    whole = [segment for segment in segments if segment[1] not in _METADATA or _is_readable(segment)]
    names = tuple(
        "comment" if segment[1] == _COMMENT else f"APP{segment[1] - 0xE0} segment"
        for segment in segments
        if segment not in whole
    )
    if not names:
        raise ValueError
    return io.BytesIO(b"".join([b"\xff\xd8", *whole, rest])), names


def unsupported_kind(file: BinaryIO) -> str | None:
    """Name of a kind of JPEG that Pillow does not decode; None for others."""
    segments, _ = _split(file)
    frames = [segment for segment in segments if segment[1] in _FRAMES and len(segment) > 4]
    if frames and frames[0][1] in _LOSSLESS:
        return "a lossless JPEG"
    return f"a JPEG of {frames[0][4]} bits" if frames and frames[0][4] != 8 else None


def _split(file: BinaryIO) -> tuple[list[bytes], bytes]:
    """The segments before the first scan, each with its marker, and all that follows."""
    file.seek(2)
    segments = list[bytes]()
    while True:
        byte = file.read(1)
        while byte not in (b"\xff", b""):  # junk between segments
            byte = file.read(1)
        while byte == b"\xff":  # also fill bytes
            byte = file.read(1)
        if not byte:
            raise ValueError("it ends too early")
        marker = byte[0]
        if marker in _STANDALONE or marker == 0:
            continue
        length = file.read(2)
        if marker == _SCAN or len(length) < 2:
            return segments, b"\xff" + byte + length + file.read()
        (number,) = struct.unpack(">H", length)
        content = file.read(max(0, number - 2))
        segments.append(b"\xff" + byte + length + content)


def _is_readable(segment: bytes) -> bool:
    """True if Pillow opens a JPEG with this segment."""
    try:
        with Image.open(io.BytesIO(b"\xff\xd8" + segment + _smallest()), formats=["JPEG"]):
            return True
    except Exception:  # damaged segments may raise any exception
        return False


@functools.cache
def _smallest() -> bytes:
    """A JPEG of one pixel, without the marker of its start and without metadata."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "JPEG")
    file.seek(0)
    segments, rest = _split(file)
    return b"".join([*(segment for segment in segments if segment[1] not in _METADATA), rest])
