"""Pictures of other channels than a network's."""

from __future__ import annotations

import numpy as np

from n2n_cli.engine.bands import Bands
from n2n_cli.nn import Module
from n2n_cli.nn.functional import Array, Shape


def with_channels(x: Array, channels: int) -> Array:
    """(N, C, H, W) for a network of so many channels: gray repeated; of RGB for a gray network, each by itself."""
    own = x.shape[1]
    if own == channels:
        return x
    return np.repeat(x, channels, axis=1) if own == 1 else x.reshape(-1, 1, *x.shape[2:])


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
