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
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from n2n_cli.images.tiff import pages as tags
from n2n_cli.images.tiff.blocks import Blocks
from n2n_cli.images.tiff.directory import StoredValues, Values, directory, head
from n2n_cli.images.tiff.pages import Page
from n2n_cli.nn.functional import Array

_LZW, _LZMA, _ZSTD = 5, 34925, 50000
_DEFLATE = (8, 32946)
_PACKBITS = 32773
_WITH_PREDICTOR = {_LZW, *_DEFLATE, _LZMA, _ZSTD}
_BY_LIBTIFF = {_LZW, _LZMA, _ZSTD, _PACKBITS}
_LONGEST_VALUES = 2**20  # bytes of a tag that describes pixels
_OLD_JPEG, _LONGEST_OLD_JPEG = 6, 2**28  # value of the tag Compression, and bytes of such a file
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}  # of the tag SampleFormat
_TYPES = {"u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8"}
_STDERR = 2
_AT_ONCE = 2**24  # bytes that are decompressed at once
_MOST_SAMPLES = 64
_HEAD = 8  # bytes of a file's header


class _Silence:
    """Context in which nothing reaches stderr: libtiff prints there what our errors report.

    It holds a lock, as the descriptor is one for all threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stderr = -1

    def __enter__(self) -> None:
        self._lock.acquire()
        with suppress(OSError):  # stderr may be closed
            self._stderr = os.dup(_STDERR)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, _STDERR)
            os.close(nowhere)

    def __exit__(self, *error: object) -> None:
        if self._stderr >= 0:
            os.dup2(self._stderr, _STDERR)
            os.close(self._stderr)
            self._stderr = -1
        self._lock.release()


_silence = _Silence()


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
        """Bytes of a pixel when it is decoded."""
        return self.samples * self.dtype.itemsize


def layout_of(page: Page) -> Layout | None:
    """Layout of gray or RGB pixels for `decode`; None for a page of another kind.

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
        planar = page.integer(tags.PLANAR, 1) == 2 and samples > 1
        predictor = page.integer(tags.PREDICTOR, 1) if compression in _WITH_PREDICTOR else 1
    except ValueError:  # channels of several kinds
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
    """Decompressed bytes of strips or tiles, (rows, bytes) each; None for one that is not stored."""
    at_once = max(1, _AT_ONCE // (blocks.rows * blocks.row_bytes)) if layout.compression in _BY_LIBTIFF else 1
    for first in range(0, len(numbers), at_once):
        yield from _unpacked_together(page, layout, blocks, numbers[first : first + at_once])


def _unpacked_together(page: Page, layout: Layout, blocks: Blocks, chosen: range) -> Iterator[Array | None]:
    pieces = [_stored(page, blocks, number) for number in chosen]
    if layout.compression in _BY_LIBTIFF:
        rows = [_rows(layout, blocks, number) for number in chosen]
        stored = [i for i, piece in enumerate(pieces) if piece]
        whole = _by_libtiff([pieces[i] for i in stored], [rows[i] for i in stored], layout, blocks)
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
    """Rows of a tile or of a strip, of which the last one of a plane may be shorter."""
    down = math.ceil(layout.height / blocks.rows)
    return blocks.rows if blocks.tiled else min(blocks.rows, layout.height - number % down * blocks.rows)


def _stored(page: Page, blocks: Blocks, number: int) -> bytes:
    length = int(blocks.lengths[number])
    page.file.seek(int(blocks.places[number]))
    piece = page.file.read(length)
    if len(piece) < length:
        raise ValueError("its pixels end too early")
    return piece


def _inflated(piece: bytes, longest: int) -> bytes:
    """Decompress zlib data, of at most `longest` bytes, and verify its checksum."""
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(piece, longest + 1)
    if not unpacker.eof and len(data) <= longest:
        raise ValueError("its pixels end too early")
    return data


def _by_libtiff(pieces: list[bytes], rows: list[int], layout: Layout, blocks: Blocks) -> Array:
    """Decompress strips or tiles, all but the last of equal height, as strips of a gray picture, a pixel per byte."""
    if not pieces:
        return np.zeros((0, blocks.row_bytes), np.uint8)
    entries: dict[int, Values] = {
        tags.WIDTH: blocks.row_bytes,
        tags.LENGTH: blocks.rows * (len(rows) - 1) + rows[-1],
        tags.BITS: 8,
        tags.COMPRESSION: layout.compression,
        tags.PHOTOMETRIC: 1,
        tags.SAMPLES: 1,
        tags.ROWS_PER_STRIP: blocks.rows,
        tags.STRIP_OFFSETS: np.cumsum([_HEAD, *map(len, pieces[:-1])]).tolist(),
        tags.STRIP_COUNTS: [*map(len, pieces)],
    }
    end = _HEAD + sum(map(len, pieces))
    file = io.BytesIO(b"".join([head(end, big=False), *pieces, directory(entries, end, 0, big=False)]))
    with _silence, TiffImageFile(file) as image:
        image.load()
        return np.asarray(image)


def pillow_image(page: Page, blocks: Blocks) -> Image.Image:
    """Decode a page with Pillow, which gets a file of the pixels and of the tags that describe them, and no more.

    Raises
    ------
    SyntaxError
        When Pillow does not support its kind of pixels.
    ValueError, OSError
        When the pixels are damaged or truncated.
    """
    order: Literal["<", ">"] = "<" if page.head[:2] == b"II" else ">"
    if any(page.tags.entry(tag).length > _LONGEST_VALUES for tag in tags.OF_PIXELS & set(page.tags)):
        raise ValueError("a tag of its pixels is too long")
    entries: dict[int, Values] = {
        tag: StoredValues(page.tags.entry(tag).type, page.tags.entry(tag).number, page.tags.raw(tag))
        for tag in tags.OF_PIXELS & set(page.tags)
    }
    if page.integer(tags.COMPRESSION, tags.RAW) == _OLD_JPEG:  # parts of it lie anywhere in the file
        page.file.seek(0)
        data = page.file.read(_LONGEST_OLD_JPEG + 1)
        if len(data) > _LONGEST_OLD_JPEG or len(page.head) > _HEAD:
            raise ValueError("it is too long for an old-style JPEG in TIFF")
        data, places = data[_HEAD:] + bytes(len(data) % 2), blocks.places
    else:
        pieces = [_stored(page, blocks, number) for number in range(len(blocks.places))]
        data, places = b"".join(pieces), np.cumsum([_HEAD, *map(len, pieces[:-1])])
    offsets, counts = (tags.TILE_OFFSETS, tags.TILE_COUNTS) if blocks.tiled else (tags.STRIP_OFFSETS, tags.STRIP_COUNTS)
    entries |= {offsets: places.tolist(), counts: blocks.lengths.tolist()}
    end = _HEAD + len(data)
    file = b"".join([head(end, big=False, order=order), data, directory(entries, end, 0, big=False, order=order)])
    with _silence:
        image = TiffImageFile(io.BytesIO(file))
        image.load()
    return image


def _values(data: Array, layout: Layout, width: int) -> Array:
    """(rows, bytes) of a strip or tile -> (rows, width, channels) pixels, predictor undone."""
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
    """Undo the float predictor: differences of bytes, the highest of a row first."""
    rows, _, channels = data.shape
    apart = np.add.accumulate(data, axis=1, dtype=np.uint8)
    joined = np.moveaxis(apart.reshape(rows, itemsize, columns * channels), 1, -1)
    values = np.ascontiguousarray(joined).view(f">f{itemsize}")
    return values.reshape(rows, columns, channels)
