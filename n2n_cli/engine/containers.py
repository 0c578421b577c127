"""Kernels of containers: Sequential, Residual and SkipConcat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from n2n_cli.engine.bands import Bands
from n2n_cli.engine.channels_last import empty_nchw
from n2n_cli.engine.kernel import Kernel, TrainableKernel
from n2n_cli.engine.tape import do
from n2n_cli.errors import ShapeError
from n2n_cli.nn.containers import Sequential
from n2n_cli.nn.functional import Array
from n2n_cli.nn.geometry import placed
from n2n_cli.nn.skips import Residual, SkipConcat


class Step(NamedTuple):
    """Kernel of one or several modules of a Sequential, up to index `last`.

    The first of them is the module after the `last` one of the previous step.
    """

    last: int
    kernel: TrainableKernel


class Chain(TrainableKernel):
    """Kernels of a Sequential, applied one after the other."""

    def __init__(self, network: Sequential, steps: Sequence[Step]) -> None:
        super().__init__(network)
        self._steps = steps
        learning = [i for i, step in enumerate(steps) if step.kernel.learns]
        self._first, self.learns = (learning or [0])[0], bool(learning)
        self.tapes = all(step.kernel.tapes for step in steps)

    def children(self) -> Iterator[Kernel]:
        return (kernel for _, kernel in self._steps)

    def forward(self, x: Array) -> Array:
        shape = x.shape
        for _, kernel in self._steps:
            try:
                x = kernel.forward_inside(x)
            except ShapeError:
                self.geometry.output_shape(shape)  # raises an error that names the module
                raise
        return x

    def in_bands(self, x: Array, bands: Bands) -> Array:
        for _, kernel in self._steps:
            x = kernel.in_bands(x, bands)
        return x

    def backward(self, grad_output: Array) -> Array:
        return self._back(grad_output, self._steps)

    def accumulate(self, grad_output: Array) -> None:
        if self._steps:
            last, first = self._steps[self._first]
            grad_output = self._back(grad_output, self._steps[self._first + 1 :])
            try:
                first.accumulate(grad_output)
            except ShapeError as error:
                raise placed(error, last) from None
            for _, kernel in self._steps[: self._first]:  # they have no parameters
                kernel.train(kernel.training)  # discards the stored values

    def _back(self, grad_output: Array, steps: Sequence[Step]) -> Array:
        for last, kernel in reversed(steps):
            try:
                grad_output = kernel.backward_inside(grad_output)
            except ShapeError as error:
                raise placed(error, last) from None
        return grad_output


class _Bypass(TrainableKernel):
    """Base class: a chain of kernels with a skip connection around it."""

    def __init__(self, network: Residual | SkipConcat, inner: Chain) -> None:
        super().__init__(network)
        self._inner, self.tapes, self.learns = inner, inner.tapes, inner.learns


class ResidualKernel(_Bypass):
    """x + inner(x)."""

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> the same shape."""
        shape = self.geometry.output_shape(x.shape)
        change = self._inner(x)
        self.keep(shape)
        return _sum(x, change)

    def in_bands(self, x: Array, bands: Bands) -> Array:
        shape = self.geometry.output_shape(x.shape)
        change = self._inner.in_bands(x, bands)

        def add(rows: slice) -> None:
            np.add(x[:, :, rows], change[:, :, rows], out=y[:, :, rows])

        y = bands.empty(shape) if change is x else change
        return bands.fill(y, add)

    def backward(self, grad_output: Array) -> Array:
        """Output gradient plus the input gradient of the inner kernels."""
        (shape,) = self.use_up()
        self.check_gradient(grad_output.shape, shape)
        return _sum(grad_output, self._inner.backward(grad_output))

    def accumulate(self, grad_output: Array) -> None:
        (shape,) = self.use_up()
        self.check_gradient(grad_output.shape, shape)
        self._inner.accumulate(grad_output)


class SkipConcatKernel(_Bypass):
    """concatenate(inner(x), x) along the channels."""

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C_made + C, H, W).

        The C_made channels of the inner kernels' output come first.
        """
        shape = self.geometry.output_shape(x.shape)
        made = self._inner(x)
        split = made.shape[1]
        self.keep(shape, split)
        y = empty_nchw(shape, np.result_type(made, x))
        do(np.copyto, y[:, :split], made)
        do(np.copyto, y[:, split:], x)
        return y

    def in_bands(self, x: Array, bands: Bands) -> Array:
        made = self._inner.in_bands(x, bands)
        y, split = bands.empty(self.geometry.output_shape(x.shape)), made.shape[1]

        def join(rows: slice) -> None:
            np.copyto(y[:, :split, rows], made[:, :, rows])
            np.copyto(y[:, split:, rows], x[:, :, rows])

        return bands.fill(y, join)

    def backward(self, grad_output: Array) -> Array:
        """Gradient of the concatenated input plus that from the inner kernels."""
        made, own = self._parts(grad_output)
        return _sum(own, self._inner.backward(made))

    def accumulate(self, grad_output: Array) -> None:
        self._inner.accumulate(self._parts(grad_output)[0])

    def _parts(self, grad_output: Array) -> tuple[Array, Array]:
        shape, split = self.use_up()
        self.check_gradient(grad_output.shape, shape)
        return grad_output[:, :split], grad_output[:, split:]


def _sum(a: Array, b: Array) -> Array:
    """a + b, both (N, C, H, W), channels-last in memory."""
    y = empty_nchw(a.shape, np.result_type(a, b))
    do(np.add, a, b, out=y)
    return y
