"""Adapt images to a network with another number of channels."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from n2n_cli.engine.bands import Bands
from n2n_cli.engine.channels_last import empty_nchw
from n2n_cli.engine.kernel import Kernel
from n2n_cli.engine.tape import do
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.geometry import Geometry


class ForChannels(Kernel, Geometry):
    """A network for images with another number of channels than its own.

    A gray image is repeated along the network's channels, and the output is their mean. Each channel of another image
    is processed as a gray image.

    Parameters
    ----------
    inner : Kernel
        The network; its output has the shape of its input.
    image_channels, network_channels : int
        Number of channels of the images, and of the network.
    """

    def __init__(self, inner: Kernel, image_channels: int, network_channels: int) -> None:
        super().__init__(self)
        self._inner, self.tapes = inner, inner.tapes
        self._own, self._channels = image_channels, network_channels

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> the same shape."""
        self.check_shape(x.shape, self._own)
        inner = empty_nchw(self._inner_shape(x.shape), x.dtype)
        do(np.copyto, self._by_channel(inner, x.shape), x[..., None])
        made = self._by_channel(self._inner(inner), x.shape)
        y = empty_nchw(x.shape, made.dtype)
        self._average(made, y)
        return y

    def in_bands(self, x: Array, bands: Bands) -> Array:
        inner, y = bands.empty(self._inner_shape(x.shape)), bands.empty(x.shape)
        places = self._by_channel(inner, x.shape)
        bands.fill(inner, lambda rows: np.copyto(places[:, :, rows], x[:, :, rows, :, None]))
        made = self._by_channel(self._inner.in_bands(inner, bands), x.shape)
        return bands.fill(y, lambda rows: self._average(made[:, :, rows], y[:, :, rows]))

    def _by_channel(self, inner: Array, shape: Shape) -> Array:
        """View of a channels-last array with the images' channels as an axis.

        (N * own, channels, H, W) -> (N, own, H, W, channels).
        """
        return inner.transpose(0, 2, 3, 1).reshape(*shape, self._channels)

    def _average(self, made: Array, y: Array) -> None:
        """Fill y, (N, own, H, W), with the mean of (N, own, H, W, channels)."""
        if self._channels == 1:
            do(np.copyto, y, made[..., 0])
        else:
            do(np.mean, made, axis=-1, out=y)

    def output_shape(self, shape: Shape) -> Shape:
        inner = self._inner_shape(shape)
        made = self._inner.geometry.output_shape(inner)
        return (*shape[:2], *made[2:]) if made[:2] == inner[:2] else made

    def step(self, axis: int) -> Fraction:
        return self._inner.geometry.step(axis)

    def period(self, axis: int) -> int:
        return self._inner.geometry.period(axis)

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        return self._inner.geometry.input_span(start, stop, axis)

    def most_values(self, shape: Shape) -> int:
        return self._own * self._inner.most_values(self._inner_shape(shape))

    def _inner_shape(self, shape: Shape) -> Shape:
        """Shape of the network's input for images of this shape."""
        self.check_shape(shape, self._own)
        n, own, h, w = shape
        return n * own, self._channels, h, w
