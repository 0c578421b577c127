"""Pixels of PNG files with 16 bits per channel, which Pillow would cut to 8 bits.

References
----------
Portable Network Graphics (PNG) Specification (Third Edition), W3C 2025: sections 7 to 10.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

from n2n_cli.images.png.deflate import LEVEL, strategy_for
from n2n_cli.images.png.filters import BAND, filtered, unfilter
from n2n_cli.nn.functional import Array

CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""Of the colour types gray, RGB, gray and alpha, RGBA."""
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
_WHOLE = ((0, 0, 1, 1),)
_CHUNK = 2**20


def decode(parts: Iterable[bytes | memoryview], height: int, width: int, channels: int, interlaced: bool) -> Array:
    """(H, W, C) uint16 pixels from the contents of the IDAT chunks.

    No more is decompressed than a picture of this size has.

    Raises
    ------
    ValueError
        When the data are damaged, or fewer or more than the size asks for.
    """
    pixels = np.empty((height, width, channels), np.uint16)
    stream = _Stream(parts)
    for y, x, down, right in _ADAM7 if interlaced else _WHOLE:
        part = pixels[y::down, x::right]
        if part.size:
            _decode_pass(stream, part)
    stream.finish()
    return pixels


def _decode_pass(stream: _Stream, pixels: Array) -> None:
    """Fill (H, W, C) `pixels`, all of them or those of one pass of Adam7."""
    row_bytes = math.prod(pixels.shape[1:]) * 2
    above = np.zeros(row_bytes, np.uint8)
    for start in range(0, len(pixels), BAND):
        band = pixels[start : start + BAND]
        rows = np.frombuffer(stream.read(len(band) * (1 + row_bytes)), np.uint8).reshape(len(band), -1)
        plain = unfilter(rows[:, 1:].copy(), rows[:, 0], above, 2 * pixels.shape[2])
        band[...] = plain.view(">u2").reshape(band.shape)
        above = plain[-1]


class _Stream:
    """Bytes of a zlib stream that comes in parts, never more of them than are asked for."""

    def __init__(self, parts: Iterable[bytes | memoryview]) -> None:
        self._parts = iter(parts)
        self._zlib = zlib.decompressobj()
        self._rest: bytes | memoryview = b""

    def read(self, size: int) -> bytes:
        pieces = []
        while size:
            piece = self._next(size)
            if not piece:
                raise ValueError("its pixels end too early")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def finish(self) -> None:
        """See that nothing is left but the checksum, and that this is right."""
        if self._next(1):
            raise ValueError("it has more pixels than its size says")
        if not self._zlib.eof:
            raise ValueError("its pixels end too early")

    def _next(self, most: int) -> bytes:
        """Some bytes, `most` at most; none only at the end."""
        while not self._zlib.eof:
            if not self._rest:
                part = next(self._parts, None)
                if part is None:
                    return self._zlib.decompress(b"", most)
                self._rest = part
            piece = self._zlib.decompress(self._rest, most)
            self._rest = self._zlib.unconsumed_tail
            if piece:
                return piece
        return b""


def encode(pixels: Array, kind: int | None = None) -> Iterator[bytes]:
    """The contents of the IDAT chunks for (H, W, C) uint16 `pixels`, C from 1 to 4.

    Each row has the filter that suits it, or all have the filter `kind`.
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
    """Pieces that are not empty and not longer than other readers like to hold in memory."""
    for start in range(0, len(data), _CHUNK):
        yield data[start : start + _CHUNK]
