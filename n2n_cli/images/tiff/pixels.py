"""Decoding of TIFF pixels at full depth: integers and floats of 8 to 64 bits.

Pillow reads 8-bit pixels and few others. This module handles the layout. Pillow's libtiff decompresses LZW, ZSTD and
similar data, as if the bytes of a page were an 8-bit gray picture.

References
----------
TIFF Revision 6.0, Adobe 1992: sections 14 and 15; Adobe Photoshop TIFF Technical Note 3, 2005: predictor 3.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from n2n_cli.images.tiff import pages as tags
from n2n_cli.images.tiff.blocks import Blocks, stored
from n2n_cli.images.tiff.libtiff import decompressed
from n2n_cli.images.tiff.pages import Page
from n2n_cli.nn.functional import Array

_LZW, _LZMA, _ZSTD = 5, 34925, 50000
_DEFLATE = (8, 32946)
_PACKBITS = 32773
_WITH_PREDICTOR = {_LZW, *_DEFLATE, _LZMA, _ZSTD}
_BY_LIBTIFF = {_LZW, _LZMA, _ZSTD, _PACKBITS}
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}  # dtype kind by value of the tag SampleFormat
_TYPES = {"u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8"}
_AT_ONCE, _LEAST = 2**24, 2**11  # bytes decompressed at once; minimum bytes counted for a block
_MOST_SAMPLES = 2**12


@dataclass(frozen=True)
class Layout:
    """Storage layout of the pixels of a page.

    Attributes
    ----------
    height, width, samples : int
    dtype : numpy.dtype
        Type of the values, in the file's byte order.
    planar : bool
        True if channels are stored separately.
    compression, predictor : int
        Values of these tags.
    """

    height: int
    width: int
    samples: int
    dtype: np.dtype[np.generic]
    planar: bool
    compression: int
    predictor: int

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a decoded pixel."""
        return self.samples * self.dtype.itemsize


def layout_of(page: Page) -> Layout | None:
    """Layout of gray or RGB pixels; None for pixels that `decode` cannot read.

    Raises
    ------
    ValueError
        When the page has no size.
    """
    height, width = page.size
    try:
        samples, compression = page.integer(tags.SAMPLES, 1), page.integer(tags.COMPRESSION, tags.RAW)
        kind, bits = page.integer(tags.SAMPLE_FORMAT, 1), page.integer(tags.BITS, 1)
        photometric, order = page.integer(tags.PHOTOMETRIC, 0), page.integer(tags.FILL_ORDER, 1)
        planar = page.is_planar
        predictor = page.integer(tags.PREDICTOR, 1) if compression in _WITH_PREDICTOR else 1
    except ValueError:  # channels differ in type
        return None
    name = f"{_KINDS.get(kind)}{bits // 8}"
    packed = compression in (*_WITH_PREDICTOR, _PACKBITS)
    if bits % 8 or name not in _TYPES or photometric not in (0, 1, 2) or order != 1:
        return None
    if not (packed or compression == tags.RAW) or not 0 < samples <= _MOST_SAMPLES:
        return None
    dtype = np.dtype(name).newbyteorder("<" if page.head[:2] == b"II" else ">")
    return Layout(height, width, samples, dtype, planar, compression, predictor)


def decode(page: Page, layout: Layout, blocks: Blocks) -> Array:
    """Decode (H, W, samples) pixels, in this machine's byte order.

    Raises
    ------
    ValueError, OSError, zlib.error
        When the pixels are damaged or truncated.
    """
    pixels = np.empty((layout.height, layout.width, layout.samples), layout.dtype.newbyteorder("="))
    across, down = math.ceil(layout.width / blocks.columns), math.ceil(layout.height / blocks.rows)
    for plane in range(layout.samples if layout.planar else 1):
        numbers = range(plane * across * down, (plane + 1) * across * down)
        for place, data in enumerate(_unpacked(page, layout, blocks, numbers)):
            top, left = place // across * blocks.rows, place % across * blocks.columns
            part = pixels[top : top + blocks.rows, left : left + blocks.columns]
            part = part[..., plane : plane + 1] if layout.planar else part
            part[...] = 0 if data is None else _values(data[: len(part)], layout, part.shape[1])
    return pixels


def _unpacked(page: Page, layout: Layout, blocks: Blocks, numbers: range) -> Iterator[Array | None]:
    """Decompress strips or tiles to (rows, bytes) each; None for an absent one."""
    at_once = (
        max(1, _AT_ONCE // max(_LEAST, blocks.rows * blocks.row_bytes)) if layout.compression in _BY_LIBTIFF else 1
    )
    for first in range(0, len(numbers), at_once):
        yield from _unpacked_together(page, layout, blocks, numbers[first : first + at_once])


def _unpacked_together(page: Page, layout: Layout, blocks: Blocks, chosen: range) -> Iterator[Array | None]:
    pieces = [stored(page, blocks, number) for number in chosen]
    if layout.compression in _BY_LIBTIFF:
        rows = [_rows(layout, blocks, number) for number in chosen]
        filled = [(piece, height) for piece, height in zip(pieces, rows, strict=True) if piece]
        whole = decompressed(
            [piece for piece, _ in filled], [height for _, height in filled], layout.compression, blocks
        )
        for piece, height in zip(pieces, rows, strict=True):
            yield whole[:height] if piece else None
            whole = whole[blocks.rows :] if piece else whole
        return
    for number, piece in zip(chosen, pieces, strict=True):
        length = _rows(layout, blocks, number) * blocks.row_bytes
        data = _inflated(piece, length) if piece and layout.compression in _DEFLATE else piece
        if piece and len(data) < length:
            raise ValueError("its pixels end too early")
        yield np.frombuffer(data, np.uint8, length).reshape(-1, blocks.row_bytes) if piece else None


def _rows(layout: Layout, blocks: Blocks, number: int) -> int:
    """Number of rows of a tile or strip; the last strip of a plane may be shorter."""
    down = math.ceil(layout.height / blocks.rows)
    return blocks.rows if blocks.tiled else min(blocks.rows, layout.height - number % down * blocks.rows)


def _inflated(piece: bytes, longest: int) -> bytes:
    """Decompress zlib data to at most `longest` bytes, and verify its checksum."""
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(piece, longest + 1)
    if not unpacker.eof and len(data) <= longest:
        raise ValueError("its pixels end too early")
    return data


def _values(data: Array, layout: Layout, width: int) -> Array:
    """Convert (rows, bytes) of a strip or tile to (rows, width, channels).

    The predictor is undone.
    """
    channels = 1 if layout.planar else layout.samples
    rows, row_bytes = data.shape
    columns = row_bytes // (channels * layout.dtype.itemsize)
    if layout.predictor == 3:
        return _float_values(data.reshape(rows, -1, channels), layout.dtype.itemsize, columns)[:, :width]
    values = data[:, : width * channels * layout.dtype.itemsize]
    values = np.ascontiguousarray(values).view(layout.dtype).reshape(rows, width, channels)
    if layout.predictor == 2:
        native = values.view(f"{layout.dtype.byteorder}u{layout.dtype.itemsize}")
        native = native.astype(native.dtype.newbyteorder("="))
        np.add.accumulate(native, axis=1, out=native)
        values = native.view(layout.dtype.newbyteorder("="))
    elif layout.predictor != 1:
        raise ValueError(f"there is no predictor {layout.predictor}")
    return values


def _float_values(data: Array, itemsize: int, columns: int) -> Array:
    """Undo the float predictor.

    It stores differences of bytes, the most significant bytes of a row first.
    """
    rows, _, channels = data.shape
    apart = np.add.accumulate(data, axis=1, dtype=np.uint8)
    joined = np.moveaxis(apart.reshape(rows, itemsize, columns * channels), 1, -1)
    values = np.ascontiguousarray(joined).view(f">f{itemsize}")
    return values.reshape(rows, columns, channels)
