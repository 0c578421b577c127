"""The mean of a network's outputs for the eight turns and flips of a picture: it errs less than each of them.

References
----------
Timofte, Rothe, Van Gool (2016), "Seven ways to improve example-based single image super resolution", arXiv:1511.02228,
section 3.6: enhanced prediction.
"""

from __future__ import annotations

import math

import numpy as np

from n2n_cli.engine.bands import Bands
from n2n_cli.engine.channels_last import empty_nchw
from n2n_cli.images.pixels import flip_rotate, undo_flip_rotate
from n2n_cli.nn import Module
from n2n_cli.nn.functional import Array, Shape

_SIDES = (2, 3)  # axes of the height and the width


class SelfEnsemble(Module):
    """The mean of what a network makes of the eight turns and mirror images of its input, turned back.

    It is for denoising: it has no way back.

    Parameters
    ----------
    network : Module
        Keeps the height and width of pictures whose sides are whole periods.
    """

    def __init__(self, network: Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> the same."""
        total = empty_nchw(self.output_shape(x.shape), np.result_type(x, np.float32))
        total.fill(0)
        for way in range(8):
            total += undo_flip_rotate(self.network(flip_rotate(x, way, _SIDES)), way, _SIDES)
        total *= 1 / 8
        return total

    def in_bands(self, x: Array, bands: Bands) -> Array:
        total = bands.empty(self.output_shape(x.shape))
        for way in range(8):
            self._add(way, total, x, bands)
        return total

    def _add(self, way: int, total: Array, x: Array, bands: Bands) -> None:
        """Add one way's part to the mean; the first one is where it begins."""
        y = undo_flip_rotate(self.network.in_bands(flip_rotate(x, way, _SIDES), bands), way, _SIDES)

        def add(rows: slice) -> None:
            part = total[:, :, rows]
            np.multiply(y[:, :, rows], 1 / 8, out=part) if way == 0 else np.add(part, y[:, :, rows] / 8, out=part)

        bands.fill(total, add)

    def backward(self, grad_output: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} is for denoising alone")

    def output_shape(self, shape: Shape) -> Shape:
        return self.network.output_shape(shape)

    def most_values(self, shape: Shape) -> int:
        return self.network.most_values(shape)

    def period(self, axis: int) -> int:
        return math.lcm(self.network.period(0), self.network.period(1))

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        period = self.period(axis)
        start, stop = start // period * period, stop + -stop % period  # so that they are the same when turned
        spans = [self.network.input_span(start, stop, own) for own in (0, 1)]
        reach = max(max(start - first, last - stop) for first, last in spans)
        return start - reach, stop + reach
