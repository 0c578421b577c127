"""Modules made of modules that also lead past them: what residual networks and U-Nets are nested from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Self

import numpy as np

from n2n_cli.engine.bands import Bands
from n2n_cli.engine.channels_last import empty_nchw
from n2n_cli.engine.tape import do
from n2n_cli.errors import ShapeError
from n2n_cli.nn.containers import Sequential
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.module import Module


class _Bypass(Module):
    """What the containers share whose input also goes past a Sequential of their modules.

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

    @property
    def tapes(self) -> bool:  # type: ignore[override]
        return self._inner.tapes

    def prepare(self) -> None:
        self._inner.prepare()

    def output_shape(self, shape: Shape) -> Shape:
        self._check_shape(shape)
        return self._joined_shape(shape, self._inner.output_shape(shape))

    def _joined_shape(self, shape: Shape, made: Shape) -> Shape:
        """The output's shape, from the input's and that of what the modules make of it; `ShapeError` if they differ."""
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

    def most_values(self, shape: Shape) -> int:
        return max(self._inner.most_values(shape), math.prod(self.output_shape(shape)[1:]))

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
        """(N, C, H, W) -> the same."""
        self._check_shape(x.shape)
        change = self._inner(x)
        self._keep(self._joined_shape(x.shape, change.shape))
        return _sum(x, change)

    def in_bands(self, x: Array, bands: Bands) -> Array:
        change = self._inner.in_bands(x, bands)
        self._joined_shape(x.shape, change.shape)

        def add(rows: slice) -> None:
            np.add(x[:, :, rows], change[:, :, rows], out=y[:, :, rows])

        y = bands.empty(x.shape) if change is x else change
        return bands.fill(y, add)

    def backward(self, grad_output: Array) -> Array:
        """The output gradient, and what the modules make of it, added."""
        (shape,) = self._use_up()
        self._check_gradient(grad_output.shape, shape)
        return _sum(grad_output, self._inner.backward(grad_output))

    def accumulate(self, grad_output: Array) -> None:
        (shape,) = self._use_up()
        self._check_gradient(grad_output.shape, shape)
        self._inner.accumulate(grad_output)

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
        self._check_shape(x.shape)
        made = self._inner(x)
        shape = self._joined_shape(x.shape, made.shape)
        split = made.shape[1]
        self._keep(shape, split)
        y = empty_nchw(shape, np.result_type(made, x))
        do(np.copyto, y[:, :split], made)
        do(np.copyto, y[:, split:], x)
        return y

    def in_bands(self, x: Array, bands: Bands) -> Array:
        made = self._inner.in_bands(x, bands)
        y, split = bands.empty(self._joined_shape(x.shape, made.shape)), made.shape[1]

        def join(rows: slice) -> None:
            np.copyto(y[:, :split, rows], made[:, :, rows])
            np.copyto(y[:, split:, rows], x[:, :, rows])

        return bands.fill(y, join)

    def backward(self, grad_output: Array) -> Array:
        """The input's part of the gradient, and what the modules make of theirs, added."""
        made, own = self._parts(grad_output)
        return _sum(own, self._inner.backward(made))

    def accumulate(self, grad_output: Array) -> None:
        self._inner.accumulate(self._parts(grad_output)[0])

    def _parts(self, grad_output: Array) -> tuple[Array, Array]:
        shape, split = self._use_up()
        self._check_gradient(grad_output.shape, shape)
        return grad_output[:, :split], grad_output[:, split:]

    def _joined_shape(self, shape: Shape, made: Shape) -> Shape:
        n, c, h, w = super()._joined_shape(shape, made)
        return (n, made[1] + c, h, w)


def _sum(a: Array, b: Array) -> Array:
    """a + b, both (N, C, H, W), channels-last in memory."""
    y = empty_nchw(a.shape, np.result_type(a, b))
    do(np.add, a, b, out=y)
    return y
