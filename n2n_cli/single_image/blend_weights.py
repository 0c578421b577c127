"""Estimate the best weights of a blend of two denoisers from the noisy picture.

A model that was trained on many pictures knows what pictures look like; a network that learned from this picture alone
knows its noise. Their blend is share * first + (1 - share) * second. The share is fitted by least squares, as in
stacking (Wolpert): both denoisers predict hidden pixels, and the noisy values of these are the targets, whose
independent noise does not bias the fit. If hiding a pixel loses too much, Stein's risk estimate gives a second value,
with the noise variance from `noise_curve`. `best_share` says how the two are combined.

References
----------
Wolpert (1992), "Stacked generalization", Neural Networks 5(2).
Batson and Royer (2019), "Noise2Self", arXiv:1901.11365: prediction of hidden pixels.
Ramani, Blu, Unser (2008), "Monte-Carlo SURE", IEEE TIP 17(9): Stein's estimate with numerical derivatives.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from n2n_cli.nn.functional import Array
from n2n_cli.single_image.learner import Crops
from n2n_cli.single_image.noise_curve import NoiseCurve
from n2n_cli.single_image.risk_estimate import NUDGE, hide
from n2n_cli.system.progress import advance

_MOST = 32
"""Approximate maximum number of crops that are evaluated, on a large picture."""
_LOOKS = 4
"""Number of times that pixels of a crop are hidden; each time one in sixteen."""
_SEEN = 0.4
"""Fraction of the mean squared prediction error that is due to not seeing the pixel, up to which predictions of hidden
pixels alone are reliable. Measured on photographs: up to 0.5 for noise with a standard deviation of 10 grey levels or
more, above 0.65 for 4 grey levels; at 0.48 they were wrong once."""
_WHITE, _SHIFTS = 0.125, ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))
"""Maximum correlation of a residual that counts as white, and the shifts (rows, columns) at which it is measured, in
pixels. Measured on the same photographs: below 0.1 for the stronger noise, 0.1 to 0.3 for the weaker."""
_STANDS_OUT, _LEAST = 4, 0.2
"""Minimum difference of an impulse from each pixel around it: in standard deviations of the noise, and in [0, 1]."""
_IMPULSES = 0.006
"""Fraction of outlying pixels above which they are impulse noise. In photographs it is at most 0.004."""
_GUESSING = 5 / 6
"""Fraction of the time that predictions of hidden pixels take: ten of twelve forward passes."""
_RIM = 16
"""Width of a crop's border that is left out, in pixels: the networks' zero padding affects it."""


class _Seen(NamedTuple):
    """A crop, the outputs of both denoisers, and the mask of clipped pixels."""

    x: Array
    one: Array
    other: Array
    cut: Array


def best_share(
    first: Callable[[Array], Array],
    second: Callable[[Array], Array],
    crops: Crops,
    side: int,
    *,
    rng: np.random.Generator,
    seconds: float | None = None,
) -> float:
    """Weight of the first denoiser in the blend with the lowest estimated risk.

    Predictions of hidden pixels give the share without any knowledge of the noise. But they ignore detail that only the
    pixel itself shows. If that detail outweighs the noise (hiding a pixel changes the output much, or the residual of
    the second denoiser is not white), Stein's estimate is computed, too, with a noise variance that depends on
    brightness, and the larger share counts. It is not used on impulse noise, which has no such variance.

    Crops are taken from the whole picture, not only from held-out blocks: a network of few weights memorises little of
    a pixel, and one bright detail may weigh more than all the rest. Pixels whose noise was clipped at black or white
    say nothing about the clean picture: there, the blend should equal the first denoiser, unless that keeps the noise.

    Parameters
    ----------
    first, second : functions
        (N, C, H, W) -> the same shape; the second keeps no noise.
    crops : Crops
    side : int
        Side of the evaluated crops, in pixels.
    rng : numpy.random.Generator
        Draws the order of the crops, the hidden pixels and the perturbations.
    seconds : float, optional
        Time limit; remaining crops are skipped, but one is always evaluated.

    Returns
    -------
    float
        In [0, 1]; 1 if both denoisers give the same, unless the first keeps the noise of clipped pixels.
    """
    rim = min(_RIM, side // 4)
    inner = (..., slice(rim, side - rim), slice(rim, side - rim))
    inside = np.zeros((side, side), bool)
    inside[inner] = True
    spread = crops.spread(_MOST, side, side - 2 * rim)
    guessed, seen = _LeastSquares(), list[_Seen]()
    changed = missed = 0.0
    end = math.inf if seconds is None else time.perf_counter() + _GUESSING * seconds
    for i in rng.permutation(len(spread)):
        if seen and time.perf_counter() > end:
            break
        x, _ = crops.at([spread[i]], side)
        one, other = first(x), second(x)
        cut = crops.clipping(other)
        seen.append(_Seen(x, one, other, np.broadcast_to(cut, x.shape)))
        for _ in range(_LOOKS):
            hidden, places = hide(x, inside, rng=rng)
            guess, others, truth = (y[:, :, places] for y in (first(hidden), second(hidden), x))
            silent = cut[:, :, places]
            guessed.add(guess - others, truth - others, silent)
            changed += float(np.square((other[:, :, places] - others) * ~silent, dtype=np.float64).sum())
            missed += float(np.square((truth - others) * ~silent, dtype=np.float64).sum())
        advance(_GUESSING / len(spread))
    advance(_GUESSING * (1 - len(seen) / len(spread)))
    as_first = not crops.clipping.is_kept(np.concatenate([(x - one)[inner][cut[inner]] for x, one, _, cut in seen]))
    share = guessed.share(as_first)
    white = largest_correlation([((x - other) * ~cut)[inner] for x, _, other, cut in seen]) <= _WHITE
    if changed > _SEEN * missed or not white:
        curve = NoiseCurve([x[inner] for x, *_ in seen], [other[inner] for _, _, other, _ in seen])
        if np.mean([_stand_out(x[inner], curve(other[inner])) for x, _, other, _ in seen]) <= _IMPULSES:
            share = max(share, _removed(first, second, seen, inner, curve, rng=rng).share(as_first))
    advance(1 - _GUESSING)
    return share


def _removed(
    first: Callable[[Array], Array],
    second: Callable[[Array], Array],
    seen: Sequence[_Seen],
    inner: Any,
    curve: NoiseCurve,
    *,
    rng: np.random.Generator,
) -> _LeastSquares:
    """Least-squares sums of the share that minimises Stein's estimate, inside `inner`."""
    removed = _LeastSquares()
    for x, one, other, cut in seen:
        signs = rng.choice(np.array([-1, 1], np.float32), x.shape)
        nudged = x + np.float32(NUDGE) * signs
        follow = ((first(nudged) - one) - (second(nudged) - other)) * signs / NUDGE
        removed.add(*(values[inner] for values in (one - other, x - other, cut, -curve(other) * follow)))
    return removed


def _stand_out(x: Array, variance: Array) -> float:
    """Fraction of outlying pixels of (N, C, H, W), without its border.

    A pixel is outlying if one of its channels is far above, or far below, all eight pixels around it.
    """
    h, w = x.shape[2:]
    around = [x[:, :, i : h - 2 + i, j : w - 2 + j] for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    far = np.maximum(_LEAST, _STANDS_OUT * np.sqrt(variance))
    inside, far = x[:, :, 1:-1, 1:-1], far[:, :, 1:-1, 1:-1]
    out = (inside > np.maximum.reduce(around) + far) | (inside < np.minimum.reduce(around) - far)
    return float(out.any(axis=1).mean())


def largest_correlation(residuals: Sequence[Array]) -> float:
    """Largest absolute correlation of pixels at distance one or two.

    Parameters
    ----------
    residuals : sequence of (N, C, H, W) arrays
        With a mean of 0.
    """
    squares = sum(float(np.square(r, dtype=np.float64).mean()) for r in residuals)
    if squares == 0:
        return 0.0
    products = []
    for down, across in _SHIFTS:
        h, w = (slice(size - shift) for size, shift in zip(residuals[0].shape[2:], (down, abs(across)), strict=True))
        turned = [r[..., ::-1] if across < 0 else r for r in residuals]
        products.append(
            sum(float((r[..., h, w] * r[..., down:, abs(across) :]).mean(dtype=np.float64)) for r in turned)
        )
    return max(map(abs, products)) / squares


class _LeastSquares:
    """Least-squares fit of share * apart to difference, with share in [0, 1]."""

    def __init__(self) -> None:
        self._across = self._squares = self._cut = 0.0

    def add(self, apart: Array, difference: Array, cut: Array, more: Array | float = 0.0) -> None:
        """Add (N, C, ...) arrays to the sums.

        Parameters
        ----------
        apart : array
            First minus second denoiser.
        difference : array
            Target minus second denoiser.
        cut : bool array
            Clipped pixels; may have one channel only.
        more : array or float
            Added to the product of the first two: the derivative term of Stein's estimate.
        """
        apart = apart.astype(np.float64)
        self._across += float(np.where(cut, 0, apart * difference + more).sum())
        squares = np.square(apart)
        cut_off = float(np.where(cut, squares, 0).sum())
        self._squares += float(squares.sum()) - cut_off
        self._cut += cut_off

    def share(self, as_first: bool) -> float:
        """The fitted share.

        Parameters
        ----------
        as_first : bool
            Fit the blend to the first denoiser at clipped pixels; otherwise these are ignored.
        """
        cut = self._cut if as_first else 0.0
        squares = self._squares + cut
        told = min(max(self._across, 0.0), self._squares)
        return (told + cut) / squares if squares else float(as_first)  # both give the same, or all pixels are clipped
