"""Output shapes and receptive fields of modules.

Axis 0 is rows (H), axis 1 is columns (W).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from n2n_cli.errors import ShapeError
from n2n_cli.nn.functional import Shape


class Geometry:
    """Geometry of an element-wise module; other modules override its methods."""

    def output_shape(self, shape: Shape) -> Shape:
        """Output shape for an input of `shape` (N, C, H, W).

        Raises
        ------
        ShapeError
            If the module does not accept the shape; names the module and the shape it needs.
        """
        self.check_shape(shape)
        return shape

    def step(self, axis: int) -> Fraction:
        """Input pixels per output pixel along an axis.

        2 for a stride of 2, 1/2 for upsampling by 2.
        """
        return Fraction(1)

    def period(self, axis: int) -> int:
        """Smallest shift of the input, in pixels, that only shifts the output."""
        return 1

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        """Input rows or columns that the outputs `start` to `stop - 1` depend on.

        Returned as (first, last + 1). The range may extend beyond the image on either side, into the padding.
        """
        return start, stop

    def check_shape(self, shape: Shape, channels: int | None = None) -> None:
        """Raise `ShapeError` unless `shape` is (N, C, H, W).

        If `channels` is given, C has to equal it.
        """
        if len(shape) != 4 or (channels is not None and shape[1] != channels) or 0 in shape[1:]:
            needed = "C" if channels is None else channels
            raise ShapeError(f"{self} got an input of shape {shape}, it needs (N, {needed}, H, W)")


class Composition(Geometry):
    """Geometry of modules applied one after the other."""

    def __init__(self, modules: Sequence[Geometry]) -> None:
        self._modules = modules

    def output_shape(self, shape: Shape) -> Shape:
        for i, module in enumerate(self._modules):
            try:
                shape = module.output_shape(shape)
            except ShapeError as error:
                raise placed(error, i) from None
        return shape

    def step(self, axis: int) -> Fraction:
        return math.prod((module.step(axis) for module in self._modules), start=Fraction(1))

    def period(self, axis: int) -> int:
        # A shift by s pixels of the network's input shifts a module's input by s / step pixels, where step is the
        # product of the steps before it; that has to be a multiple of the module's own period.
        step, period = Fraction(1), 1
        for module in self._modules:
            period = math.lcm(period, (step * module.period(axis)).numerator)
            step *= module.step(axis)
        return math.lcm(period, step.numerator)

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        for module in reversed(self._modules):
            start, stop = module.input_span(start, stop, axis)
        return start, stop


def placed(error: ShapeError, position: int) -> ShapeError:
    """The same error with the module's position in its Sequential."""
    return ShapeError(f"layer {position}: {error.message}", hint=error.hint)
