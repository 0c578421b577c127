"""What the pictures of a source may take of the memory, and which part of them is used where they would take more."""

from __future__ import annotations

import math

from n2n_cli.nn.functional import Array

MEMORY = 4_000_000_000
"""Bytes of all pictures of a source together."""


def share_of_sides(needed: int) -> float:
    """The part of each side that fits, of pictures that need so many bytes; 1 where they fit as they are."""
    return math.sqrt(min(1, MEMORY / needed))


def middle(pixels: Array, share: float, smallest: int) -> Array:
    """The middle of a picture, (H, W, C) -> (h, w, C): `share` of each side, but at least `smallest` pixels."""
    if share == 1:
        return pixels
    h, w = (min(side, max(smallest, int(side * share))) for side in pixels.shape[:2])
    y, x = (pixels.shape[0] - h) // 2, (pixels.shape[1] - w) // 2
    return pixels[y : y + h, x : x + w].copy()


def note(what: str, share: float) -> str:
    """What is told where not all fits."""
    return f"the {what} need more than {MEMORY / 1e9:g} GB: the middle {share:.0%} of each side is used"
