"""What modules one after the other do to shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from n2n_cli.errors import ShapeError
from n2n_cli.nn.functional import Shape
from n2n_cli.nn.module import Module


class Chain:
    """Modules one after the other, as far as shapes go; its methods are those of a module."""

    def __init__(self, modules: Sequence[Module]) -> None:
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
        # A shift of s input pixels is s / step pixels before a module, and has to be a multiple of its own period.
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
    """The same error, saying which module of the Sequential it came from."""
    return ShapeError(f"layer {position}: {error.message}", hint=error.hint)
