"""The layer that keeps the largest value of every window."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from n2n_cli.engine.channels_last import empty_nchw
from n2n_cli.engine.tape import do
from n2n_cli.errors import ShapeError
from n2n_cli.nn import arguments
from n2n_cli.nn import functional as F
from n2n_cli.nn.arguments import IntOrPair
from n2n_cli.nn.functional import Array, Pair, Shape
from n2n_cli.nn.module import Module


class MaxPool2d(Module):
    """The largest value of each window, as `torch.nn.MaxPool2d`; among equal ones the gradient goes to the first.

    Parameters
    ----------
    kernel_size : int or (rows, columns)
        Size of the window, in pixels.
    stride : int or (rows, columns), optional
        From one window to the next, in pixels; by default the window's size.

    Raises
    ------
    ArgumentError
        From the constructor, when an argument is out of range.
    ShapeError
        From `forward`, when `x` is smaller than a window.
    """

    tapes = True

    def __init__(self, kernel_size: IntOrPair, stride: IntOrPair | None = None) -> None:
        super().__init__()
        self.kernel_size = arguments.pair("kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else arguments.pair("stride", stride, 1)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, H_out, W_out), H_out = (H - K) // stride + 1."""
        shape = self.output_shape(x.shape)
        taps = self._taps(x, shape)
        y = empty_nchw(shape, x.dtype)
        do(np.copyto, y, taps[0])
        for tap in taps[1:]:
            do(np.maximum, y, tap, out=y)
        if self.training:
            self._keep(_firsts(taps, y), x.shape, shape)
        return y

    def backward(self, grad_output: Array) -> Array:
        """Gradient with respect to `x`: that of every window goes to its first largest value."""
        firsts, x_shape, shape = self._use_up()
        self._check_gradient(grad_output.shape, shape)
        grad = empty_nchw(x_shape, grad_output.dtype)
        overlap = any(self.kernel_size[a] > self.stride[a] for a in (0, 1))
        if overlap or any(self.kernel_size[a] * shape[2 + a] < x_shape[2 + a] for a in (0, 1)):
            do(np.copyto, grad, 0)
        part = empty_nchw(shape, grad_output.dtype) if overlap else None
        for first, tap in zip(firsts, self._taps(grad, shape), strict=True):
            if part is None:
                do(np.multiply, grad_output, first, out=tap)
            else:
                do(np.multiply, grad_output, first, out=part)
                do(np.add, tap, part, out=tap)
        return grad

    def _taps(self, x: Array, shape: Shape) -> list[Array]:
        """The values at one place of all windows, for every place, row by row: views (N, C, H_out, W_out)."""
        (sh, sw), (_, _, h, w) = self.stride, shape
        return [
            x[:, :, i : i + (h - 1) * sh + 1 : sh, j : j + (w - 1) * sw + 1 : sw]
            for i in range(self.kernel_size[0])
            for j in range(self.kernel_size[1])
        ]

    def output_shape(self, shape: Shape) -> Shape:
        self._check_shape(shape)
        h, w = self._output_size(shape)
        if h < 1 or w < 1:
            rows, columns = self.kernel_size
            raise ShapeError(f"{self} got an input of shape {shape}, it needs H >= {rows} and W >= {columns}")
        return (*shape[:2], h, w)

    def _output_size(self, shape: Shape) -> Pair:
        h, w = (F.conv_output_size(shape[2 + a], self.kernel_size[a], self.stride[a], 0, 1) for a in (0, 1))
        return h, w

    def step(self, axis: int) -> Fraction:
        return Fraction(self.stride[axis])

    def period(self, axis: int) -> int:
        return self.stride[axis]

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        return start * self.stride[axis], (stop - 1) * self.stride[axis] + self.kernel_size[axis]

    def __repr__(self) -> str:
        return f"MaxPool2d(kernel_size={self.kernel_size}, stride={self.stride})"


def _firsts(taps: list[Array], largest: Array) -> list[Array]:
    """For every place in a window, whether its value is the first that is the window's largest."""
    firsts: list[Array] = []
    found = empty_nchw(largest.shape, np.bool_)
    do(np.copyto, found, False)
    for tap in taps:
        first = empty_nchw(largest.shape, np.bool_)
        do(np.equal, tap, largest, out=first)
        do(np.greater, first, found, out=first)
        do(np.logical_or, found, first, out=found)
        firsts.append(first)
    return firsts
