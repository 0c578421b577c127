"""Two denoisers as one, and one for pictures of other channels."""

from __future__ import annotations

import math

import numpy as np

from n2n_cli.nn import Module
from n2n_cli.nn.bands import Bands
from n2n_cli.nn.channels_last import empty_nchw
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.single_image.learner import with_channels


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
