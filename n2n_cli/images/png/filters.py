"""The five row filters of PNG, forward and back, on whole bands of rows.

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
"""Rows that are handled at once: enough to keep NumPy busy, few enough to stay in the cache."""


def unfilter(rows: Array, filters: Array, above: Array, pixel_size: int) -> Array:
    """The bytes of a band of rows from their filtered bytes.

    Parameters
    ----------
    rows : (R, B) uint8 array
        Filtered bytes; may be overwritten.
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
        When there is no filter of some row's type.
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
    """`unfilter` for any mixture of filters.

    A pixel needs its neighbours to the left, above, and above left; so the pixels of one diagonal, one of each row,
    can be computed together once the two diagonals before are known. Row r is moved r pixels to the right, which makes
    a diagonal a contiguous line of memory. None, Sub and Up are Paeth with some of the three neighbours taken as 0.
    """
    count, width, n = len(rows), rows.shape[1] // pixel_size, (len(rows) + 1) * pixel_size
    lines = np.zeros((width + count + 2, n), np.int16)  # line t + 2: pixel t - r of each row r; row 0 is `above`
    step, size = lines.strides
    skewed = as_strided(lines[2:], (count + 1, width, pixel_size), (step + pixel_size * size, step, size))
    skewed[0] = above.reshape(width, pixel_size)
    skewed[1:] = rows.reshape(count, width, pixel_size)

    kinds = np.concatenate([np.zeros(1, np.uint8), filters])
    of_left, of_above, of_corner, of_mean = (
        np.repeat(-np.isin(kinds, used).astype(np.int16), pixel_size)  # all bits, or none
        for used in ((SUB, PAETH), (UP, PAETH), (PAETH,), (AVERAGE,))
    )
    any_mean = bool(of_mean.any())
    numbers, choices = np.empty((6, n), np.int16), np.empty((2, n), bool)
    for t in range(1, width + count):
        start, stop = max(1, t - width + 1) * pixel_size, (min(count, t) + 1) * pixel_size
        here, before = slice(start, stop), slice(start - pixel_size, stop - pixel_size)
        left, up, corner, pixel = lines[t + 1, here], lines[t + 1, before], lines[t, before], lines[t + 2, here]
        a, b, c, to_a, to_b, to_c = numbers[:, : stop - start]
        nearer_b, nearest_a = choices[:, : stop - start]
        np.bitwise_and(left, of_left[here], out=a)
        np.bitwise_and(up, of_above[here], out=b)
        np.bitwise_and(corner, of_corner[here], out=c)
        np.subtract(b, c, out=to_a)  # with p = a + b - c, |p - a|
        np.subtract(a, c, out=to_b)
        np.add(to_a, to_b, out=to_c)
        for distance in (to_a, to_b, to_c):
            np.abs(distance, out=distance)
        np.less_equal(to_b, to_c, out=nearer_b)
        np.minimum(to_b, to_c, out=to_c)
        np.less_equal(to_a, to_c, out=nearest_a)
        for one, other, choice in ((b, c, nearer_b), (a, b, nearest_a)):  # one = one if choice else other
            np.subtract(one, other, out=one)
            np.multiply(one, choice, out=one)
            np.add(one, other, out=one)
        np.add(pixel, a, out=pixel)
        if any_mean:
            np.add(left, up, out=b)
            np.right_shift(b, 1, out=b)
            np.bitwise_and(b, of_mean[here], out=b)
            np.add(pixel, b, out=pixel)
        np.bitwise_and(pixel, 255, out=pixel)
    return skewed[1:].astype(np.uint8).reshape(rows.shape)


def filtered(rows: Array, above: Array, pixel_size: int, kind: int | None = None) -> Array:
    """The bytes of a band of rows as PNG stores them: each row behind the type of its filter.

    Each row takes the filter whose bytes, as signed numbers, have the smallest sum of magnitudes (the heuristic that
    the specification recommends, section 12.7).

    Parameters
    ----------
    rows : (R, B) uint8 array
    above : (B,) uint8 array
        Bytes of the row above the band; zeros for a picture's first band.
    pixel_size : int
        Bytes per pixel.
    kind : int, optional
        One filter for all rows.

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
    """What a filter subtracts from each byte."""
    if kind in (NONE, SUB, UP):
        return (np.zeros_like(left), left, up)[kind]
    if kind == AVERAGE:
        return (left & up) + ((left ^ up) >> 1)  # the mean without a ninth bit
    a, b, c = (array.astype(np.int16) for array in (left, up, corner))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    other = np.where(to_b <= to_c, up, corner)
    return np.where(to_a <= np.minimum(to_b, to_c), left, other)
