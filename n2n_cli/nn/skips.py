"""Containers whose input also goes past their modules: the parts of residual networks and U-Nets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np

from n2n_cli.errors import ShapeError
from n2n_cli.nn.containers import Sequential
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.module import Module


class _Bypass(Module):
    """A Sequential of modules, and a path around it.

    Their state dicts have the keys of a subclass of `torch.nn.Sequential`: "2.0.weight" for the first module of one
    that is itself number 2.

    Parameters
    ----------
    *modules : Module
        Together they keep height and width.
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
        """Shape of the output, from those of the input and of the modules' output; `ShapeError` if they differ."""
        if made[2:] != shape[2:]:
            rows, columns = self.period(0), self.period(1)
            broken = shape[2] % rows or shape[3] % columns
            multiples = f"it needs H in multiples of {rows} and W in multiples of {columns}"
            raise self._refusal(shape, made, multiples if broken else "they have to keep height and width")
        return shape

    def _refusal(self, shape: Shape, made: Shape, needed: str) -> ShapeError:
        # Its own name alone: written out with all its modules, a network would hide the message.
        name = type(self).__name__
        return ShapeError(f"{name} got an input of shape {shape}, of which its modules make {made}; {needed}")

    def period(self, axis: int) -> int:
        return self._inner.period(axis)

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        first, last = self._inner.input_span(start, stop, axis)
        return min(first, start), max(last, stop)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(" + ", ".join(map(repr, self._inner)) + ")"


class Residual(_Bypass):
    """The input, and what the modules make of it, added: x + modules(x) (He et al. 2016, arXiv:1512.03385).

    Parameters
    ----------
    *modules : Module
        Together they keep channels, height and width.

    Raises
    ------
    ShapeError
        From `forward`, when they do not.
    """

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> the same shape."""
        change = self._inner.forward(x)
        self.keep(self._joined_shape(x.shape, change.shape))
        return x + change

    def backward(self, grad_output: Array) -> Array:
        """The output gradient plus the modules' input gradient."""
        (shape,) = self.use_up()
        self.check_gradient(grad_output.shape, shape)
        return grad_output + self._inner.backward(grad_output)

    def _joined_shape(self, shape: Shape, made: Shape) -> Shape:
        if made[1] != shape[1]:
            raise self._refusal(shape, made, "they have to keep the channels")
        return super()._joined_shape(shape, made)


class SkipConcat(_Bypass):
    """What the modules make of the input, and behind its channels the input's own: concatenate(modules(x), x).

    One in another, with layers that halve and double the picture inside, they are a U-Net (Ronneberger, Fischer, Brox
    2015, arXiv:1505.04597).

    Parameters
    ----------
    *modules : Module
        Together they keep height and width.

    Raises
    ------
    ShapeError
        From `forward`, when they do not.
    """

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C_made + C, H, W), the C_made channels of the modules' output first."""
        made = self._inner.forward(x)
        self.keep(self._joined_shape(x.shape, made.shape), made.shape[1])
        return np.concatenate([made, x], axis=1)

    def backward(self, grad_output: Array) -> Array:
        """The gradient of the input's own channels plus the modules' input gradient."""
        shape, split = self.use_up()
        self.check_gradient(grad_output.shape, shape)
        return grad_output[:, split:] + self._inner.backward(grad_output[:, :split])

    def _joined_shape(self, shape: Shape, made: Shape) -> Shape:
        n, c, h, w = super()._joined_shape(shape, made)
        return (n, made[1] + c, h, w)
