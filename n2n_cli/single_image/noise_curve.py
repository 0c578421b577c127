"""The variance of a picture's noise, by brightness: photons make more where it is bright, clipping takes some away.

References
----------
Foi, Trimeche, Katkovnik, Egiazarian (2008), "Practical Poissonian-Gaussian noise modeling and fitting for single-image
raw-data", IEEE TIP 17(10), section III.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from n2n_cli.nn.functional import Array
from n2n_cli.noise.level import deviation

_LEVELS, _LEAST = 8, 64
"""Levels of brightness, at most, each of as many cells of 2x2 pixels, and of so many at least."""


class NoiseCurve:
    """Variance by brightness, told from what is left of cells of 2x2 pixels without their mean and slopes.

    Of each level of brightness the median tells it, so that cells with edges in them do not count; texture does. Noise
    that neighbours share is told too small.

    Parameters
    ----------
    noisy, denoised : sequence of (N, C, H, W) arrays
        Crops, the sides even, and what tells their brightness.
    """

    def __init__(self, noisy: Sequence[Array], denoised: Sequence[Array]) -> None:
        left = [(x[..., ::2, ::2] - x[..., 1::2, ::2] - x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 2 for x in noisy]
        light = [(y[..., ::2, ::2] + y[..., 1::2, ::2] + y[..., ::2, 1::2] + y[..., 1::2, 1::2]) / 4 for y in denoised]
        self._curves = [
            _curve(values, levels) for values, levels in zip(_by_channel(left), _by_channel(light), strict=True)
        ]

    def __call__(self, denoised: Array) -> Array:
        """(N, C, H, W) -> the variance of the noise of each pixel."""
        return np.stack(
            [np.interp(denoised[:, c], levels, variances) for c, (levels, variances) in enumerate(self._curves)], axis=1
        )


def _by_channel(cells: Sequence[Array]) -> list[Array]:
    """The values of each channel."""
    return [np.concatenate([part[:, c].ravel() for part in cells]) for c in range(cells[0].shape[1])]


def _curve(left: Array, light: Array) -> tuple[list[float], list[float]]:
    """Brightnesses that rise, and the variance at each."""
    parts = np.array_split(np.argsort(light, kind="stable"), max(1, min(_LEVELS, len(light) // _LEAST)))
    return [float(light[part].mean()) for part in parts], [deviation(left[part]) ** 2 for part in parts]
