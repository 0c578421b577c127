"""Strips and tiles of a TIFF page: where they lie in the file, and how long they are.

Their places are checked against the file and against each other; sizes that cannot be right are computed instead.

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
_LARGEST_TILE = 2**26  # bytes, for a picture that is smaller than its tile
_FAR = 2**62  # behind the end of every file
_PACKED = 4096  # bytes that compression may add to a block, beside its size once more


@dataclass(frozen=True)
class Blocks:
    """Strips or tiles of a page.

    Attributes
    ----------
    tiled : bool
    rows, columns : int
        Of a block; the last strip may have fewer rows.
    row_bytes : int
        Bytes of a row of a block, before compression.
    places, lengths, longest : (N,) int64 arrays
        Offset in the file of each block, its length as stated, and its maximum length, in bytes. A block of the place 0
        and the length 0 is not stored: its pixels are 0.
    notes : tuple of str
        Corrections, for the user.
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
        """Bytes of the file that hold the pixels; those that blocks share count once."""
        _, first = np.unique(self.places, return_index=True)
        return int(self.lengths[first].sum())

    def extended(self) -> Blocks | None:
        """Blocks that end where the next one begins, whatever their stated lengths; None if these do already."""
        if np.array_equal(self.lengths, self.longest):
            return None
        return replace(self, lengths=self.longest, notes=(*self.notes, WRONG_SIZES))


def decoded(page: Page, decode: Callable[[Blocks], T]) -> tuple[T, Blocks]:
    """Decode the blocks of a page; again, up to where the next ones begin, if their stated sizes are too small.

    Returns
    -------
    what `decode` returns, and the blocks that it got

    Raises
    ------
    Exception
        From the first attempt.
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

    Tiles may be named by the tags of strips, as early programs did.

    Raises
    ------
    ValueError
        When there are too few of them, they overlap, or they are far larger than the picture.
    """
    height, width = page.size
    samples, bits = page.integer(tags.SAMPLES, 1), max(page.integers(tags.BITS) or (1,))
    planar = page.integer(tags.PLANAR, 1) == 2 and samples > 1
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
    """Bytes of a strip or tile; empty for one that is not stored.

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
    """Places and lengths as the tags state them; 0 for a length that is absent."""
    by_tile = tags.TILE_OFFSETS in page.tags
    places = page.tags.numbers(tags.TILE_OFFSETS if by_tile else tags.STRIP_OFFSETS)[:wanted]
    counts = page.tags.numbers(tags.TILE_COUNTS if by_tile else tags.STRIP_COUNTS)[:wanted]
    lengths = np.zeros(len(places), np.int64)
    lengths[: len(counts)] = _signed(counts)[: len(places)]
    return _signed(places), lengths


def _signed(numbers: Array) -> Array:
    return np.minimum(numbers.astype(np.uint64), np.uint64(_FAR)).astype(np.int64)


def _checked(page: Page, blocks: Blocks) -> Blocks:
    """Correct the lengths; `blocks.longest` are the bytes of each block before compression."""
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
