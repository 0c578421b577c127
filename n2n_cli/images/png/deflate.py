"""Compression settings of zlib for pictures."""

from __future__ import annotations

import zlib

LEVEL = 3
"""Compression level; higher levels take twice as long and save a few percent."""
_WORTH_A_SEARCH = 0.95  # maximum size for a search, relative to the size with run lengths only


def strategy_for(data: bytes) -> int:
    """Choose zlib's strategy from some filtered rows of a picture.

    Searching for repetitions takes four times as long as run lengths, and pays off for drawings and text, but not for
    noise or photographs.
    """
    lengths = {}
    for strategy in (zlib.Z_RLE, zlib.Z_DEFAULT_STRATEGY):
        packer = zlib.compressobj(LEVEL, strategy=strategy)
        lengths[strategy] = len(packer.compress(data)) + len(packer.flush())
    searched = lengths[zlib.Z_DEFAULT_STRATEGY] < _WORTH_A_SEARCH * lengths[zlib.Z_RLE]
    return zlib.Z_DEFAULT_STRATEGY if searched else zlib.Z_RLE
