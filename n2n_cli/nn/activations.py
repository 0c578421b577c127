"""Layers that act on every value by itself."""

from __future__ import annotations

import numpy as np

from n2n_cli.nn.functional import Array
from n2n_cli.nn.memory import empty_like
from n2n_cli.nn.module import Module
from n2n_cli.nn.tape import do


class ReLU(Module):
    """max(x, 0). The gradient at 0 is 0, as in PyTorch."""

    def forward(self, x: Array) -> Array:
        """Any shape (N, C, H, W) -> the same."""
        self._check_shape(x.shape)
        y = np.maximum(x, 0)
        self._keep(y)
        return y

    def backward(self, grad_output: Array) -> Array:
        """The output gradient where x > 0, zero elsewhere."""
        (y,) = self._use_up()
        self._check_gradient(grad_output.shape, y.shape)
        passed: Array = grad_output * (y > 0)
        return passed


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
