"""Sequential container; containers with skip connections are in `skips`."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from n2n_cli.errors import ShapeError
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.geometry import Composition, placed
from n2n_cli.nn.module import Module


class Sequential(Module):
    """Modules applied one after the other.

    The state dict has the same keys as that of a `torch.nn.Sequential`.

    Parameters
    ----------
    *modules : Module
        Each may occur only once: a module stores the values of one forward pass for its backward pass.
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        seen: set[int] = set()
        for i, module in enumerate(modules):
            if id(module) in seen:
                raise ValueError(f"{module} occurs twice in a Sequential (again at position {i}); create a second one")
            seen.add(id(module))
        self._modules, self._shapes = modules, Composition(modules)

    def children(self) -> Iterator[tuple[str, Module]]:
        return ((str(i), module) for i, module in enumerate(self._modules))

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules)

    def __getitem__(self, i: int) -> Module:
        return self._modules[i]

    def forward(self, x: Array) -> Array:
        """Output of the last module."""
        for module in self._modules:
            x = module.forward(x)
        return x

    def backward(self, grad_output: Array) -> Array:
        """Gradient with respect to the first module's input."""
        for i, module in reversed(list(enumerate(self._modules))):
            try:
                grad_output = module.backward(grad_output)
            except ShapeError as error:
                raise placed(error, i) from None
        return grad_output

    def output_shape(self, shape: Shape) -> Shape:
        return self._shapes.output_shape(shape)

    def step(self, axis: int) -> Fraction:
        return self._shapes.step(axis)

    def period(self, axis: int) -> int:
        return self._shapes.period(axis)

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        return self._shapes.input_span(start, stop, axis)

    def __repr__(self) -> str:
        return "Sequential(" + ", ".join(map(repr, self._modules)) + ")"
