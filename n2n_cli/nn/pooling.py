"""Max pooling."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from n2n_cli.errors import ShapeError
from n2n_cli.nn import arguments
from n2n_cli.nn import functional as F
from n2n_cli.nn.arguments import IntOrPair
from n2n_cli.nn.functional import Array, Pair, Shape
from n2n_cli.nn.module import Module


class MaxPool2d(Module):
    """Maximum of each window, as `torch.nn.MaxPool2d`.

    If several values of a window are equal to the maximum, the first gets the gradient.

    Parameters
    ----------
    kernel_size : int or (rows, columns)
        Size of the window, in pixels.
    stride : int or (rows, columns), optional
        Distance between windows, in pixels; by default `kernel_size`.

    Raises
    ------
    ArgumentError
        From the constructor, if an argument is out of range.
    ShapeError
        From `forward`, if `x` is smaller than a window.
    """

    def __init__(self, kernel_size: IntOrPair, stride: IntOrPair | None = None) -> None:
        super().__init__()
        self.kernel_size = arguments.pair("kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else arguments.pair("stride", stride, 1)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, H_out, W_out), H_out = (H - K) // stride + 1."""
        windows = F.unfold(x, self.kernel_size, self.stride, (0, 0), (1, 1))  # (N, H_out, W_out, C, K, K)
        values = windows.reshape(*windows.shape[:4], math.prod(self.kernel_size))
        first = values.argmax(axis=-1)[..., None]  # (N, H_out, W_out, C, 1): index of the first maximum
        self.keep(first, x.shape)
        return np.moveaxis(np.take_along_axis(values, first, axis=-1)[..., 0], -1, 1)

    def backward(self, grad_output: Array) -> Array:
        """Gradient with respect to `x`, routed to the first maximum of a window."""
        first, x_shape = self.use_up()
        self.check_gradient(grad_output.shape, self.output_shape(x_shape))
        windows = np.zeros((*first.shape[:4], math.prod(self.kernel_size)), grad_output.dtype)
        np.put_along_axis(windows, first, np.moveaxis(grad_output, 1, -1)[..., None], axis=-1)
        windows = windows.reshape(*first.shape[:4], *self.kernel_size)
        return F.fold(windows, x_shape, self.stride, (0, 0), (1, 1))

    def output_shape(self, shape: Shape) -> Shape:
        self.check_shape(shape)
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
