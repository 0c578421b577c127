"""Strips and tiles of a TIFF page: their places and sizes in the file.

Places are checked against the file and against each other; impossible sizes are replaced by computed ones.

References
----------
TIFF Revision 6.0, Adobe 1992: sections 3 and 15.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from n2n_cli.images.tiff import pages as tags
from n2n_cli.images.tiff.pages import Page
from n2n_cli.nn.functional import Array

T = TypeVar("T")

WRONG_SIZES = "the sizes of its strips or tiles are wrong, and were computed"
_LARGEST_TILE = 2**26  # maximum bytes of a tile that is larger than the picture
_FAR = 2**62  # offset beyond the end of any file
_PACKED = 4096  # a compressed block may take twice its size plus this many bytes


@dataclass(frozen=True)
class Blocks:
    """Strips or tiles of a page.

    Attributes
    ----------
    tiled : bool
    rows, columns : int
        Size of a block in pixels; the last strip may have fewer rows.
    row_bytes : int
        Bytes of a row of a block, before compression.
    places, lengths, longest : (N,) int64 arrays
        Offset of each block in the file, its stated length, and its maximum length, in bytes. A block with place 0 and
        length 0 is not stored: its pixels are 0.
    notes : tuple of str
        Messages for the user about corrections.
    """

    tiled: bool
    rows: int
    columns: int
    row_bytes: int
    places: Array
    lengths: Array
    longest: Array
    notes: tuple[str, ...] = ()

    @property
    def stored_bytes(self) -> int:
        """Number of bytes that hold pixels; bytes that blocks share count once."""
        _, first = np.unique(self.places, return_index=True)
        return int(self.lengths[first].sum())

    def extended(self) -> Blocks | None:
        """Extend each block to the start of the next one; None if no length changes."""
        if np.array_equal(self.lengths, self.longest):
            return None
        return replace(self, lengths=self.longest, notes=(*self.notes, WRONG_SIZES))


def decoded(page: Page, decode: Callable[[Blocks], T]) -> tuple[T, Blocks]:
    """Decode the blocks of a page; retry with extended blocks after an error.

    Returns
    -------
    Result of `decode`, and the blocks that it was called with.

    Raises
    ------
    Exception
        Error of the first attempt.
    """
    blocks = blocks_of(page)
    try:
        return decode(blocks), blocks
    except (ValueError, OSError, zlib.error) as error:
        extended = blocks.extended()
        if extended is None:
            raise
        with suppress(ValueError, OSError, zlib.error):
            return decode(extended), extended
        raise error from None


def blocks_of(page: Page) -> Blocks:
    """Find the strips or tiles of a page.

    Tags of strips may also describe tiles, as in files of early programs.

    Raises
    ------
    ValueError
        When there are too few strips or tiles, they overlap, or they are far larger than the picture.
    """
    height, width = page.size
    samples, bits = page.integer(tags.SAMPLES, 1), max(page.integers(tags.BITS) or (1,))
    planar = page.is_planar
    across, rows, columns = 1, page.integer(tags.ROWS_PER_STRIP, height), width
    tiled = page.integer(tags.TILE_WIDTH, 0) > 0
    if tiled:
        rows, columns = page.integer(tags.TILE_LENGTH, 0), page.integer(tags.TILE_WIDTH, 0)
        across = math.ceil(width / columns)
    if rows <= 0 or (tiled and columns % 16):
        raise ValueError(f"it has strips or tiles of {columns} x {rows} pixels")
    rows = rows if tiled else min(rows, height)
    channels = 1 if planar else samples
    row_bytes = math.ceil(columns * channels * bits / 8)
    whole = height * math.ceil(width * channels * bits / 8)
    if tiled and rows * row_bytes > max(_LARGEST_TILE, 2 * whole):
        raise ValueError(f"it has tiles of {columns} x {rows} pixels, far larger than the picture")
    wanted = math.ceil(height / rows) * across * (samples if planar else 1)
    places, lengths = _stated(page, wanted)
    if len(places) < wanted:
        raise ValueError(f"it names {len(places)} strips or tiles, but needs {wanted}")
    full = np.full(wanted, rows * row_bytes)
    if not tiled and height % rows:
        full[math.ceil(height / rows) - 1 :: math.ceil(height / rows)] = height % rows * row_bytes
    return _checked(page, Blocks(tiled, rows, columns, row_bytes, places, lengths, full))


def stored(page: Page, blocks: Blocks, number: int) -> bytes:
    """Read the bytes of a strip or tile; empty for one that is not stored.

    Raises
    ------
    ValueError
        When the file ends too early.
    """
    length = int(blocks.lengths[number])
    page.file.seek(int(blocks.places[number]))
    piece = page.file.read(length)
    if len(piece) < length:
        raise ValueError("its pixels end too early")
    return piece


def _stated(page: Page, wanted: int) -> tuple[Array, Array]:
    """Read places and lengths from the tags; 0 for an absent length."""
    by_tile = tags.TILE_OFFSETS in page.tags
    places = page.tags.numbers(tags.TILE_OFFSETS if by_tile else tags.STRIP_OFFSETS)[:wanted]
    counts = page.tags.numbers(tags.TILE_COUNTS if by_tile else tags.STRIP_COUNTS)[:wanted]
    lengths = np.zeros(len(places), np.int64)
    lengths[: len(counts)] = _signed(counts)[: len(places)]
    return _signed(places), lengths


def _signed(numbers: Array) -> Array:
    return np.minimum(numbers.astype(np.uint64), np.uint64(_FAR)).astype(np.int64)


def _checked(page: Page, blocks: Blocks) -> Blocks:
    """Check places and correct lengths; `blocks.longest` is given before compression."""
    end = page.file.seek(0, io.SEEK_END)
    places, full = blocks.places + page.shift, blocks.longest
    borders = np.append(np.unique(places), end)
    room = borders[np.minimum(np.searchsorted(borders, places, "right"), len(borders) - 1)] - places
    absent = (blocks.places == 0) & (blocks.lengths == 0)
    stated = blocks.lengths
    if page.integer(tags.COMPRESSION, tags.RAW) == tags.RAW and page.integer(tags.PHOTOMETRIC, 0) != tags.YCBCR:
        short = ~absent & (full > room)
        if short.any():
            raise ValueError("its pixels end too early, or overlap")
        lengths = longest = np.where(absent, 0, full)
        wrong = bool(((stated < full) & ~absent).any())
    else:
        longest = np.where(absent, 0, np.clip(2 * full + _PACKED, 0, np.maximum(room, 0)))
        bad = ~absent & ((stated <= 0) | (stated > end - places))
        lengths = np.where(absent, 0, np.where(bad, longest, np.minimum(stated, 2 * full + _PACKED)))
        wrong = bool(bad.any())
        if (~absent & (places >= end)).any():
            raise ValueError("its pixels end too early")
    found = replace(blocks, places=places, lengths=lengths, longest=longest, notes=(WRONG_SIZES,) if wrong else ())
    if found.stored_bytes > 2 * end:
        raise ValueError("its strips or tiles overlap")
    return found
