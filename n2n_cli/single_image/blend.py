"""Weighted average of two denoisers.

Both run on the same tile, so the average needs no second pass over the picture. Its weight, `share`, is the fraction of
the first denoiser in the result; `blend_weights` estimates it.
"""

from __future__ import annotations

import math

import numpy as np

from n2n_cli.engine.bands import Bands
from n2n_cli.engine.channels_last import empty_nchw
from n2n_cli.engine.kernel import Kernel
from n2n_cli.models.predictor import Predictor
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.geometry import Geometry


def blended(first: Predictor, second: Predictor, share: float) -> Predictor:
    """Predictor that returns share * first + (1 - share) * second.

    Both predictors take images of the same number of channels.
    """
    kernel = Blend(first.executor.kernel, second.executor.kernel, share)
    parameters = [*first.executor.parameters, *second.executor.parameters]
    return Predictor(kernel, parameters, first.channels, threads=first.threads)


class Blend(Kernel, Geometry):
    """share * first(x) + (1 - share) * second(x).

    Parameters
    ----------
    first, second : Kernel
        Both keep channels, height and width.
    share : float
        Weight of the first, in [0, 1].
    """

    def __init__(self, first: Kernel, second: Kernel, share: float) -> None:
        super().__init__(self)
        self._first, self._second, self._share = first, second, share

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> the same shape."""
        y = empty_nchw(self.output_shape(x.shape), np.result_type(x, np.float32))
        self._mix(self._first(x), self._second(x), y, slice(None))
        return y

    def in_bands(self, x: Array, bands: Bands) -> Array:
        one, other = self._first.in_bands(x, bands), self._second.in_bands(x, bands)
        y = bands.empty(self.output_shape(x.shape))
        return bands.fill(y, lambda rows: self._mix(one, other, y, rows))

    def _mix(self, one: Array, other: Array, y: Array, rows: slice) -> None:
        part = y[:, :, rows]
        np.multiply(one[:, :, rows], self._share, out=part)
        part += other[:, :, rows] * (1 - self._share)

    def output_shape(self, shape: Shape) -> Shape:
        self.check_shape(shape)
        self._second.geometry.output_shape(shape)
        return self._first.geometry.output_shape(shape)

    def most_values(self, shape: Shape) -> int:
        return max(self._first.most_values(shape), self._second.most_values(shape))

    def period(self, axis: int) -> int:
        return math.lcm(self._first.geometry.period(axis), self._second.geometry.period(axis))

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        spans = [kernel.geometry.input_span(start, stop, axis) for kernel in (self._first, self._second)]
        return min(first for first, _ in spans), max(last for _, last in spans)
