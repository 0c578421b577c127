"""Photoshop's image resources, which hold IPTC data in JPEG and TIFF files.

References
----------
Adobe Photoshop File Formats Specification, 2019: image resources section.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

HEAD = b"Photoshop 3.0\0"
"""Start of a JPEG segment with image resources."""
_IPTC = 0x0404
_SIGNATURE = b"8BIM"


def iptc_of(data: bytes) -> bytes:
    """Find the IPTC data in image resources; empty if there are none.

    Raises
    ------
    ValueError
        When a resource is damaged.
    """
    return b"".join(content for number, content in _resources(data) if number == _IPTC)


def with_iptc(data: bytes, iptc: bytes) -> bytes:
    """Add IPTC data to image resources that have none."""
    if not iptc or iptc_of(data):
        return data
    return struct.pack(">4sHHI", _SIGNATURE, _IPTC, 0, len(iptc)) + iptc + bytes(len(iptc) % 2) + data


def name_of(data: bytes) -> str:
    """Name of image resources for messages."""
    only = all(number == _IPTC for number, _ in _resources(data))
    return "IPTC data" if only else "IPTC and Photoshop data" if iptc_of(data) else "Photoshop data"


def _resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (number, content) of the resources; bytes after the last one are padding."""
    at = 0
    while data[at : at + 4] == _SIGNATURE:
        try:
            number, name = struct.unpack_from(">HB", data, at + 4)
            at += 6 + (name + 2) // 2 * 2
            (length,) = struct.unpack_from(">I", data, at)
        except struct.error:
            raise ValueError("an image resource ends too early") from None
        at += 4
        if at + length > len(data):
            raise ValueError("an image resource ends too early")
        yield number, data[at : at + length]
        at += length + length % 2
