"""Decoding and encoding of 16-bit PNG pixels, which Pillow would reduce to 8 bits.

References
----------
Portable Network Graphics (PNG) Specification (Third Edition), W3C 2025: sections 7 to 10.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from n2n_cli.images.png.deflate import LEVEL, strategy_for
from n2n_cli.images.png.filters import BAND, filtered, unfilter
from n2n_cli.nn.functional import Array

CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""Number of channels by colour type: gray, RGB, gray with alpha, RGBA."""
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, row step and column step of each interlacing pass."""
_CHUNK = 2**20


def decode(parts: Iterable[bytes | memoryview], height: int, width: int, channels: int, interlaced: bool) -> Array:
    """Decode (H, W, C) uint16 pixels from the contents of the IDAT chunks.

    No more bytes are decompressed than a picture of this size needs.

    Raises
    ------
    ValueError
        When the data are damaged, or too few or too many for the size.
    """
    pixels = np.empty((height, width, channels), np.uint16)
    stream = io.BufferedReader(_Inflated(parts))
    for y, x, down, right in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        part = pixels[y::down, x::right]
        row_bytes = 2 * part.shape[1] * channels
        above = np.zeros(row_bytes, np.uint8)
        for start in range(0, len(part) if row_bytes else 0, BAND):
            band = part[start : start + BAND]
            rows = np.empty((len(band), 1 + row_bytes), np.uint8)
            if stream.readinto(rows.data) < rows.size:
                raise ValueError("its pixels end too early")
            plain = unfilter(rows[:, 1:].copy(), rows[:, 0], above, 2 * channels)
            band[...] = plain.view(">u2").reshape(band.shape)
            above = plain[-1]
    if stream.read(1):
        raise ValueError("it has more pixels than fit its size")
    return pixels


class _Inflated(io.RawIOBase):
    """File of the decompressed bytes of a zlib stream, given in parts.

    The checksum is verified.
    """

    def __init__(self, parts: Iterable[bytes | memoryview]) -> None:
        self._parts: Iterator[bytes | memoryview] = filter(None, parts)
        self._zlib = zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        while not (data or self._zlib.eof):
            packed = self._zlib.unconsumed_tail or next(self._parts, b"")
            data = self._zlib.decompress(packed, len(buffer))
            if not (packed or data):
                raise ValueError("its pixels end too early")
        buffer[: len(data)] = data
        return len(data)


def encode(pixels: Array, kind: int | None = None) -> Iterator[bytes]:
    """Encode (H, W, C) uint16 `pixels`, C from 1 to 4, as contents of IDAT chunks.

    The filter is chosen for each row, unless `kind` names one for all rows.
    """
    pixel_size, row_bytes = 2 * pixels.shape[2], 2 * math.prod(pixels.shape[1:])
    packer = None
    above = np.zeros(row_bytes, np.uint8)
    for start in range(0, len(pixels), BAND):
        band = pixels[start : start + BAND]
        rows = band.astype(">u2", order="C").reshape(len(band), -1).view(np.uint8)
        data = filtered(rows, above, pixel_size, kind).tobytes()
        packer = packer or zlib.compressobj(LEVEL, strategy=strategy_for(data))
        yield from _cut(packer.compress(data))
        above = rows[-1]
    if packer:
        yield from _cut(packer.flush())


def _cut(data: bytes) -> Iterator[bytes]:
    """Cut data into pieces for chunks, not empty and short enough for readers' memory."""
    for start in range(0, len(data), _CHUNK):
        yield data[start : start + _CHUNK]
