"""Activation functions: element-wise layers."""

from __future__ import annotations

import numpy as np

from n2n_cli.nn import arguments
from n2n_cli.nn.functional import Array
from n2n_cli.nn.module import Module


class ReLU(Module):
    """max(x, 0); the gradient at 0 is 0, as in PyTorch."""

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> the same shape."""
        return self.keep(np.maximum(x, 0))

    def backward(self, grad_output: Array) -> Array:
        """The output gradient where x > 0, zero elsewhere."""
        (y,) = self.use_up()
        self.check_gradient(grad_output.shape, y.shape)
        return np.where(y > 0, grad_output, 0)


class LeakyReLU(Module):
    """x where x > 0, negative_slope * x elsewhere.

    The gradient at 0 is negative_slope, as in PyTorch.

    Parameters
    ----------
    negative_slope : float
        Above 0 and at most 1.

    Raises
    ------
    ArgumentError
        From the constructor, if the slope is out of range.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = arguments.number(
            "negative_slope", negative_slope, "a number above 0 and at most 1", lambda value: 0 < value <= 1
        )

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> the same shape."""
        return self.keep(np.maximum(x, self.negative_slope * x))

    def backward(self, grad_output: Array) -> Array:
        """The output gradient where x > 0, negative_slope times it elsewhere."""
        (y,) = self.use_up()  # y > 0 exactly where x > 0
        self.check_gradient(grad_output.shape, y.shape)
        return np.where(y > 0, grad_output, self.negative_slope * grad_output)

    def __repr__(self) -> str:
        return f"LeakyReLU(negative_slope={self.negative_slope})"


class Sigmoid(Module):
    """1 / (1 + exp(-x)), without overflow for any x."""

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> the same shape, values in [0, 1]."""
        with np.errstate(over="ignore"):  # exp may be infinite; its reciprocal is then 0, as it should be
            return self.keep(1 / (1 + np.exp(-x)))

    def backward(self, grad_output: Array) -> Array:
        """grad_output * y * (1 - y), y being the output."""
        (y,) = self.use_up()
        self.check_gradient(grad_output.shape, y.shape)
        grad: Array = grad_output * y * (1 - y)
        return grad
