"""How hard zlib shall search in a picture."""

from __future__ import annotations

import zlib

LEVEL = 3
"""Of zlib: higher ones take twice as long for a few percent."""
_WORTH_A_SEARCH = 0.95  # of the size that run lengths give


def strategy_for(data: bytes) -> int:
    """Of zlib, for a picture of which `data` are some filtered rows.

    A search for repetitions takes four times as long as counting runs, and finds none in noise or a photograph; in
    drawings and text it does.
    """
    lengths = {}
    for strategy in (zlib.Z_RLE, zlib.Z_DEFAULT_STRATEGY):
        packer = zlib.compressobj(LEVEL, strategy=strategy)
        lengths[strategy] = len(packer.compress(data)) + len(packer.flush())
    searched = lengths[zlib.Z_DEFAULT_STRATEGY] < _WORTH_A_SEARCH * lengths[zlib.Z_RLE]
    return zlib.Z_DEFAULT_STRATEGY if searched else zlib.Z_RLE
