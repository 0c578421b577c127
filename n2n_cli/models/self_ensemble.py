"""Self-ensemble: average over the eight flips and rotations of an image.

The errors of the eight outputs are partly independent, so their average has a smaller error than each output.

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
from n2n_cli.engine.kernel import Kernel
from n2n_cli.images.pixels import flip_rotate, undo_flip_rotate
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.geometry import Geometry

_SIDES = (2, 3)  # axes of the height and the width


class SelfEnsemble(Kernel, Geometry):
    """Average of a network's outputs for the eight flips and rotations of its input.

    Each output is flipped and rotated back before averaging.

    Parameters
    ----------
    inner : Kernel
        The network. It keeps the height and width of images whose sides are multiples of its period.
    """

    def __init__(self, inner: Kernel) -> None:
        super().__init__(self)
        self._inner = inner

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> the same shape."""
        total = empty_nchw(self.output_shape(x.shape), np.result_type(x, np.float32))
        total.fill(0)
        for variant in range(8):
            total += undo_flip_rotate(self._inner(flip_rotate(x, variant, _SIDES)), variant, _SIDES)
        total *= 1 / 8
        return total

    def in_bands(self, x: Array, bands: Bands) -> Array:
        total = bands.empty(self.output_shape(x.shape))
        for variant in range(8):
            self._add(variant, total, x, bands)
        return total

    def _add(self, variant: int, total: Array, x: Array, bands: Bands) -> None:
        """Add one of the eight outputs to the average; the first overwrites `total`."""
        y = undo_flip_rotate(self._inner.in_bands(flip_rotate(x, variant, _SIDES), bands), variant, _SIDES)

        def add(rows: slice) -> None:
            part = total[:, :, rows]
            np.multiply(y[:, :, rows], 1 / 8, out=part) if variant == 0 else np.add(part, y[:, :, rows] / 8, out=part)

        bands.fill(total, add)

    def output_shape(self, shape: Shape) -> Shape:
        return self._inner.geometry.output_shape(shape)

    def most_values(self, shape: Shape) -> int:
        return self._inner.most_values(shape)

    def period(self, axis: int) -> int:
        return math.lcm(self._inner.geometry.period(0), self._inner.geometry.period(1))

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        period = self.period(axis)
        start, stop = start // period * period, stop + -stop % period  # whole periods stay aligned when rotated
        spans = [self._inner.geometry.input_span(start, stop, own) for own in (0, 1)]
        reach = max(max(start - first, last - stop) for first, last in spans)
        return start - reach, stop + reach
