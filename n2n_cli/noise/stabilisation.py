"""Variance stabilisation of photon noise, and the fit of its parameters.

The noise variance of counted photons grows with the signal x: gain * x + variance. The generalised Anscombe transform
makes the variance 1 everywhere, so that a denoiser for uniform noise can be applied.

References
----------
Foi, Trimeche, Katkovnik, Egiazarian (2008), "Practical Poissonian-Gaussian noise modeling and fitting for single-image
raw-data", IEEE TIP 17(10).
Makitalo, Foi (2013), "Optimal inversion of the generalized Anscombe transformation for Poisson-Gaussian noise", IEEE
TIP 22(1), equations 2 and 10.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np

from n2n_cli.nn.functional import Array
from n2n_cli.noise.measuring import HIGH, TAPS, filtered

BLOCK = 8
"""Side of the blocks that the fit uses, in pixels."""
_LEVELS, _LEAST = 16, 12
"""Maximum number of brightness levels, and minimum number of blocks in each."""
FEW_PHOTONS = 10.0
"""Number of photons above which the stabilised variance is 1."""
_QUANTILE = 0.4
"""Quantile over the blocks of a level; at least this fraction should be smooth."""
_PASSES = 3
_FAINT = 0.02
"""Fraction of the largest variance below which a level does not count in the error of the fit."""
_ONES = np.ones(TAPS, np.float32)
_ROUNDS, _OUTLYING = 12, 0.1
"""Rounds of the robust fit, and relative deviation above which the weight of a level falls."""


@dataclass(frozen=True)
class NoiseFit:
    """Noise variance as a linear function of the signal x: gain * x + variance.

    Attributes
    ----------
    gain, variance : float
        Slope, in the picture's units, and noise variance at x = 0, in squared units; negative if the picture has an
        offset.
    error : float
        Root mean square of the relative deviations of the brightness levels from the line.
    dark, bright : float
        Signal of the darkest and of the brightest level.
    middle, mean : float
        Median and mean of the levels' noise variance.
    """

    gain: float
    variance: float
    error: float
    dark: float
    bright: float
    middle: float
    mean: float

    def at(self, signal: float) -> float:
        """Standard deviation of the noise at a signal; 0 where the variance is negative."""
        return math.sqrt(max(0.0, self.gain * signal + self.variance))


def fit_noise(planes: Sequence[Array], valid: Sequence[Array]) -> NoiseFit | None:
    """Fit the noise variance of a picture as a function of its signal.

    The finest diagonal wavelet coefficients are almost only noise. Blocks are grouped by their mean into levels; a
    quantile over the blocks of a level is robust against edges and texture in most of them. Noise with neighbour
    correlation is underestimated.

    Parameters
    ----------
    planes : sequence of (H, W) arrays of floats
    valid : sequence of (H, W) boolean arrays
        Pixels to use; a block with any other pixel is left out.

    Returns
    -------
    NoiseFit or None
        None if there are too few blocks.
    """
    parts = [_blocks(plane, good) for plane, good in zip(planes, valid, strict=True)]
    means = np.concatenate([mean for mean, _ in parts]) if parts else np.empty(0)
    energies = np.concatenate([energy for _, energy in parts]) if parts else np.empty(0)
    if len(means) < _LEAST:
        return None
    order = np.argsort(means, kind="stable")
    levels = np.array_split(order, max(1, min(_LEVELS, len(means) // _LEAST)))
    signal = np.array([means[level].mean() for level in levels])
    gain, variance, error = 0.0, 1.0, math.inf
    for _ in range(_PASSES):
        # The blocks of a level differ in their means, so each is compared with its own expectation.
        expected, middle = _floored(gain * means + variance, energies), _floored(gain * signal + variance, energies)
        shares = np.array([np.quantile(energies[level] / expected[level], _QUANTILE) for level in levels])
        noise = shares * middle / _of_mean(_QUANTILE)
        gain, variance, error = _line(signal, noise)
    return NoiseFit(
        gain, variance, error, float(signal[0]), float(signal[-1]), float(np.median(noise)), float(noise.mean())
    )


def _floored(variances: Array, energies: Array) -> Array:
    """Limit variances from below, so that no quotient by one dominates the fit."""
    floored: Array = np.maximum(variances, max(1e-3 * float(energies.mean()), 1e-30))
    return floored


def _blocks(plane: Array, valid: Array) -> tuple[Array, Array]:
    """Compute the mean of each block, and of its squared wavelet coefficients."""
    margin = TAPS // 2 - 1
    if min(plane.shape) < BLOCK + 2 * margin:
        return np.empty(0), np.empty(0)
    x = np.where(valid, plane, 0).astype(np.float64)[None, ..., None]
    coefficients = filtered(filtered(x, HIGH, 1), HIGH, 2)[0, ..., 0]
    spoilt = filtered(filtered((~valid).astype(np.float64)[None, ..., None], _ONES, 1), _ONES, 2)[0, ..., 0]
    rows, columns = (side * 2 // BLOCK for side in coefficients.shape)
    half = coefficients[: rows * BLOCK // 2, : columns * BLOCK // 2]
    place = slice(margin, margin + rows * BLOCK), slice(margin, margin + columns * BLOCK)
    whole = _by_block(spoilt[: half.shape[0], : half.shape[1]] == 0, BLOCK // 2).all(axis=1)
    means = _by_block(x[0, ..., 0][place], BLOCK).mean(axis=1)
    return means[whole], np.square(_by_block(half, BLOCK // 2)).mean(axis=1)[whole]


def _of_mean(quantile: float) -> float:
    """Quantile of a block's mean squared normal coefficient, over its expectation.

    Uses the approximation of Wilson and Hilferty (1931).
    """
    part = 2 / (9 * (BLOCK // 2) ** 2)
    return float(1 - part + NormalDist().inv_cdf(quantile) * math.sqrt(part)) ** 3


def _by_block(x: Array, side: int) -> Array:
    """Cut (H, W) into blocks: (blocks, side * side)."""
    h, w = x.shape
    return x.reshape(h // side, side, w // side, side).swapaxes(1, 2).reshape(-1, side * side)


def _line(signal: Array, noise: Array) -> tuple[float, float, float]:
    """Fit a line by robust relative deviations; return gain, variance and error."""
    least = max(1e-3 * float(noise.max()), 1e-30)
    if len(signal) < 3 or signal[-1] <= signal[0]:
        return 0.0, float(np.median(noise)), math.inf
    centre, spread = float(signal.mean()), float(signal[-1] - signal[0])
    design = np.stack([(signal - centre) / spread, np.ones_like(signal)], axis=1)
    line, weight = np.maximum(noise, least), np.ones_like(noise)
    for _ in range(_ROUNDS):
        scale = np.sqrt(weight) / line
        (slope, middle), *_ = np.linalg.lstsq(design * scale[:, None], noise * scale, rcond=None)
        line = np.maximum(design @ (slope, middle), least)
        away = (noise - line) / line
        weight = 1 / np.maximum(1, np.abs(away) / _OUTLYING)
    gain = float(slope) / spread
    matters = line > _FAINT * line.max()
    return gain, float(middle) - gain * centre, float(np.sqrt(np.mean(np.square(away[matters]))))


def stabilise(x: Array, gain: float, variance: float) -> Array:
    """Generalised Anscombe transform: the noise of the result has unit variance."""
    shifted = x / gain + (3 / 8 + variance / gain**2)
    result: Array = 2 * np.sqrt(np.maximum(shifted, 0))
    return result


def unstabilise(y: Array, gain: float, variance: float) -> Array:
    """Exact unbiased inverse of `stabilise`, in closed form.

    The mean of stabilised values is not the stabilised mean. This inverse maps a mean of stabilised values to the mean
    of the original values.
    """
    root = np.maximum(y, 2 * math.sqrt(3 / 8))  # the transform of 0 photons without read noise
    inverse = 1 / root
    photons = root**2 / 4 + inverse * (
        math.sqrt(3 / 2) / 4 + inverse * (-11 / 8 + inverse * (5 / 8 * math.sqrt(3 / 2)))
    )
    result: Array = gain * (photons - 1 / 8) - variance / gain
    return result


def stabilised_variance(photons: Array) -> Array:
    """Variance of stabilised Poisson counts with given means.

    The gain is 1, without read noise. The variance is 1 from 4 photons on, and falls to 0 at 0 photons.
    """
    means, variances = _poisson_table()
    result: Array = np.interp(photons, means, variances)
    return result


@cache
def _poisson_table() -> tuple[Array, Array]:
    means, counts = np.geomspace(1e-3, FEW_PHOTONS, 100), np.arange(60)
    factorials = np.array([math.lgamma(count + 1) for count in counts])
    shares = np.exp(counts * np.log(means)[:, None] - means[:, None] - factorials)
    values = stabilise(counts.astype(np.float64), 1.0, 0.0)
    variances = shares @ values**2 - (shares @ values) ** 2
    return np.concatenate([[0.0], means]), np.concatenate([[0.0], variances])
