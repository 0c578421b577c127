"""Limits on what a network may remove.

A change that noise does not explain removes signal, such as the light of stars. A limit for single pixels alone lets a
network take a little from each pixel of a star, and so a percent of its flux. The mean change over 3x3 pixels, whose
noise is a third of that of a pixel, shows such a loss.
"""

from __future__ import annotations

import math

import numpy as np

from n2n_cli.nn.functional import Array
from n2n_cli.values.local_means import bands

_LIMIT, _SIGNAL = 4.0, 6.0
"""Maximum change that counts as noise, and mean change from which it counts as signal, in standard deviations."""
_QUANTILE, _NORMAL = 0.9, 1.645
"""Quantile of absolute values that the spread of the changes is estimated from, and its value for a standard normal
variable. It is high enough to include noise that is stronger in parts of a picture, and low enough to exclude crowded
stars."""
_STRIPS = 256  # number of rows from which the spread is estimated


def keep_outstanding(denoised: Array, seen: Array, missing: Array, sigma: float) -> None:
    """Restore signal that a network removed from a picture, in place.

    No pixel is changed by more than four standard deviations of the noise. Where the mean change over 3x3 pixels is
    above noise, it is undone: gradually from four standard errors on, fully from six. If the changes spread more than
    `sigma` explains, as with correlated noise, the limits follow their spread.

    Parameters
    ----------
    denoised, seen : (H, W, C) arrays
        Output and input of the network.
    missing : (H, W, C) boolean array
        Mask of values to ignore.
    sigma : float
        Standard deviation of the noise of `seen`; infinite if unknown: then there is no limit.
    """
    if math.isinf(sigma):
        return
    changes = _Changes(denoised, seen, missing)
    most = _LIMIT * changes.spread(sigma, side=1)
    for band in bands(denoised.shape):
        np.clip(denoised[band], seen[band] - most, seen[band] + most, out=denoised[band])
    scale = changes.spread(sigma, side=3)
    above = None
    for band in bands(denoised.shape):
        rows, counts = changes.rows(band.start - 1, band.stop + 1)
        if above is not None:  # `denoised` was already corrected there
            rows[0] = above
        above = rows[-2].copy()
        means, errors = _means(rows, counts)
        means *= np.clip((np.abs(means) / (scale * errors) - _LIMIT) / (_SIGNAL - _LIMIT), 0, 1)
        denoised[band] += means


class _Changes:
    """Difference between input and output of a network, without missing values."""

    def __init__(self, denoised: Array, seen: Array, missing: Array) -> None:
        self._denoised, self._seen, self._missing = denoised, seen, missing

    def rows(self, top: int, bottom: int) -> tuple[Array, Array]:
        """(bottom - top, W, C) changes of these rows, and their counts.

        A count is 0 where there is no value, 1 elsewhere.
        """
        inside = slice(max(0, top), min(bottom, len(self._seen)))
        counts = (~self._missing[inside]).astype(np.float32)
        changes = counts * (self._seen[inside] - self._denoised[inside])
        outside = [(inside.start - top, bottom - inside.stop), (0, 0), (0, 0)]
        return np.pad(changes, outside), np.pad(counts, outside)

    def spread(self, sigma: float, side: int) -> Array:
        """(C,) standard deviations of the noise, at least `sigma`.

        Estimated from the changes of means over windows of `side` x `side` pixels.
        """
        height, reach = len(self._seen), side // 2
        values = []
        for top in range(0, height, -(-height // _STRIPS)):
            rows, counts = self.rows(top - reach, top + reach + 1)
            means, errors = _means(rows, counts) if reach else (rows, np.float32(1))
            values.append(np.abs(means) / errors)
        spread = np.quantile(np.concatenate(values), _QUANTILE, axis=(0, 1)) / _NORMAL
        return np.maximum(spread, sigma).astype(np.float32)


def _means(rows: Array, counts: Array) -> tuple[Array, Array]:
    """Means over 3x3 pixels, (rows + 2, W, C) -> (rows, W, C), and standard errors.

    The standard errors are those of noise of standard deviation 1.
    """
    number = np.maximum(_sums(counts), 1)
    return _sums(rows) / number, 1 / np.sqrt(number)


def _sums(rows: Array) -> Array:
    down = rows[:-2] + rows[1:-1] + rows[2:]
    across = np.pad(down, [(0, 0), (1, 1), (0, 0)])
    sums: Array = across[:, :-2] + across[:, 1:-1] + across[:, 2:]
    return sums
