"""Pixels of TIFF pages at full depth: integers and floats of 8 to 64 bits.

Pillow reads the 8-bit ones and few others. This module handles the layout; LZW, ZSTD and the like are decompressed by
Pillow's libtiff, which gets the bytes of a page as an 8-bit gray picture.

References
----------
TIFF Revision 6.0, Adobe 1992: sections 14 and 15; Adobe Photoshop TIFF Technical Note 3, 2005: predictor 3.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from n2n_cli.images.tiff import pages as tags
from n2n_cli.images.tiff.directory import Values, directory, head
from n2n_cli.images.tiff.pages import Page
from n2n_cli.nn.functional import Array

_LZW, _LZMA, _ZSTD = 5, 34925, 50000
_DEFLATE = (8, 32946)
_PACKBITS = 32773
_WITH_PREDICTOR = {_LZW, *_DEFLATE, _LZMA, _ZSTD}
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}  # of the tag SampleFormat
_TYPES = {"u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8"}
_AT_ONCE = 2**24  # bytes that are decompressed at once
_MOST_SAMPLES = 64
_HEAD = 8  # bytes of a file's header


@dataclass(frozen=True)
class Layout:
    """Storage layout of the pixels of a page.

    Attributes
    ----------
    height, width, samples : int
    dtype : numpy.dtype
        With the file's byte order.
    planar : bool
        Whether each channel is stored by itself.
    compression, predictor : int
        Values of these tags.
    tiled : bool
    block : (int, int)
        Rows and columns of a tile, or of a strip.
    places : tuple of (int, int)
        Offset and length in the file of each tile or strip, in bytes.
    """

    height: int
    width: int
    samples: int
    dtype: np.dtype[np.generic]
    planar: bool
    compression: int
    predictor: int
    tiled: bool
    block: tuple[int, int]
    places: tuple[tuple[int, int], ...]


def layout_of(page: Page) -> Layout | None:
    """Layout of gray or RGB pixels for `decode`; None for a page of another kind.

    Raises
    ------
    ValueError
        When the tags contradict each other.
    """
    height, width = page.size
    try:
        samples, compression = page.integer(tags.SAMPLES, 1), page.integer(tags.COMPRESSION, tags.RAW)
        kind, bits = page.integer(tags.SAMPLE_FORMAT, 1), page.integer(tags.BITS, 1)
        photometric, order = page.integer(tags.PHOTOMETRIC, 0), page.integer(tags.FILL_ORDER, 1)
    except ValueError:  # channels of several kinds
        return None
    name = f"{_KINDS.get(kind)}{bits // 8}"
    packed = compression in (*_WITH_PREDICTOR, _PACKBITS)
    if bits % 8 or name not in _TYPES or photometric not in (0, 1, 2) or order != 1:
        return None
    if not (packed or compression == tags.RAW) or not 0 < samples <= _MOST_SAMPLES:
        return None
    planar = page.integer(tags.PLANAR, 1) == 2 and samples > 1
    tiled = tags.TILE_OFFSETS in page.tags
    if tiled:
        block = page.integer(tags.TILE_LENGTH, 0), page.integer(tags.TILE_WIDTH, 0)
    else:
        block = min(page.integer(tags.ROWS_PER_STRIP, height), height), width
    if min(block) <= 0 or (tiled and block[1] % 16):
        raise ValueError(f"it has strips or tiles of {block[1]} x {block[0]} pixels")
    offsets = page.integers(tags.TILE_OFFSETS if tiled else tags.STRIP_OFFSETS)
    counts = page.integers(tags.TILE_COUNTS if tiled else tags.STRIP_COUNTS)
    if not counts and len(offsets) == 1 and compression == tags.RAW:
        counts = (height * width * samples * bits // 8,)
    wanted = math.ceil(height / block[0]) * math.ceil(width / block[1]) * (samples if planar else 1)
    if not len(offsets) == len(counts) == wanted:
        raise ValueError(f"it names {len(offsets)} strips or tiles with {len(counts)} sizes, but needs {wanted}")
    dtype = np.dtype(name).newbyteorder("<" if page.head[:2] == b"II" else ">")
    predictor = page.integer(tags.PREDICTOR, 1) if compression in _WITH_PREDICTOR else 1
    places = tuple(zip(offsets, counts, strict=True))
    return Layout(height, width, samples, dtype, planar, compression, predictor, tiled, block, places)


def decode(page: Page, layout: Layout) -> Array:
    """Decode (H, W, samples) pixels, in this machine's byte order.

    Raises
    ------
    ValueError, OSError
        When the pixels are damaged or truncated.
    """
    pixels = np.empty((layout.height, layout.width, layout.samples), layout.dtype.newbyteorder("="))
    for channel in range(layout.samples) if layout.planar else (slice(None),):
        part = pixels[..., channel]
        for start, band in _bands(page, layout, channel if isinstance(channel, int) else 0):
            rows = part[start : start + len(band)]
            rows[...] = band[: len(rows), : layout.width].reshape(rows.shape)
    return pixels


def _bands(page: Page, layout: Layout, plane: int) -> Iterator[tuple[int, Array]]:
    """(first row, (rows, columns, channels) pixels) of some strips or tiles at a time."""
    rows, columns = layout.block
    across = math.ceil(layout.width / columns)
    channels = 1 if layout.planar else layout.samples
    row_bytes = across * columns * channels * layout.dtype.itemsize
    down = math.ceil(layout.height / rows)
    step = max(1, _AT_ONCE // (row_bytes * rows))
    for first in range(0, down, step):
        last = min(first + step, down)
        height = (last - first) * rows if layout.tiled else min(last * rows, layout.height) - first * rows
        start = (plane * down + first) * across
        data = _unpacked(page, layout, layout.places[start : start + (last - first) * across], height, row_bytes)
        yield first * rows, _values(data.reshape(height, across, columns, -1), layout)


def _unpacked(page: Page, layout: Layout, places: tuple[tuple[int, int], ...], height: int, row_bytes: int) -> Array:
    """Decompressed bytes of some strips or tiles, (rows, tiles across, bytes)."""
    pieces = []
    for offset, length in places:
        page.file.seek(offset)
        piece = page.file.read(min(length, _most(layout, row_bytes)))
        if len(piece) < length:
            raise ValueError("its pixels end too early, or are said to be longer than they can be")
        pieces.append(piece)
    across = row_bytes // (layout.block[1] * _pixel_bytes(layout))
    if layout.compression in (tags.RAW, *_DEFLATE):
        if layout.compression in _DEFLATE:
            longest = layout.block[0] * layout.block[1] * _pixel_bytes(layout)
            pieces = [_inflated(piece, longest) for piece in pieces]
        return _raw(pieces, layout, height, across)
    file = _gray_file(b"".join(pieces), [len(piece) for piece in pieces], layout, height, row_bytes)
    with TiffImageFile(file) as image:
        image.load()
        return np.asarray(image).reshape(height, across, -1)


def _inflated(piece: bytes, longest: int) -> bytes:
    """Decompress zlib data, of at most `longest` bytes, and verify its checksum."""
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(piece, longest + 1)
    if not unpacker.eof and len(data) <= longest:
        raise ValueError("its pixels end too early")
    return data


def _raw(pieces: list[bytes], layout: Layout, height: int, across: int) -> Array:
    rows, row_bytes = layout.block[0], layout.block[1] * _pixel_bytes(layout)
    sizes = [min(rows, height - first) * row_bytes for first in range(0, height, rows) for _ in range(across)]
    if any(len(piece) < size for piece, size in zip(pieces, sizes, strict=True)):
        raise ValueError("its pixels end too early")
    data = np.frombuffer(b"".join(piece[:size] for piece, size in zip(pieces, sizes, strict=True)), np.uint8)
    if across > 1:
        data = np.swapaxes(data.reshape(-1, across, rows, row_bytes), 1, 2)
    return data.reshape(height, across, -1)


def _pixel_bytes(layout: Layout) -> int:
    return layout.dtype.itemsize * (1 if layout.planar else layout.samples)


def _most(layout: Layout, row_bytes: int) -> int:
    """Maximum bytes of a compressed strip or tile; compression may add a little."""
    return 2 * layout.block[0] * row_bytes + 4096


def _gray_file(packed: bytes, lengths: list[int], layout: Layout, height: int, row_bytes: int) -> io.BytesIO:
    """TIFF file of the compressed bytes, as a gray picture with one pixel per byte."""
    places = np.cumsum([_HEAD, *lengths[:-1]]).tolist()
    entries: dict[int, Values] = {
        tags.WIDTH: row_bytes,
        tags.LENGTH: height,
        tags.BITS: 8,
        tags.COMPRESSION: layout.compression,
        tags.PHOTOMETRIC: 1,
        tags.SAMPLES: 1,
    }
    if layout.tiled:
        entries[tags.TILE_LENGTH], entries[tags.TILE_WIDTH] = layout.block[0], layout.block[1] * _pixel_bytes(layout)
        entries[tags.TILE_OFFSETS], entries[tags.TILE_COUNTS] = places, lengths
    else:
        entries[tags.ROWS_PER_STRIP] = layout.block[0]
        entries[tags.STRIP_OFFSETS], entries[tags.STRIP_COUNTS] = places, lengths
    end = _HEAD + len(packed)
    return io.BytesIO(head(end, big=False) + packed + directory(entries, end, 0, big=False))


def _values(data: Array, layout: Layout) -> Array:
    """(rows, across, columns, bytes) -> (rows, columns, channels), predictor undone."""
    rows, across, columns, _ = data.shape
    channels = 1 if layout.planar else layout.samples
    if layout.predictor == 3:
        return _float_values(data, layout.dtype.itemsize, channels)
    values = np.ascontiguousarray(data).view(layout.dtype).reshape(rows, across, columns, channels)
    if layout.predictor == 2:
        native = values.view(f"{layout.dtype.byteorder}u{layout.dtype.itemsize}")
        native = native.astype(native.dtype.newbyteorder("="))
        np.add.accumulate(native, axis=2, out=native)
        values = native.view(layout.dtype.newbyteorder("="))
    elif layout.predictor != 1:
        raise ValueError(f"there is no predictor {layout.predictor}")
    return values.reshape(rows, across * columns, channels)


def _float_values(data: Array, itemsize: int, channels: int) -> Array:
    """Undo the float predictor: differences of bytes, the highest of a row first."""
    rows, across, columns, _ = data.shape
    apart = data.reshape(rows, across, -1, channels).copy()
    np.add.accumulate(apart, axis=2, out=apart)
    joined = np.moveaxis(apart.reshape(rows, across, itemsize, columns * channels), 2, -1)
    values = np.ascontiguousarray(joined).view(f">f{itemsize}")
    return values.reshape(rows, across * columns, channels)
