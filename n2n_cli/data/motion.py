"""Mask of the pixels at which the scene moved between two frames of a movie.

The noise of a difference of frames is estimated from the difference itself: its finest diagonal detail is almost only
noise, also where objects move. A pixel counts as moved if the mean of the difference over a square around it far
exceeds that noise. Larger squares find changes that are small compared with the noise of one pixel.
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
"""Minimum difference of moved pixels, in standard deviations of the noise."""
_PHOTONS = _FAR**2 / 3
"""Photons added to that limit: Bernstein's inequality for the skewed noise of few photons."""
_LEVEL = 5
"""Side of the square over which the level of a pixel is averaged, in pixels."""
_SHARES = (0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.96, 0.99, 0.997, 1)
"""Quantiles that bound the classes of levels; narrow at the top, because few pixels are bright."""
_LEAST = 200
"""Minimum number of values in a class."""
_TILE, _QUIET = 32, 0.25
"""Side of the tiles in which neighbour correlation is measured, in pixels; quantile of quiet tiles."""
_MOST_CORRELATED = 8.0
_WHITE = 1.2
"""Deviation of the mean over 3x3 pixels, relative to that of white noise, up to which noise counts as white."""
_MEDIAN = 0.6745
"""Median of the absolute value of a standard normal variable."""
_CLIP, _ROUNDS = 4.0, 3
_DEVIATIONS = ((0.5, 0.6745), (0.75, 1.1503), (0.9, 1.6449), (0.98, 2.3263))
"""Quantiles of the absolute value of a standard normal variable."""


@dataclass(frozen=True)
class DifferenceNoise:
    """Noise of the difference of two frames.

    Attributes
    ----------
    levels, variances : (K,) arrays
        Variance of the noise at increasing levels of the scene.
    gain : float
        Slope of the variance over the level, twice the brightness of a photon; 0 if the variance does not grow.
    factors : tuple of float
        Standard deviation of the mean over each square of `_SIDES`, relative to white noise.
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
        """True if the neighbour correlation is small."""
        return self.factors[1] < _WHITE

    def moved(self, first: Array, second: Array) -> Array:
        """(H, W) mask of the pixels where (H, W, C) frames differ by more than noise."""
        mask = np.zeros(first.shape[:2], bool)
        for a, b in zip(np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0), strict=True):
            difference = b.astype(np.float64) - a
            # The pixel's own level counts, too: a bright pixel has more noise than its darker surroundings.
            variance = self.variance(np.maximum(_level(a, b), (a + b) / 2))
            for side, factor in zip(_SIDES, self.factors, strict=True):
                most = _FAR * factor * np.sqrt(box_means(variance, side)) / side + _PHOTONS * self.gain / 2 / side**2
                mask |= np.abs(box_means(difference, side)) > most
                difference[mask] = 0  # else a pixel found by a small square would mark all of a larger one
        return mask


def measure_noise(pairs: Iterable[tuple[Array, Array]]) -> DifferenceNoise:
    """Measure the noise of the differences of (H, W, C) frames.

    The frames of a pair are aligned, and equal in brightness.
    """
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
    # Quiet tiles reveal correlated noise even if most of the scene moves.
    factors = (float(np.quantile(np.concatenate(found), _QUIET)) / _MEDIAN for found in apart)
    return replace(noise, factors=tuple(min(max(1.0, factor), _MOST_CORRELATED) for factor in factors))


def _tile_medians(x: Array) -> Array:
    h, w = (max(1, side // _TILE) for side in x.shape)
    return np.array([np.median(tile) for rows in np.array_split(x, h) for tile in np.array_split(rows, w, axis=1)])


def _by_level(detail: Array, level: Array) -> tuple[Array, Array, float]:
    """Estimate noise by level: levels, variances, and slope of the variance."""
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
    """Variance of the values without outliers.

    More than half of the values may be zero, as in photon counts.
    """
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
    """Means of an (H, W) array over squares of an odd side, mirrored at the edges."""
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
