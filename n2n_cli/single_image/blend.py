"""A blend of two denoisers, in shares that the noisy picture chooses.

A model that learned from many pictures knows what pictures are like; a network that learned from this one alone knows
its noise. How much of each is best, the picture tells: see `best_share`.

References
----------
Wolpert (1992), "Stacked generalization", Neural Networks 5(2).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from n2n_cli.nn import Module
from n2n_cli.nn.bands import Bands
from n2n_cli.nn.channels_last import empty_nchw
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.single_image.learner import Crops, with_channels
from n2n_cli.single_image.noise_curve import NoiseCurve
from n2n_cli.single_image.risk import NUDGE, hide

_MOST = 32
"""Crops that are looked at, about, of a large picture."""
_LOOKS = 4
"""Times that pixels of a crop are hidden, one in sixteen of those that may be."""
_SEEN = 0.5
"""Of the error of guesses, in mean squares, the part that comes of not seeing the pixel, up to which they tell enough.
Measured on photographs: up to 0.5 where the noise has a deviation of 10 grey levels or more, above 0.65 where of 4."""
_WHITE, _SHIFTS = 0.125, ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))
"""Correlation of pixels so far apart, up to which a residual is white. Measured likewise: below 0.1, and 0.1 to 0.3."""
_RIM = 16
"""Pixels at the border of a crop that are not guessed: networks see the zeros there that they pad with."""


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
    larger share counts. Both look everywhere, not only where nothing was learned: a network of few weights remembers
    little of a pixel, and one bright detail may count for more than all the rest.

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
    guessed, seen = _LeastSquares(), list[tuple[Array, Array]]()
    changed = missed = 0.0
    half = math.inf if seconds is None else time.perf_counter() + seconds / 2  # Stein's estimate takes no longer
    for i in rng.permutation(len(spread)):
        if seen and time.perf_counter() > half:
            break
        x, _ = crops.at([spread[i]], side)
        denoised = second(x)
        seen.append((x, denoised))
        for _ in range(_LOOKS):
            hidden, places = hide(x, inside, rng=rng)
            one, other, truth = (y[:, :, places] for y in (first(hidden), second(hidden), x))
            guessed.add(one - other, truth - other)
            changed += float(np.square(denoised[:, :, places] - other, dtype=np.float64).sum())
            missed += float(np.square(truth - other, dtype=np.float64).sum())
    if changed <= _SEEN * missed and correlation([(x - y)[inner] for x, y in seen]) <= _WHITE:
        return guessed.share()
    return max(guessed.share(), _stein_share(first, second, seen, inner, rng=rng))


def _stein_share(
    first: Callable[[Array], Array],
    second: Callable[[Array], Array],
    seen: Sequence[tuple[Array, Array]],
    inner: Any,
    *,
    rng: np.random.Generator,
) -> float:
    """The share of the least error by Stein's estimate: of `inner` of crops, each with what the second makes of it."""
    told = []
    for x, other in seen:
        one = first(x)
        signs = rng.choice(np.array([-1, 1], np.float32), x.shape)
        nudged = x + np.float32(NUDGE) * signs
        follow = ((first(nudged) - one) - (second(nudged) - other)) * signs / NUDGE
        told.append(tuple(values[inner] for values in (x, one, other, follow)))
    curve = NoiseCurve([x for x, *_ in told], [other for *_, other, _ in told])
    removed = _LeastSquares()
    for x, one, other, follow in told:
        removed.add(one - other, x - other, -float((curve(other) * follow).sum()))
    return removed.share()


def correlation(residuals: Sequence[Array]) -> float:
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
        self._across = self._squares = 0.0

    def add(self, apart: Array, difference: Array, more: float = 0.0) -> None:
        """`more` is added to the sum of their products."""
        apart = apart.astype(np.float64)
        self._across += float((apart * difference).sum()) + more
        self._squares += float(np.square(apart).sum())

    def share(self) -> float:
        """1 where the two are not apart."""
        return min(max(self._across / self._squares, 0.0), 1.0) if self._squares else 1.0


class Blend(Module):
    """share * first(x) + (1 - share) * second(x).

    It is for denoising: it has no way back.

    Parameters
    ----------
    first, second : Module
        Both keep channels, height and width.
    share : float
        In [0, 1].
    """

    def __init__(self, first: Module, second: Module, share: float) -> None:
        super().__init__()
        self.first, self.second, self.share = first, second, share

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> the same."""
        y = empty_nchw(self.output_shape(x.shape), np.result_type(x, np.float32))
        self._mix(self.first(x), self.second(x), y, slice(None))
        return y

    def in_bands(self, x: Array, bands: Bands) -> Array:
        one, other = self.first.in_bands(x, bands), self.second.in_bands(x, bands)
        y = bands.empty(self.output_shape(x.shape))
        return bands.fill(y, lambda rows: self._mix(one, other, y, rows))

    def _mix(self, one: Array, other: Array, y: Array, rows: slice) -> None:
        part = y[:, :, rows]
        np.multiply(one[:, :, rows], self.share, out=part)
        part += other[:, :, rows] * (1 - self.share)

    def backward(self, grad_output: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} is for denoising alone")

    def output_shape(self, shape: Shape) -> Shape:
        self._check_shape(shape)
        self.second.output_shape(shape)
        return self.first.output_shape(shape)

    def most_values(self, shape: Shape) -> int:
        return max(self.first.most_values(shape), self.second.most_values(shape))

    def period(self, axis: int) -> int:
        return math.lcm(self.first.period(axis), self.second.period(axis))

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        spans = [network.input_span(start, stop, axis) for network in (self.first, self.second)]
        return min(first for first, _ in spans), max(last for _, last in spans)


class OfChannels(Module):
    """A network for pictures of other channels than its own: gray goes through as equal channels and comes back as
    their mean, and of RGB each channel goes through a gray network by itself.

    It is for denoising: it has no way back.

    Parameters
    ----------
    network : Module
        Keeps channels, height and width.
    own, channels : int
        The pictures' and the network's; one of them is 1.
    """

    def __init__(self, network: Module, own: int, channels: int) -> None:
        super().__init__()
        self.network, self._own, self._channels = network, own, channels

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> the same."""
        self._check_shape(x.shape, self._own)
        y = self.network(with_channels(x, self._channels))
        return y.reshape(x.shape) if self._own > 1 else y.mean(axis=1, keepdims=True)

    def in_bands(self, x: Array, bands: Bands) -> Array:
        inner = bands.empty(self._inner_shape(x.shape))
        places = inner.reshape(x.shape) if self._own > 1 else inner  # a view
        bands.fill(inner, lambda rows: np.copyto(places[:, :, rows], x[:, :, rows]))
        made = self.network.in_bands(inner, bands)
        if self._own > 1:
            return made.reshape(x.shape)
        y = bands.empty(x.shape)

        def join(rows: slice) -> None:
            np.mean(made[:, :, rows], axis=1, keepdims=True, out=y[:, :, rows])

        return bands.fill(y, join)

    def backward(self, grad_output: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} is for denoising alone")

    def output_shape(self, shape: Shape) -> Shape:
        inner = self._inner_shape(shape)
        made = self.network.output_shape(inner)
        return (*shape[:2], *made[2:]) if made[:2] == inner[:2] else made

    def most_values(self, shape: Shape) -> int:
        each = self.network.most_values(self._inner_shape(shape))
        return each * self._own if self._own > 1 else each

    def period(self, axis: int) -> int:
        return self.network.period(axis)

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        return self.network.input_span(start, stop, axis)

    def _inner_shape(self, shape: Shape) -> Shape:
        """What the network gets of a batch of this shape."""
        self._check_shape(shape, self._own)
        n, c, h, w = shape
        return (n * c, 1, h, w) if c > 1 else (n, self._channels, h, w)


def for_channels(network: Module, own: int, channels: int) -> Module:
    """A network of so many channels as one for pictures of `own`."""
    return network if own == channels else OfChannels(network, own, channels)
