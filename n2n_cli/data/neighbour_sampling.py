"""Random pairs of neighbouring pixels, one pair from every 2x2 cell of a picture.

The pairs form two pictures of half the size that show nearly the same scene.

References
----------
Huang, Li, Jia, Lu, Liu (2021), "Neighbor2Neighbor: Self-Supervised Denoising from Single Noisy Images",
arXiv:2101.02824, section 4.1.
"""

from __future__ import annotations

import numpy as np

from n2n_cli.nn.functional import Array

_TOUCHING = np.array([(0, 1), (0, 2), (1, 3), (2, 3), (1, 0), (2, 0), (3, 1), (3, 2)])
"""Pairs of adjacent pixels of a cell, in both orders; pixels are numbered row by row."""


def draw_neighbours(n: int, h: int, w: int, *, rng: np.random.Generator) -> Array:
    """Draw two adjacent pixels per cell, numbered 0 to 3: (2, N, 1, 1, H, W).

    Parameters
    ----------
    n, h, w : int
        Number of pictures, and of rows and columns of cells in each.
    """
    drawn: Array = np.moveaxis(_TOUCHING[rng.integers(len(_TOUCHING), size=(n, 1, 1, h, w))], -1, 0)
    return drawn


def neighbours(x: Array, drawn: Array) -> tuple[Array, Array]:
    """Take the drawn pixels of (N, C, H, W) with even sides: twice (N, C, H/2, W/2)."""
    pixels = np.stack([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=2)  # (N, C, 4, H/2, W/2)
    first, second = (np.take_along_axis(pixels, which, axis=2)[:, :, 0] for which in drawn)
    return first, second


def cells(mask: Array) -> Array:
    """Reduce a (..., H, W) mask to its 2x2 cells: true if all four pixels are."""
    whole: Array = mask[..., ::2, ::2] & mask[..., ::2, 1::2] & mask[..., 1::2, ::2] & mask[..., 1::2, 1::2]
    return whole
