"""Estimate a denoiser's risk without ground truth.

The risk is the mean squared error against the unknown clean picture. It is estimated on held-out pixels of the noisy
picture in two ways, and a denoiser counts as better only if both agree. Stein's unbiased risk estimate (SURE) gives the
risk up to a constant as |f(y) - y|^2 + 2 variance * df/dy; the derivative is estimated by random perturbations of y
(Monte-Carlo SURE). The second way needs no variance: some pixels are replaced by a neighbour's value, and the denoiser
predicts the hidden value from its surroundings (Noise2Self). Both assume that the noise is independent between pixels,
and are biased in different ways where it is not.

References
----------
Stein (1981), "Estimation of the mean of a multivariate normal distribution", theorem 1.
Ramani, Blu, Unser (2008), "Monte-Carlo SURE", IEEE TIP 17(9), theorem 2.
Batson and Royer (2019), "Noise2Self", arXiv:1901.11365, proposition 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from n2n_cli.nn.functional import Array

NUDGE = 0.01
"""Size of the perturbation that estimates the derivative, with pixels in [0, 1]."""
_FOLLOWS = 0.4
"""Mean derivative above which the removed part says little about the noise."""
_KEPT = 0.5
"""Fraction of the expected removed mean square below which a denoiser counts as keeping the noise."""
_APART, _LOOKS = 4, 2
"""Distance of the pixels that are hidden at a time, in pixels, and number of such draws per crop."""
_AROUND = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)])


class Window(NamedTuple):
    """A crop with held-out pixels, and what its risk estimate needs.

    Attributes
    ----------
    x : (N, C, H, W) array
        The noisy crop.
    held : (H, W) bool array
        Held-out pixels on which the risk is estimated.
    silent : (H, W) bool array
        Held-out pixels whose noisy values say nothing about the clean ones, because their noise was clipped.
    signs : (N, C, H, W) array
        Random signs of the perturbation.
    hidden : list of ((N, C, H, W) array, (H, W) bool array)
        Copies of the crop with hidden pixels, and the places of these.
    """

    x: Array
    held: Array
    silent: Array
    signs: Array
    hidden: list[tuple[Array, Array]]


def window(x: Array, held: Array, silent: Array, *, rng: np.random.Generator) -> Window:
    """Draw the signs and the hidden pixels of a `Window`; see its attributes."""
    signs = rng.choice(np.array([-1, 1], np.float32), x.shape)
    return Window(x, held, silent, signs, [hide(x, held, rng=rng) for _ in range(_LOOKS)])


def hide(x: Array, among: Array, *, rng: np.random.Generator) -> tuple[Array, Array]:
    """Replace some pixels by the value of a random neighbour.

    The pixels lie on a grid of distance four with a random offset; all channels use the same pixels and neighbours.

    Parameters
    ----------
    x : (N, C, H, W) array
    among : (H, W) bool array
        Where pixels may be hidden. Border pixels never are.

    Returns
    -------
    (N, C, H, W) array, (H, W) bool array
        The picture with the replaced pixels, and the mask of these.
    """
    grid = np.zeros(among.shape, bool)
    grid[int(rng.integers(_APART)) :: _APART, int(rng.integers(_APART)) :: _APART] = True
    grid[[0, -1]] = grid[:, [0, -1]] = False
    grid &= among
    rows, columns = np.nonzero(grid)
    offsets = _AROUND[rng.integers(len(_AROUND), size=len(rows))]
    hidden = x.copy()
    hidden[:, :, rows, columns] = x[:, :, rows + offsets[:, 0], columns + offsets[:, 1]]
    return hidden, grid


class Risk:
    """Estimated risk of a denoiser minus that of the first one measured.

    The larger of the two estimates counts, so that the result is negative only for a denoiser that is better by both.
    It is 0 for the first denoiser. Pixels whose noise was clipped have no estimate: there, the output of the first
    denoiser stands for the ground truth, and the squared difference from it is added.

    Parameters
    ----------
    windows : sequence of Window
    sigma : float
        Standard deviation of the noise, estimated from smooth places of the picture; NaN if it is too small for that.

    Attributes
    ----------
    variance : float
        Noise variance, estimated with the first denoiser: see `tell_variance`. NaN before the first call, or if that
        gives none.
    """

    def __init__(self, windows: Sequence[Window], sigma: float) -> None:
        self._windows, self._sigma = windows, sigma
        self._first: tuple[float, float, float] | None = None
        self._silent: Array = np.zeros(0)
        self._count = sum(math.prod(x.shape[:2]) * int(held.sum()) for x, held, *_ in windows)
        self.variance = math.nan

    def __call__(self, denoise: Callable[[Array], Array]) -> float:
        """Difference of mean squared errors; NaN if there are no windows."""
        if not self._windows:
            return math.nan
        measured, silent = self._measured(denoise)
        if self._first is None:
            self._first, self._silent = measured, silent
            self.variance = tell_variance(self._sigma, measured[0], measured[2])
        removed, guessed, follows = (now - first for now, first in zip(measured, self._first, strict=True))
        told = guessed if math.isnan(self.variance) else max(guessed, removed + 2 * self.variance * follows)
        if not len(silent):
            return told
        return (told * self._count + _squares(silent - self._silent)) / (self._count + len(silent))

    def _measured(self, denoise: Callable[[Array], Array]) -> tuple[tuple[float, float, float], Array]:
        """Measure a denoiser on all windows.

        Returns
        -------
        (removed, guessed, follows), array
            Mean square of the removed part, mean squared error of the predictions of hidden pixels, and mean derivative
            of an output pixel by its own input; and the denoised values of the silent pixels.
        """
        removed = guessed = follows = 0.0
        guesses = 0
        made = list[Array]()
        for x, held, silent, signs, hidden in self._windows:
            y = denoise(x)
            made.append(y[:, :, silent].ravel())
            nudged = denoise(x + np.float32(NUDGE) * signs)
            removed += _squares((y - x)[:, :, held])
            follows += float(((nudged - y) * signs)[:, :, held].sum(dtype=np.float64)) / NUDGE
            for other, places in hidden:
                errors = (denoise(other) - x)[:, :, places]
                guessed, guesses = guessed + _squares(errors), guesses + errors.size
        count, guesses = max(1, self._count), max(1, guesses)
        return (removed / count, guessed / guesses, follows / count), np.concatenate(made)


def tell_variance(sigma: float, removed: float, follows: float) -> float:
    """Noise variance, estimated from the part that a denoiser removes.

    The removed mean square is variance * (1 - 2 * follows) plus the denoiser's own squared error. If the derivative is
    small, the denoiser removes most of the noise and its own error is small beside it; the equation then gives the mean
    variance, also of noise that depends on brightness. Otherwise the variance is `sigma` squared. A denoiser that
    smooths small perturbations and still keeps noise, of a kind that it was not trained for, removes less than half of
    the expected mean square. Its derivative says nothing about how it treats the noise, and the result is NaN.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise, estimated from smooth places; NaN if the picture is too small.
    removed, follows : float
        Mean square of the removed part, and mean derivative of an output pixel by its own input.
    """
    if removed < _KEPT * sigma**2 * (1 - 2 * follows):
        return math.nan
    if follows < _FOLLOWS:
        return removed / (1 - 2 * follows)
    return sigma**2 if math.isfinite(sigma) else removed


def _squares(x: Array) -> float:
    return float(np.square(x, dtype=np.float64).sum())
