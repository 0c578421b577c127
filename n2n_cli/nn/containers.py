"""Modules made of modules: one after the other. `skips` has those that lead past them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Self

from n2n_cli.engine.bands import Bands
from n2n_cli.engine.fusion import Step, fuse
from n2n_cli.errors import ShapeError
from n2n_cli.nn.composition import Chain, placed
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.module import Module


class Sequential(Module):
    """Modules one after the other. Its state dict has the keys of the same `torch.nn.Sequential`.

    Where neighbours have a faster joint form (see `fused`), that is used; the result is the same up to rounding.

    Parameters
    ----------
    *modules : Module
        Each may stand in it once: a module keeps what the backward pass needs of one forward pass only.
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        for i, module in enumerate(modules):
            if any(module is earlier for earlier in modules[:i]):
                raise ValueError(f"{module} stands twice in a Sequential (again as number {i}); make a second one")
        self._modules, self._chain = modules, Chain(modules)
        self._steps = fuse(modules)
        self._joint = [step.module for step in self._steps if step.module not in modules]
        learning = (i for i, step in enumerate(self._steps) if step.module.param())
        self._first = next(learning, 0)  # the first step with parameters

    def children(self) -> Iterator[tuple[str, Module]]:
        return ((str(i), module) for i, module in enumerate(self._modules))

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules)

    def __getitem__(self, i: int) -> Module:
        return self._modules[i]

    def forward(self, x: Array) -> Array:
        """The output of the last module."""
        shape = x.shape
        for _, step in self._steps:
            try:
                x = step(x)
            except ShapeError:
                self.output_shape(shape)  # says which module it is
                raise
        return x

    def in_bands(self, x: Array, bands: Bands) -> Array:
        for _, step in self._steps:
            x = step.in_bands(x, bands)
        return x

    def backward(self, grad_output: Array) -> Array:
        """The gradient with respect to the first module's input."""
        return self._back(grad_output, self._steps)

    def accumulate(self, grad_output: Array) -> None:
        if self._steps:
            last, first = self._steps[self._first]
            grad_output = self._back(grad_output, self._steps[self._first + 1 :])
            try:
                first.accumulate(grad_output)
            except ShapeError as error:
                raise placed(error, last) from None
            for _, step in self._steps[: self._first]:  # they have nothing to learn
                step.train(step.training)  # drops what they kept

    def _back(self, grad_output: Array, steps: Sequence[Step]) -> Array:
        for last, step in reversed(steps):
            try:
                grad_output = step.backward(grad_output)
            except ShapeError as error:
                raise placed(error, last) from None
        return grad_output

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self._joint:
            module.train(mode)
        return self

    @property
    def tapes(self) -> bool:  # type: ignore[override]
        return all(step.module.tapes for step in self._steps)

    def prepare(self) -> None:
        for _, step in self._steps:
            step.prepare()

    def output_shape(self, shape: Shape) -> Shape:
        return self._chain.output_shape(shape)

    def most_values(self, shape: Shape) -> int:
        most = math.prod(shape[1:])
        for module in self._modules:
            most = max(most, module.most_values(shape))
            shape = module.output_shape(shape)
        return most

    def step(self, axis: int) -> Fraction:
        return self._chain.step(axis)

    def period(self, axis: int) -> int:
        return self._chain.period(axis)

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        return self._chain.input_span(start, stop, axis)

    def __repr__(self) -> str:
        return "Sequential(" + ", ".join(map(repr, self._modules)) + ")"
