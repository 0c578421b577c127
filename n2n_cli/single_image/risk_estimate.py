"""How far a denoiser is from the clean picture, told from the noisy one alone, where nothing was learned from it.

Two ways, and a denoiser has to be better by both. Stein's estimate tells the squared error where noise is white, but
for a constant: |f(y) - y|^2 + 2 variance * df/dy, the derivatives told by small random changes of the picture. And some
pixels get a neighbour's value, and the denoiser has to guess what they were, which needs no variance. Both take the
noise of neighbours for independent, and err in ways of their own where it is not.

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
"""What pictures are changed by, to see how outputs follow."""
_FOLLOWS = 0.4
"""Above it, what is removed says little of the noise."""
_KEPT = 0.5
"""Share of what a denoiser should remove below which it keeps the noise."""
_APART, _LOOKS = 4, 2
"""Pixels between those that are hidden at a time, and how often others are."""
_AROUND = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)])


class Window(NamedTuple):
    """A crop, (N, C, H, W), where it is looked at and where its pixels tell nothing, (H, W), signs, and copies with
    hidden pixels and their places."""

    x: Array
    held: Array
    silent: Array
    signs: Array
    hidden: list[tuple[Array, Array]]


def window(x: Array, held: Array, silent: Array, *, rng: np.random.Generator) -> Window:
    """What is looked at of crops (N, C, H, W) where `held`, (H, W), says so, and of `silent` pixels elsewhere."""
    signs = rng.choice(np.array([-1, 1], np.float32), x.shape)
    return Window(x, held, silent, signs, [hide(x, held, rng=rng) for _ in range(_LOOKS)])


def hide(x: Array, among: Array, *, rng: np.random.Generator) -> tuple[Array, Array]:
    """Put a neighbour's value in the place of some pixels, four apart on both axes, the same of all channels.

    Parameters
    ----------
    x : (N, C, H, W) array
    among : (H, W) bool array
        Where pixels may be hidden; never at the border.

    Returns
    -------
    (N, C, H, W) array, (H, W) bool array
        The picture, and which of its pixels were hidden.
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
    """By how much a denoiser errs more than the first that was asked about, told in the worse of both ways.

    Below 0 only for one that is better by both; 0 for the first. Where pixels tell nothing, because their noise was cut
    off, the first is taken for right: whatever another makes of them counts as its error.

    Parameters
    ----------
    windows : sequence of Window
    sigma : float
        Standard deviation of the noise as texture allows to tell it; not a number where the picture is too small.

    Attributes
    ----------
    variance : float
        Of the noise, as the first denoiser tells it: see `tell_variance`. Not a number before that.
    """

    def __init__(self, windows: Sequence[Window], sigma: float) -> None:
        self._windows, self._sigma = windows, sigma
        self._first: tuple[float, float, float] | None = None
        self._silent: Array = np.zeros(0)
        self._count = sum(math.prod(x.shape[:2]) * int(held.sum()) for x, held, *_ in windows)
        self.variance = math.nan

    def __call__(self, denoise: Callable[[Array], Array]) -> float:
        """The difference of mean squares; not a number where there is nothing to look at."""
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
        """The mean square of what is removed, that of wrong guesses, and the mean derivative; and silent pixels."""
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
    """Variance of the noise; not a number where a denoiser's derivatives say nothing of how it deals with the noise.

    A denoiser removes, in the mean square, variance * (1 - 2 * follows) + its own error. Where it removes most of what
    there is, the error is little beside the noise, and this tells its variance also where that depends on the
    brightness; elsewhere, it is told from smooth places. One that smooths small changes and keeps the noise, which is
    of another kind than it knows, removes less than half of that: then it is not a number.

    Parameters
    ----------
    sigma : float
        Standard deviation as smooth places tell it; not a number where the picture is too small.
    removed, follows : float
        The mean square of what a denoiser removes, and the mean derivative of an output by its own input.
    """
    if removed < _KEPT * sigma**2 * (1 - 2 * follows):
        return math.nan
    if follows < _FOLLOWS:
        return removed / (1 - 2 * follows)
    return sigma**2 if math.isfinite(sigma) else removed


def _squares(x: Array) -> float:
    return float(np.square(x, dtype=np.float64).sum())
