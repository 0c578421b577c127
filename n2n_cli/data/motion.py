"""Mask of the pixels at which the scene moved between two frames of a movie.

The noise of a difference of frames is estimated from the difference itself: its finest diagonal detail is almost only
noise, also where objects move. A pixel moved where the mean of the difference over a square around it exceeds that
noise by far; larger squares find changes that are small against the noise of one pixel.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from n2n_cli.nn.functional import Array

_SIDES = (1, 3, 7, 15)
"""Sides of the squares, in pixels."""
_FAR = 5.0
"""Standard deviations of the noise from which a difference is no noise."""
_PHOTONS = _FAR**2 / 3
"""Photons that may be added to it: Bernstein's inequality for the skewed noise of few photons."""
_LEVEL = 5  # side of the square over which a pixel's level is averaged
_SHARES = (0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.96, 0.99, 0.997, 1)  # bounds of the classes of levels; few pixels are bright
_LEAST = 200  # values of a class
_TILE, _QUIET = 32, 0.25
"""Side of the tiles that noise of neighbouring pixels is measured in, in pixels, and the quantile of the quiet ones."""
_MOST_CORRELATED = 8.0
_WHITE = 1.2
"""Deviation of the mean over 3x3 pixels, relative to that of white noise, up to which noise counts as white."""
_MEDIAN = 0.6745  # of the absolute value of a standard normal variable
_CLIP, _ROUNDS = 4.0, 3
_DEVIATIONS = ((0.5, 0.6745), (0.75, 1.1503), (0.9, 1.6449), (0.98, 2.3263))  # quantiles of the same variable


@dataclass(frozen=True)
class DifferenceNoise:
    """Noise of the difference of two frames.

    Attributes
    ----------
    levels, variances : (K,) arrays
        Variance of the noise at increasing levels of the scene.
    gain : float
        Growth of the variance per level: half of it is the brightness of a photon; 0 if it does not grow.
    factors : tuple of float
        Standard deviation of the mean over each square of `_SIDES`, as a multiple of that of white noise.
    """

    levels: Array
    variances: Array
    gain: float
    factors: tuple[float, ...]

    def variance(self, level: Array) -> Array:
        """Variance of the noise at each level."""
        brighter = np.maximum(level - self.levels[-1], 0)
        return np.asarray(np.interp(level, self.levels, self.variances) + self.gain * brighter)

    @property
    def is_white(self) -> bool:
        """True if neighbouring pixels share little of it."""
        return self.factors[1] < _WHITE

    def moved(self, first: Array, second: Array) -> Array:
        """(H, W) mask of the pixels at which two (H, W, C) frames differ by more than noise."""
        mask = np.zeros(first.shape[:2], bool)
        for a, b in zip(np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0), strict=True):
            difference = b.astype(np.float64) - a
            # A pixel's own level counts too: the noise of a bright one is not that of its surroundings.
            variance = self.variance(np.maximum(_level(a, b), (a + b) / 2))
            for side, factor in zip(_SIDES, self.factors, strict=True):
                most = _FAR * factor * np.sqrt(box_means(variance, side)) / side + _PHOTONS * self.gain / 2 / side**2
                mask |= np.abs(box_means(difference, side)) > most
                difference[mask] = 0  # what a small square found does not mark all of a large one
        return mask


def measure_noise(pairs: Iterable[tuple[Array, Array]]) -> DifferenceNoise:
    """Measure the noise of the differences of aligned (H, W, C) frames, equal in brightness."""
    details: list[Array] = []
    levels: list[Array] = []
    apart: list[list[Array]] = [[] for _ in _SIDES]
    planes = [
        (a.astype(np.float64), b.astype(np.float64))
        for first, second in pairs
        for a, b in zip(np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0), strict=True)
    ]
    for a, b in planes:
        d = b - a
        details.append(((d[1:, 1:] - d[1:, :-1] - d[:-1, 1:] + d[:-1, :-1]) / 2).ravel())
        levels.append(_level(a, b)[1:, 1:].ravel())
    detail, level = np.concatenate(details), np.concatenate(levels)
    noise = DifferenceNoise(*_by_level(detail, level), factors=(1.0,) * len(_SIDES))
    for a, b in planes:
        sigma = np.maximum(np.sqrt(noise.variance(_level(a, b))), 1e-12)
        for side, found in zip(_SIDES, apart, strict=True):
            found.append(_tile_medians(np.abs(box_means(b - a, side)) * side / sigma))
    # The quiet tiles tell of correlated noise even if most of the scene moves.
    factors = (float(np.quantile(np.concatenate(found), _QUIET)) / _MEDIAN for found in apart)
    return replace(noise, factors=tuple(min(max(1.0, factor), _MOST_CORRELATED) for factor in factors))


def _tile_medians(x: Array) -> Array:
    h, w = (max(1, side // _TILE) for side in x.shape)
    return np.array([np.median(tile) for rows in np.array_split(x, h) for tile in np.array_split(rows, w, axis=1)])


def _by_level(detail: Array, level: Array) -> tuple[Array, Array, float]:
    """Levels, variances at them, and the growth of the variance."""
    centres, variances, counts = [], [], []
    bounds = np.quantile(level, _SHARES)
    for i, (low, high) in enumerate(itertools.pairwise(bounds)):
        inside = (level >= low) & ((level < high) | (i == len(bounds) - 2))
        if np.count_nonzero(inside) >= _LEAST or i == 0:
            centres.append(float(level[inside].mean()) if inside.any() else float(low))
            variances.append(_robust_variance(detail[inside]))
            counts.append(np.count_nonzero(inside))
    x, y = np.array(centres), np.array(variances)
    gain = 0.0
    if len(x) > 1 and x[-1] > x[0]:
        weights = np.sqrt(counts) / np.maximum(y, 1e-6 * y.max() + 1e-30)
        gain = max(0.0, float(np.polyfit(x, y, 1, w=weights)[0]))
    return x, y, gain


def _robust_variance(detail: Array) -> float:
    """Variance of the values without outliers; of counts, more than half may be zero."""
    if not len(detail):
        return 0.0
    size = np.abs(detail)
    scales = (float(np.quantile(size, share)) / normal for share, normal in _DEVIATIONS)
    sigma = next((scale for scale in scales if scale > 0), 0.0)
    for _ in range(_ROUNDS):
        sigma = math.sqrt(float(np.mean(np.square(detail[size <= _CLIP * sigma]))))
    return sigma**2


def _level(a: Array, b: Array) -> Array:
    return box_means((a + b) / 2, _LEVEL)


def box_means(x: Array, side: int) -> Array:
    """(H, W) means over squares of an odd side, mirrored at the edges."""
    if side == 1:
        return x
    reach = side // 2
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (reach + 1, reach)
        total = np.cumsum(np.pad(x, pad, "symmetric"), axis=axis, dtype=np.float64)
        length = x.shape[axis]
        x = (total.take(range(side, side + length), axis) - total.take(range(length), axis)) / side
    return x
