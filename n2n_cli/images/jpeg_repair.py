"""Removal of damaged metadata segments from a JPEG file.

References
----------
ITU-T Rec. T.81 (1992): annex B.
"""

from __future__ import annotations

import functools
import io
import re
from typing import BinaryIO, NamedTuple

from PIL import Image

_COMMENT, _SCAN = 0xFE, 0xDA
_METADATA = {*range(0xE0, 0xF0), _COMMENT}  # APP0 to APP15 and comments
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF, 0xF7}  # 0xF7: JPEG-LS
_MARKER = re.compile(rb"\xff+[\xc0-\xcf\xda-\xdf\xe0-\xef\xf7\xfe]")


def without_damage(file: BinaryIO) -> tuple[BinaryIO, tuple[str, ...]]:
    """Copy a file without its unreadable metadata segments; also returns their names.

    Raises
    ------
    ValueError
        When no segment is damaged, or the segments do not lead to the pixels.
    """
    segments, rest = _split(file)
    whole = [
        segment.data
        for segment in segments
        if segment.marker not in _METADATA or (segment.ends_well and _is_readable(segment.data))
    ]
    names = tuple(
        "comment" if segment.marker == _COMMENT else f"APP{segment.marker - 0xE0} segment"
        for segment in segments
        if segment.data not in whole
    )
    if not names:
        raise ValueError
    return io.BytesIO(b"".join([b"\xff\xd8", *whole, rest])), names


def unsupported_kind(file: BinaryIO) -> str | None:
    """Name of a kind of JPEG that Pillow cannot decode; None for other kinds."""
    try:
        segments, _ = _split(file)
    except ValueError:
        return None
    frames = [segment for segment in segments if segment.marker in _FRAMES and len(segment.data) > 4]
    if frames and frames[0].marker in _LOSSLESS:
        return "a lossless JPEG"
    return f"a JPEG of {frames[0].data[4]} bits" if frames and frames[0].data[4] != 8 else None


class _Segment(NamedTuple):
    """A segment with marker and length, and whether another marker follows it."""

    marker: int
    data: bytes
    ends_well: bool


def _split(file: BinaryIO) -> tuple[list[_Segment], bytes]:
    """Split a file into the segments before the first scan, and the rest.

    A metadata segment that no marker follows has a wrong length: the next marker is searched from its start.
    """
    file.seek(0)
    data = file.read()
    segments, at = list[_Segment](), 2
    while True:
        found = _MARKER.search(data, at)
        if found is None:
            raise ValueError("it ends too early")
        at, marker = found.start(), data[found.end() - 1]
        start = found.end() - 2  # skip fill bytes
        if marker == _SCAN:
            return segments, data[start:]
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        ends_well = data[end : end + 1] == b"\xff"
        segments.append(_Segment(marker, data[start:end], ends_well))
        at = end if ends_well or marker not in _METADATA else start + 4


def _is_readable(segment: bytes) -> bool:
    """True if Pillow opens a JPEG with this segment."""
    try:
        with Image.open(io.BytesIO(b"\xff\xd8" + segment + _smallest()), formats=["JPEG"]):
            return True
    except Exception:  # damaged segments may raise any exception
        return False


@functools.cache
def _smallest() -> bytes:
    """Make a JPEG of one pixel, without its start marker and metadata."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "JPEG")
    segments, rest = _split(file)
    return b"".join([*(segment.data for segment in segments if segment.marker not in _METADATA), rest])
