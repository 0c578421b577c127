"""How much of each of two denoisers is best, told from the noisy picture.

A model that learned from many pictures knows what pictures are like; a network that learned from this one alone knows
its noise. How much of each a blend of them should have, the picture tells: see `best_share`.

References
----------
Wolpert (1992), "Stacked generalization", Neural Networks 5(2).
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
"""Crops that are looked at, about, of a large picture."""
_LOOKS = 4
"""Times that pixels of a crop are hidden, one in sixteen of those that may be."""
_SEEN = 0.4
"""Of the error of guesses, in mean squares, the part that comes of not seeing the pixel, up to which they tell enough.
Measured on photographs: up to 0.5 where the noise has a deviation of 10 grey levels or more, above 0.65 where of 4; at
0.48 they were wrong once."""
_WHITE, _SHIFTS = 0.125, ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))
"""Correlation of pixels so far apart, up to which a residual is white. Measured likewise: below 0.1, and 0.1 to 0.3."""
_STANDS_OUT, _LEAST = 4, 0.2
"""Standard deviations, and grey levels of 1, by which an impulse differs at least from each pixel around it."""
_IMPULSES = 0.006
"""Share of pixels that stand out, above which they are noise. Of photographs it is at most 0.004."""
_GUESSING = 5 / 6
"""Of the time, what guesses take: ten passes through the networks of twelve."""
_RIM = 16
"""Pixels at the border of a crop that are not guessed: networks see the zeros there that they pad with."""


class _Seen(NamedTuple):
    """A crop, what both make of it, and where its noise was cut off."""

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
    """The share of the first denoiser, in [0, 1], in the blend that errs least.

    Guesses of hidden pixels tell it, which needs to know nothing of the noise. They do not see what a denoiser makes of
    detail that a pixel alone tells. Where that is more than the noise (hiding a pixel then changes much, or what the
    second removes is not white), Stein's estimate has a say, too, with a variance that is told by brightness, and the
    larger share counts; but not on impulses, which have no such variance. Both look everywhere, not only where nothing
    was learned: a network of few weights remembers little of a pixel, and one bright detail may count for more than all
    the rest. Where noise was cut off at black or white, pixels tell nothing: there, the blend should be as the first,
    unless that keeps the noise.

    Parameters
    ----------
    first, second : functions
        (N, C, H, W) -> the same; the second keeps no noise.
    crops : Crops
    side : int
        Of the crops that are looked at, in pixels.
    rng : numpy.random.Generator
        Chooses the pixels.
    seconds : float, optional
        That it may take: crops that are left then are not looked at, but one is.

    Returns
    -------
    float
        1 where the two do the same.
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
    """What Stein's estimate says of both, of `inner` of the crops."""
    removed = _LeastSquares()
    for x, one, other, cut in seen:
        signs = rng.choice(np.array([-1, 1], np.float32), x.shape)
        nudged = x + np.float32(NUDGE) * signs
        follow = ((first(nudged) - one) - (second(nudged) - other)) * signs / NUDGE
        removed.add(*(values[inner] for values in (one - other, x - other, cut, -curve(other) * follow)))
    return removed


def _stand_out(x: Array, variance: Array) -> float:
    """The share of pixels, inside (N, C, H, W), of which a channel is far from all pixels around it, on one side."""
    h, w = x.shape[2:]
    around = [x[:, :, i : h - 2 + i, j : w - 2 + j] for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    far = np.maximum(_LEAST, _STANDS_OUT * np.sqrt(variance))
    inside, far = x[:, :, 1:-1, 1:-1], far[:, :, 1:-1, 1:-1]
    out = (inside > np.maximum.reduce(around) + far) | (inside < np.minimum.reduce(around) - far)
    return float(out.any(axis=1).mean())


def largest_correlation(residuals: Sequence[Array]) -> float:
    """The largest absolute correlation of pixels that are one or two apart, of crops (N, C, H, W) with a mean of 0."""
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
    """The share, in [0, 1], for which share * apart comes closest to a difference."""

    def __init__(self) -> None:
        self._across = self._squares = self._cut = 0.0

    def add(self, apart: Array, difference: Array, cut: Array, more: Array | float = 0.0) -> None:
        """Arrays (N, C, ...), `cut` perhaps of one channel; `more` is added to the product of the first two."""
        apart = apart.astype(np.float64)
        self._across += float(np.where(cut, 0, apart * difference + more).sum())
        squares = np.square(apart)
        cut_off = float(np.where(cut, squares, 0).sum())
        self._squares += float(squares.sum()) - cut_off
        self._cut += cut_off

    def share(self, as_first: bool) -> float:
        """`as_first` where the blend should be as the first of them where noise was cut off."""
        cut = self._cut if as_first else 0.0
        squares = self._squares + cut
        told = min(max(self._across, 0.0), self._squares)
        return (told + cut) / squares if squares else float(as_first)  # they do the same, or nothing tells of them
