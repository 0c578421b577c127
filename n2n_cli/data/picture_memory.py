"""Memory limit of a source's pictures, and the cropping that keeps it."""

from __future__ import annotations

import math

from n2n_cli.nn.functional import Array

MAX_BYTES = 4_000_000_000
"""Maximum size of all pictures of a source together, in bytes."""


def share_of_sides(needed: int, max_bytes: int) -> float:
    """Fraction of each side to keep, at most 1, of pictures that need `needed` bytes."""
    return math.sqrt(min(1, max_bytes / needed))


def middle(pixels: Array, share: float, smallest: int) -> Array:
    """Crop (H, W, C) to the middle `share` of each side, at least `smallest` pixels."""
    if share == 1:
        return pixels
    h, w = (min(side, max(smallest, int(side * share))) for side in pixels.shape[:2])
    y, x = (pixels.shape[0] - h) // 2, (pixels.shape[1] - w) // 2
    return pixels[y : y + h, x : x + w].copy()


def cropped_note(what: str, share: float, max_bytes: int) -> str:
    """Note for the user about cropped pictures."""
    return f"the {what} need more than {max_bytes / 1e9:g} GB: the middle {share:.0%} of each side is used"
