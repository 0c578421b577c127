"""Containers with a skip connection, for residual networks and U-Nets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np

from n2n_cli.errors import ShapeError
from n2n_cli.nn.containers import Sequential
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.module import Module


class _Bypass(Module):
    """Base class: a Sequential of modules with a skip connection around it.

    State dict keys are those of a subclass of `torch.nn.Sequential`: "2.0.weight" for the first module of a container
    at position 2.

    Parameters
    ----------
    *modules : Module
        As a whole they keep height and width.
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        self._inner = Sequential(*modules)

    def children(self) -> Iterator[tuple[str, Module]]:
        return self._inner.children()

    def __len__(self) -> int:
        return len(self._inner)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._inner)

    def __getitem__(self, i: int) -> Module:
        return self._inner[i]

    def train(self, mode: bool = True) -> Self:
        self.training, self._kept = mode, None
        self._inner.train(mode)
        return self

    def output_shape(self, shape: Shape) -> Shape:
        self.check_shape(shape)
        return self._joined_shape(shape, self._inner.output_shape(shape))

    def _joined_shape(self, shape: Shape, made: Shape) -> Shape:
        """Output shape, from the input shape and that of the modules' output.

        Raises `ShapeError` if they do not match.
        """
        if made[2:] != shape[2:]:
            rows, columns = self.period(0), self.period(1)
            broken = shape[2] % rows or shape[3] % columns
            multiples = f"it needs H in multiples of {rows} and W in multiples of {columns}"
            raise self._refusal(shape, made, multiples if broken else "they have to keep height and width")
        return shape

    def _refusal(self, shape: Shape, made: Shape, needed: str) -> ShapeError:
        # Only the name of the class: a repr with all modules would be far longer than the message.
        name = type(self).__name__
        return ShapeError(f"{name} got an input of shape {shape}, its modules return {made}; {needed}")

    def period(self, axis: int) -> int:
        return self._inner.period(axis)

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        first, last = self._inner.input_span(start, stop, axis)
        return min(first, start), max(last, stop)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(" + ", ".join(map(repr, self._inner)) + ")"


class Residual(_Bypass):
    """Residual connection: x + modules(x).

    Parameters
    ----------
    *modules : Module
        As a whole they keep channels, height and width.

    Raises
    ------
    ShapeError
        From `forward`, if the modules change the shape.

    References
    ----------
    He et al. (2016), arXiv:1512.03385.
    """

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> the same shape."""
        change = self._inner.forward(x)
        self.keep(self._joined_shape(x.shape, change.shape))
        return x + change

    def backward(self, grad_output: Array) -> Array:
        """Output gradient plus the input gradient of the modules."""
        (shape,) = self.use_up()
        self.check_gradient(grad_output.shape, shape)
        return grad_output + self._inner.backward(grad_output)

    def _joined_shape(self, shape: Shape, made: Shape) -> Shape:
        if made[1] != shape[1]:
            raise self._refusal(shape, made, "they have to keep the channels")
        return super()._joined_shape(shape, made)


class SkipConcat(_Bypass):
    """Skip connection by concatenation of channels: concatenate(modules(x), x).

    Nested, with layers that downsample and upsample by 2 inside, these form a U-Net (Ronneberger, Fischer, Brox 2015,
    arXiv:1505.04597).

    Parameters
    ----------
    *modules : Module
        As a whole they keep height and width.

    Raises
    ------
    ShapeError
        From `forward`, if the modules change height or width.
    """

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C_made + C, H, W).

        The C_made channels of the modules' output come first.
        """
        made = self._inner.forward(x)
        self.keep(self._joined_shape(x.shape, made.shape), made.shape[1])
        return np.concatenate([made, x], axis=1)

    def backward(self, grad_output: Array) -> Array:
        """Gradient of the concatenated input plus that from the modules."""
        shape, split = self.use_up()
        self.check_gradient(grad_output.shape, shape)
        return grad_output[:, split:] + self._inner.backward(grad_output[:, :split])

    def _joined_shape(self, shape: Shape, made: Shape) -> Shape:
        n, c, h, w = super()._joined_shape(shape, made)
        return (n, made[1] + c, h, w)
