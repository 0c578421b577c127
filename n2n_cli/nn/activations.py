"""Layers that act on every value by itself. The output lies in memory as the input does."""

from __future__ import annotations

import numpy as np

from n2n_cli.engine.pool import empty_like
from n2n_cli.engine.tape import do
from n2n_cli.nn import arguments
from n2n_cli.nn.functional import Array
from n2n_cli.nn.module import Module


class ReLU(Module):
    """max(x, 0). The gradient at 0 is 0, as in PyTorch."""

    tapes = True

    def forward(self, x: Array) -> Array:
        """Any shape (N, C, H, W) -> the same."""
        self._check_shape(x.shape)
        y = empty_like(x)
        do(np.copyto, y, 0)  # `maximum` of two arrays is several times faster than that of an array and a number
        do(np.maximum, x, y, out=y)
        self._keep(y)
        return y

    def backward(self, grad_output: Array) -> Array:
        """The output gradient where x > 0, zero elsewhere."""
        (y,) = self._use_up()
        self._check_gradient(grad_output.shape, y.shape)
        grad = empty_like(grad_output)
        do(np.greater, y, 0, out=grad)
        do(np.multiply, grad, grad_output, out=grad)
        return grad


class LeakyReLU(Module):
    """x where it is above 0, negative_slope * x elsewhere. The gradient at 0 is the slope, as in PyTorch.

    Parameters
    ----------
    negative_slope : float
        Above 0 and at most 1.

    Raises
    ------
    ArgumentError
        From the constructor, when the slope is out of range.
    """

    tapes = True

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = arguments.number(
            "negative_slope", negative_slope, "a number above 0 and at most 1", lambda value: 0 < value <= 1
        )

    def forward(self, x: Array) -> Array:
        """Any shape (N, C, H, W) -> the same."""
        self._check_shape(x.shape)
        y = empty_like(x)
        do(np.multiply, x, self.negative_slope, out=y)
        do(np.maximum, x, y, out=y)
        self._keep(y)
        return y

    def backward(self, grad_output: Array) -> Array:
        """The output gradient where x > 0, negative_slope times it elsewhere."""
        (y,) = self._use_up()  # above 0 where x is
        self._check_gradient(grad_output.shape, y.shape)
        grad, slopes = empty_like(grad_output), empty_like(grad_output)
        do(np.copyto, slopes, self.negative_slope)
        do(np.greater, y, 0, out=grad)
        do(np.maximum, grad, slopes, out=grad)
        do(np.multiply, grad, grad_output, out=grad)
        return grad

    def __repr__(self) -> str:
        return f"LeakyReLU(negative_slope={self.negative_slope})"


class Sigmoid(Module):
    """1 / (1 + exp(-x)), for any x without overflow."""

    tapes = True

    def forward(self, x: Array) -> Array:
        """Any shape (N, C, H, W) -> the same, values in [0, 1]."""
        self._check_shape(x.shape)
        y = empty_like(x)
        do(np.negative, x, out=y)
        do(_exp, y, out=y)
        do(np.add, y, 1, out=y)
        do(np.reciprocal, y, out=y)
        self._keep(y)
        return y

    def backward(self, grad_output: Array) -> Array:
        """grad_output * y * (1 - y), y being the output."""
        (y,) = self._use_up()
        self._check_gradient(grad_output.shape, y.shape)
        grad = empty_like(y)
        do(np.subtract, 1, y, out=grad)
        do(np.multiply, grad, y, out=grad)
        do(np.multiply, grad, grad_output, out=grad)
        return grad


def _exp(x: Array, *, out: Array) -> None:
    """exp(x), infinite where it is too large: a Sigmoid's reciprocal of it is then the 0 that it should be."""
    with np.errstate(over="ignore"):
        np.exp(x, out=out)
