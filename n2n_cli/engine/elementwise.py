"""Kernels of activation functions.

The output has the same memory layout as the input.
"""

from __future__ import annotations

import numpy as np

from n2n_cli.engine.finite import check_finite
from n2n_cli.engine.kernel import TrainableKernel
from n2n_cli.engine.pool import empty_like
from n2n_cli.engine.tape import do
from n2n_cli.nn.activations import LeakyReLU
from n2n_cli.nn.functional import Array


class _Elementwise(TrainableKernel):
    """Base class of element-wise functions; stores its output for backward."""

    tapes = True

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> the same shape."""
        self.geometry.output_shape(x.shape)
        y = empty_like(x)
        self._fill(y, x)
        self.keep(y)
        return y

    def backward(self, grad_output: Array) -> Array:
        (y,) = self.use_up()
        self.check_gradient(grad_output.shape, y.shape)
        grad = empty_like(grad_output)
        self._fill_gradient(grad, y, grad_output)
        return grad

    def _fill(self, y: Array, x: Array) -> None:
        raise NotImplementedError

    def _fill_gradient(self, grad: Array, y: Array, grad_output: Array) -> None:
        raise NotImplementedError


class ReLUKernel(_Elementwise):
    """`nn.ReLU`."""

    def _fill(self, y: Array, x: Array) -> None:
        do(np.copyto, y, 0)  # `maximum` of two arrays is several times faster than of an array and a scalar
        do(np.maximum, x, y, out=y)

    def _fill_gradient(self, grad: Array, y: Array, grad_output: Array) -> None:
        do(np.greater, y, 0, out=grad)
        do(np.multiply, grad, grad_output, out=grad)


class LeakyReLUKernel(_Elementwise):
    """`nn.LeakyReLU`."""

    def __init__(self, module: LeakyReLU) -> None:
        super().__init__(module)
        self._slope = module.negative_slope

    def _fill(self, y: Array, x: Array) -> None:
        do(np.multiply, x, self._slope, out=y)
        do(np.maximum, x, y, out=y)

    def _fill_gradient(self, grad: Array, y: Array, grad_output: Array) -> None:
        slopes = empty_like(grad_output)
        do(np.copyto, slopes, self._slope)
        do(np.greater, y, 0, out=grad)
        do(np.maximum, grad, slopes, out=grad)
        do(np.multiply, grad, grad_output, out=grad)


class SigmoidKernel(_Elementwise):
    """`nn.Sigmoid`."""

    def _fill(self, y: Array, x: Array) -> None:
        if not self.training:
            do(check_finite, x)
        do(np.negative, x, out=y)
        do(_exp, y, out=y)
        do(np.add, y, 1, out=y)
        do(np.reciprocal, y, out=y)

    def _fill_gradient(self, grad: Array, y: Array, grad_output: Array) -> None:
        do(np.subtract, 1, y, out=grad)
        do(np.multiply, grad, y, out=grad)
        do(np.multiply, grad, grad_output, out=grad)


def _exp(x: Array, *, out: Array) -> None:
    """exp(x), infinite on overflow, so that the Sigmoid is 0 there."""
    with np.errstate(over="ignore"):
        np.exp(x, out=out)
