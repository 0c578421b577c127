"""The five row filters of PNG: filtering and unfiltering of bands of rows.

References
----------
Portable Network Graphics (PNG) Specification (Third Edition), W3C 2025, section 9: filtering.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from n2n_cli.nn.functional import Array

NONE, SUB, UP, AVERAGE, PAETH = range(5)
BAND = 256
"""Rows per band: enough for efficient NumPy calls, few enough for the processor's cache."""


def unfilter(rows: Array, filters: Array, above: Array, pixel_size: int) -> Array:
    """Undo the filters of a band of rows.

    Parameters
    ----------
    rows : (R, B) uint8 array
        Filtered bytes, which may be overwritten.
    filters : (R,) uint8 array
        Type of each row's filter.
    above : (B,) uint8 array
        Bytes of the row above the band; zeros for a picture's first band.
    pixel_size : int
        Bytes per pixel.

    Returns
    -------
    (R, B) uint8 array

    Raises
    ------
    ValueError
        When a filter type is unknown.
    """
    if filters.max() > PAETH:
        raise ValueError(f"there is no row filter {filters.max()}")
    if np.isin(filters, (AVERAGE, PAETH)).any():
        return _by_diagonals(rows, filters, above, pixel_size)
    for row, kind in zip(rows, filters, strict=True):
        if kind == SUB:
            pixels = row.reshape(-1, pixel_size)
            np.add.accumulate(pixels, axis=0, out=pixels)
        elif kind == UP:
            row += above
        above = row
    return rows


def _by_diagonals(rows: Array, filters: Array, above: Array, pixel_size: int) -> Array:
    """Undo any mixture of filters, one diagonal of pixels at a time.

    A pixel depends on its neighbours to the left, above, and above left. So all pixels of a diagonal, one from each
    row, can be computed together once the two previous diagonals are known. Row r is shifted r pixels to the right,
    which makes diagonals contiguous in memory. None, Sub and Up equal Paeth with some of the three neighbours set to 0.
    """
    count, width, n = len(rows), rows.shape[1] // pixel_size, (len(rows) + 1) * pixel_size
    lines = np.zeros((width + count + 2, n), np.int16)  # line t + 2: pixel t - r of each row r; row 0 is `above`
    step, size = lines.strides
    skewed = as_strided(lines[2:], (count + 1, width, pixel_size), (step + pixel_size * size, step, size))
    skewed[0] = above.reshape(width, pixel_size)
    skewed[1:] = rows.reshape(count, width, pixel_size)

    kinds = np.concatenate([np.zeros(1, np.uint8), filters])
    uses_left, uses_above, uses_corner, uses_mean = (
        np.repeat(-np.isin(kinds, users).astype(np.int16), pixel_size)  # all bits, or none
        for users in ((SUB, PAETH), (UP, PAETH), PAETH, AVERAGE)
    )
    for t in range(1, width + count):
        start, stop = max(1, t - width + 1) * pixel_size, (min(count, t) + 1) * pixel_size
        here, before = slice(start, stop), slice(start - pixel_size, stop - pixel_size)
        left, up, corner = lines[t + 1, here], lines[t + 1, before], lines[t, before]
        predicted = _paeth(left & uses_left[here], up & uses_above[here], corner & uses_corner[here])
        predicted += (left + up >> 1) & uses_mean[here]
        lines[t + 2, here] += predicted
        lines[t + 2, here] &= 255
    return skewed[1:].astype(np.uint8).reshape(rows.shape)


def filtered(rows: Array, above: Array, pixel_size: int, kind: int | None = None) -> Array:
    """Filter a band of rows; each row is preceded by the type of its filter.

    The filter chosen for a row has the smallest sum of magnitudes of its bytes, read as signed numbers: the heuristic
    that the specification recommends in section 12.7.

    Parameters
    ----------
    rows : (R, B) uint8 array
    above : (B,) uint8 array
        Bytes of the row above the band; zeros for a picture's first band.
    pixel_size : int
        Bytes per pixel.
    kind : int, optional
        Filter to use for all rows instead.

    Returns
    -------
    (R, 1 + B) uint8 array
    """
    up = np.concatenate([above[None], rows[:-1]])
    left, corner = (np.pad(array[:, :-pixel_size], ((0, 0), (pixel_size, 0))) for array in (rows, up))
    best = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    least = np.full(len(rows), np.iinfo(np.int64).max)
    for candidate in range(5) if kind is None else (kind,):
        residual = rows - _predicted(candidate, left, up, corner)
        cost = np.minimum(residual, -residual).sum(axis=1, dtype=np.int64)  # uint8: -x is 256 - x
        better = cost < least
        best[better, 0], best[better, 1:] = candidate, residual[better]
        least = np.minimum(least, cost)
    return best


def _predicted(kind: int, left: Array, up: Array, corner: Array) -> Array:
    """Compute the bytes that a filter subtracts from each byte."""
    if kind in (NONE, SUB, UP):
        return (np.zeros_like(left), left, up)[kind]
    if kind == AVERAGE:
        return (left & up) + ((left ^ up) >> 1)  # the mean, computed without a ninth bit
    return _paeth(*(array.astype(np.int16) for array in (left, up, corner))).astype(np.uint8)


def _paeth(a: Array, b: Array, c: Array) -> Array:
    """Choose from left a, above b and above left c the value nearest to a + b - c."""
    to_a, to_b = b - c, a - c
    to_c = np.abs(to_a + to_b)
    to_a, to_b = np.abs(to_a), np.abs(to_b)
    nearest: Array = np.where(to_a <= np.minimum(to_b, to_c), a, np.where(to_b <= to_c, b, c))
    return nearest
