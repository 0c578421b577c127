"""Two denoisers as one."""

from __future__ import annotations

import math

import numpy as np

from n2n_cli.engine.bands import Bands
from n2n_cli.engine.channels_last import empty_nchw
from n2n_cli.nn import Module
from n2n_cli.nn.functional import Array, Shape


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
