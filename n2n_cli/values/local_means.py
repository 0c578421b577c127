"""Correction of local means: denoising must not change the brightness of a region.

A network shifts the brightness of regions slightly, most in dark ones. The noise that it should remove has a mean of
zero, so the mean of the removed part over a few thousand pixels is an error of the network, and is added back.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from n2n_cli.nn.functional import Array

BLOCK = 8
"""Side of the blocks over which differences are summed, in pixels."""
_BAND = 1 << 20  # values processed at a time
_SMOOTHINGS = 2
"""Number of smoothings of the sums by [1, 2, 1] / 4 along both axes: with two, weights extend over 24 pixels."""


class LocalMeans:
    """Local weighted means of a picture's differences (input minus output).

    Parameters
    ----------
    shape : (int, int, int)
        (H, W, C) of the picture.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._width = shape[1]
        blocks = (-(-shape[0] // BLOCK), -(-shape[1] // BLOCK), shape[2])
        self.sums, self.weights = np.zeros(blocks), np.zeros(blocks)
        self.means = np.zeros(blocks)

    def add(self, top: int, differences: Array, weights: Array) -> None:
        """Add the differences of rows from `top` on, a multiple of `BLOCK`.

        Parameters
        ----------
        differences, weights : (rows, W, C) arrays
        """
        place = slice(top // BLOCK, -(-(top + len(differences)) // BLOCK))
        self.sums[place] = block_sums(differences * weights)
        self.weights[place] = block_sums(weights)

    def smooth(self, scale: Array | None = None, *, times: int = _SMOOTHINGS) -> None:
        """Compute the means.

        Parameters
        ----------
        scale : (rows, columns, C) array, optional
            Factor of each block's mean.
        times : int
            Number of smoothings.
        """
        sums, weights = self.sums, self.weights
        for _ in range(times):
            sums, weights = _smoothed(sums), _smoothed(weights)
        self.means = np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 0)
        if scale is not None:
            self.means *= scale

    def rows(self, top: int, bottom: int) -> Array:
        """(bottom - top, W, C) means of these rows, interpolated between the blocks."""
        part = _interpolated(self.means.astype(np.float32), np.arange(top, bottom), 0)
        return _interpolated(part, np.arange(self._width), 1)


def bands(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of rows of about `_BAND` values, at multiples of a block."""
    step = max(1, _BAND // max(1, shape[1] * shape[2] * BLOCK)) * BLOCK
    for top in range(0, shape[0], step):
        yield slice(top, min(top + step, shape[0]))


def block_sums(x: Array) -> Array:
    """(rows, W, C) -> sums over blocks; the last blocks may be incomplete."""
    down, across = (np.arange(0, size, BLOCK) for size in x.shape[:2])
    sums: Array = np.add.reduceat(np.add.reduceat(x, down, axis=0, dtype=np.float64), across, axis=1)
    return sums


def _smoothed(x: Array) -> Array:
    for axis in (0, 1):
        padded = np.pad(x, [(1, 1) if i == axis else (0, 0) for i in range(3)], "edge")
        n = x.shape[axis]
        before, middle, after = (padded.take(range(i, i + n), axis) for i in range(3))
        x = (before + 2 * middle + after) / 4
    return x


def _interpolated(blocks: Array, pixels: Array, axis: int) -> Array:
    """Values at pixels, linear between the centres of blocks."""
    place = np.clip((pixels + 0.5) / BLOCK - 0.5, 0, blocks.shape[axis] - 1)
    first = np.minimum(place.astype(int), max(0, blocks.shape[axis] - 2))
    share = (place - first).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
    second = np.minimum(first + 1, blocks.shape[axis] - 1)
    before = blocks.take(first, axis)
    between: Array = blocks.take(second, axis)
    between -= before
    between *= share
    between += before
    return between
