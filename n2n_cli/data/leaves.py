"""Random leaves of dead-leaves pictures, and the topmost leaf at each sample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int32]

SUBPIXELS = 3
"""Samples per pixel along each axis, for smooth edges."""
BLOCK = 2**18
"""Maximum number of samples painted at once: limits memory, and fits the processor's cache."""
COVER = 3.0
"""Total area of the leaves, in picture areas; about e^-3 of the ground stays visible."""


class Leaves(NamedTuple):
    """Leaves from the ground to the topmost, as (N,) arrays; lengths in pixels."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    cos: NDArray[np.float64]
    sin: NDArray[np.float64]
    box: NDArray[np.bool_]


def drop_leaves(size: int, *, rng: np.random.Generator) -> Leaves:
    """Draw leaves for a picture of side `size`, in pixels; radii have density r^-3."""
    smallest = np.exp(rng.uniform(np.log(0.7), np.log(16)))
    largest = max(float(size), 2 * smallest)
    few, many = largest**-2, smallest**-2  # the number of leaves larger than r falls as r^-2
    mean_area = np.pi * 2 * np.log(largest / smallest) / (many - few)
    n = 1 + round(COVER * size**2 / mean_area)
    radius = rng.uniform(few, many, n) ** -0.5
    x, y = rng.uniform(0, size, (2, n))
    radius[0], x[0], y[0] = 2 * size, size / 2, size / 2  # the ground covers the picture
    stretch, angle = np.exp(rng.uniform(0, 1, n)), rng.uniform(0, np.pi, n)
    box = rng.random(n) < rng.uniform(0, 0.8)
    return Leaves(x, y, radius * stretch, radius / stretch, np.cos(angle), np.sin(angle), box)


def topmost_leaves(leaves: Leaves, size: int) -> Integers:
    """Topmost leaf at each sample: (S*S samples of a pixel, size*size pixels)."""
    side = size * SUBPIXELS
    centre_x, centre_y, a, b = (SUBPIXELS * lengths for lengths in leaves[:4])
    half_height = np.where(leaves.box, a * leaves.sin + b * abs(leaves.cos), np.hypot(a * leaves.sin, b * leaves.cos))
    first, rows = _inside(centre_y, half_height, side)
    leaf, y = np.repeat(np.arange(len(rows), dtype=np.int32), rows), _runs(first, rows)
    shape = a[leaf], b[leaf], leaves.cos[leaf], leaves.sin[leaf], leaves.box[leaf]
    middle, half_width = _row(*shape, y + 0.5 - centre_y[leaf])
    x, length = _inside(centre_x[leaf] + middle, half_width, side)
    start, ends = y * side + x, np.cumsum(length, dtype=np.int64)
    cuts = np.searchsorted(ends, np.arange(BLOCK, ends[-1], BLOCK))
    top = np.zeros(side * side, np.int32)
    for part in map(slice, [0, *cuts], [*cuts, len(ends)]):
        # NumPy keeps the last of several values assigned to one index: the topmost leaf.
        top[_runs(start[part], length[part])] = np.repeat(leaf[part], length[part])
    return top.reshape(size, SUBPIXELS, size, SUBPIXELS).transpose(1, 3, 0, 2).reshape(SUBPIXELS**2, size * size)


def _row(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    cos: NDArray[np.float64],
    sin: NDArray[np.float64],
    box: NDArray[np.bool_],
    dy: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle and half width of a leaf in the row `dy` below its centre."""
    # An ellipse: A dx^2 + 2 B dx dy + C dy^2 <= 1, where AC - B^2 = 1/(ab)^2.
    curve = (cos / a) ** 2 + (sin / b) ** 2
    middle = cos * sin * (b**-2 - a**-2) * dy / curve
    half = np.sqrt(np.maximum(curve - (dy / (a * b)) ** 2, 0)) / curve
    # A box: |cos dx + sin dy| <= a and |cos dy - sin dx| <= b.
    along, across = -sin * dy / cos, cos * dy / sin
    left = np.maximum(along - abs(a / cos), across - b / sin)
    right = np.minimum(along + abs(a / cos), across + b / sin)
    return np.where(box, (left + right) / 2, middle), np.where(box, (right - left) / 2, half)


def _inside(centre: NDArray[np.float64], half: NDArray[np.float64], side: int) -> tuple[Integers, Integers]:
    """Index of the first sample within `half` of `centre`, and number of such samples."""
    first = np.clip(np.ceil(centre - half - 0.5), 0, side)
    end = np.clip(np.floor(centre + half + 0.5), first, side)
    return first.astype(np.int32), (end - first).astype(np.int32)


def _runs(first: Integers, length: Integers) -> Integers:
    """Concatenate arange(first, first + length) over all pairs."""
    ends = np.cumsum(length, dtype=np.int32)
    return np.arange(length.sum(), dtype=np.int32) + np.repeat(first - ends + length, length)
