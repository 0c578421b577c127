"""Noise variance of a picture as a function of its brightness.

Photon noise grows with brightness, and clipping reduces the variance near black and white, so that one number for the
whole picture is not enough. In each 2x2 cell, the difference of the two diagonals has neither mean nor slope of the
picture: it is almost only noise. Cells are sorted by denoised brightness into levels of equal count, and the median
magnitude of the differences gives the variance of each level. Between the levels, it is interpolated.

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
"""Maximum number of brightness levels, and minimum number of 2x2 cells in each."""


class NoiseCurve:
    """Noise variance by brightness, estimated from differences within 2x2 cells.

    The median makes the estimate robust against the few cells with edges in them, but not against texture, which counts
    as noise. Noise that is correlated between neighbouring pixels is underestimated.

    Parameters
    ----------
    noisy, denoised : sequence of (N, C, H, W) arrays
        Crops with even sides, and the same crops denoised, which give the brightness.
    """

    def __init__(self, noisy: Sequence[Array], denoised: Sequence[Array]) -> None:
        left = [(x[..., ::2, ::2] - x[..., 1::2, ::2] - x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 2 for x in noisy]
        light = [(y[..., ::2, ::2] + y[..., 1::2, ::2] + y[..., ::2, 1::2] + y[..., 1::2, 1::2]) / 4 for y in denoised]
        self._curves = [
            _curve(values, levels) for values, levels in zip(_by_channel(left), _by_channel(light), strict=True)
        ]

    def __call__(self, denoised: Array) -> Array:
        """(N, C, H, W) -> noise variance of each pixel, of the same shape."""
        return np.stack(
            [np.interp(denoised[:, c], levels, variances) for c, (levels, variances) in enumerate(self._curves)], axis=1
        )


def _by_channel(cells: Sequence[Array]) -> list[Array]:
    """All values of each channel, flattened."""
    return [np.concatenate([part[:, c].ravel() for part in cells]) for c in range(cells[0].shape[1])]


def _curve(left: Array, light: Array) -> tuple[list[float], list[float]]:
    """Mean brightness of each level, ascending, and the noise variance there."""
    parts = np.array_split(np.argsort(light, kind="stable"), max(1, min(_LEVELS, len(light) // _LEAST)))
    return [float(light[part].mean()) for part in parts], [deviation(left[part]) ** 2 for part in parts]
