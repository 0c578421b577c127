"""Fast convolutions. See `fused` for when they are chosen, and `conv` for the plain one that they are measured against.

Arrays are channels-last inside, memory comes from the thread's pool, and a ReLU is done in place where its input was
just made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import EllipsisType
from typing import TypeAlias

import numpy as np

from n2n_cli.nn.channels_last import channels_first, channels_last, col2im, im2col, product, relu_in_place
from n2n_cli.nn.conv import Conv2d
from n2n_cli.nn.functional import Array, Pair, Shape
from n2n_cli.nn.memory import empty
from n2n_cli.nn.module import Module, Parameter

Index: TypeAlias = "tuple[EllipsisType, slice, slice]"

_PIECE = 512


class Derived:
    """A matrix made from a convolution's parameters, made again when they have changed."""

    def __init__(self, conv: Conv2d, make: Callable[[], Array]) -> None:
        self._parameters = [parameter for _, parameter in conv.named_parameters()]
        self._make = make
        self._seen: list[Array] = []
        self._matrix: Array | None = None

    def __call__(self) -> Array:
        now = [parameter.data for parameter in self._parameters]
        same = len(self._seen) == len(now) and all(map(np.array_equal, self._seen, now))
        if self._matrix is None or not same:
            self._matrix = self._make()
            self._seen = [data.copy() for data in now]
        return self._matrix


class FusedConv(Module):
    """What the fast convolutions share. `last` is the module whose output theirs is."""

    def __init__(self, conv: Conv2d, relu: Module | None = None) -> None:
        super().__init__()
        self.conv = conv
        self.last = relu or conv
        self.has_relu = relu is not None
        self.taps: Pair = conv.kernel_size
        self._matrix = Derived(conv, self._make_matrix)

    @property
    def _width(self) -> int:
        """Columns of the matrix without the bias."""
        return self.conv.in_channels * self.taps[0] * self.taps[1]

    def _make_matrix(self) -> Array:
        raise NotImplementedError

    def _with_bias(self, filters: Array) -> Array:
        """(rows, K) -> (rows, K + 1), the bias, repeated as often as it takes, behind each row; as it is if none."""
        if self.conv.bias is None:
            return filters
        bias = np.resize(self.conv.bias.data, len(filters))
        return np.concatenate([filters, bias[:, None]], axis=1)

    def _add_gradient(self, parameter: Parameter | None, grad: Array) -> None:
        if parameter is not None:
            np.add(parameter.grad, grad, out=parameter.grad)

    def backward(self, grad_output: Array) -> Array:
        """Gradient with respect to the input; the convolution's own is added to its `grad`."""
        grads, x_shape = self._accumulate(grad_output)
        return self._input_gradient(grads, x_shape)

    def accumulate(self, grad_output: Array) -> None:
        """What `backward` does, but for the input's gradient."""
        self._accumulate(grad_output)

    def _accumulate(self, grad_output: Array) -> tuple[tuple[Array, ...], Shape]:
        """Add the parameters' gradients; gives the gradients of the products, and the input's shape."""
        raise NotImplementedError

    def _input_gradient(self, grads: tuple[Array, ...], x_shape: Shape) -> Array:
        """The input's gradient, from what `_accumulate` gave."""
        raise NotImplementedError


class ColumnConv(FusedConv):
    """A convolution of any kind, and perhaps a ReLU: one product with all patches."""

    def _make_matrix(self) -> Array:
        """(C_out, K_h * K_w * C_in (+ 1))."""
        weight = np.moveaxis(self.conv.weight.data, 1, -1)  # (C_out, K_h, K_w, C_in)
        return self._with_bias(weight.reshape(self.conv.out_channels, -1))

    def forward(self, x: Array) -> Array:
        """(N, C_in, H, W) -> (N, C_out, H_out, W_out)."""
        conv = self.conv
        n, c_out, h, w = conv.output_shape(x.shape)
        columns = im2col(
            channels_last(x),
            conv.kernel_size,
            conv.stride,
            conv.padding,
            (h, w),
            conv.dilation,
            ones=conv.bias is not None,
        )
        y = product(columns, self._matrix().T).reshape(n, h, w, c_out)
        above = relu_in_place(y) if self.has_relu else None
        self._keep(columns, above, x.shape, (n, c_out, h, w))
        return channels_first(y)

    def _accumulate(self, grad_output: Array) -> tuple[tuple[Array, ...], Shape]:
        columns, above, x_shape, shape = self._use_up()
        conv = self.conv
        self.last._check_gradient(grad_output.shape, shape)
        grad_rows = masked(channels_last(grad_output), above).reshape(-1, conv.out_channels)
        grad_matrix = product(grad_rows.T, columns)  # (C_out, K_h * K_w * C_in (+ 1))
        grad_weight = grad_matrix[:, : self._width].reshape(conv.out_channels, *conv.kernel_size, conv.in_channels)
        self._add_gradient(conv.weight, np.moveaxis(grad_weight, -1, 1))
        self._add_gradient(conv.bias, grad_matrix[:, -1])
        return (grad_rows,), x_shape

    def _input_gradient(self, grads: tuple[Array, ...], x_shape: Shape) -> Array:
        conv, (n, c, h, w) = self.conv, x_shape
        grad_columns = product(grads[0], self._matrix()[:, : self._width])
        patches = grad_columns.reshape(n, *conv.output_shape(x_shape)[2:], *conv.kernel_size, c)
        return channels_first(col2im(patches, (n, h, w, c), conv.stride, conv.padding, conv.dilation))


class NarrowConv(FusedConv):
    """A convolution that keeps the size and has few outputs: product first, then shifted additions.

    The patches of the input would be K*K*C_in wide; the products at every pixel, and the patches of the output
    gradient, are only K*K*C_out wide. They lie in planes, one a tap and output, so that additions run along rows.
    """

    def _make_matrix(self) -> Array:
        """(K_h * K_w * C_out, C_in)."""
        return self.conv.weight.data.transpose(2, 3, 0, 1).reshape(-1, self.conv.in_channels)

    def forward(self, x: Array) -> Array:
        """(N, C_in, H, W) -> (N, C_out, H, W)."""
        conv = self.conv
        n, c_out, h, w = conv.output_shape(x.shape)
        rows = channels_last(x).reshape(-1, conv.in_channels)  # (N*H*W, C_in)
        self._keep(rows, x.shape)
        planes = _planes(rows, self._matrix()).reshape(*conv.kernel_size, c_out, n, h, w)
        y = empty((n, c_out, h, w), planes.dtype)
        y[...] = 0 if conv.bias is None else conv.bias.data[:, None, None]
        by_channel = y.swapaxes(0, 1)
        for i, j, there, here in self._shifts(h, w):
            np.add(by_channel[here], planes[i, j][there], out=by_channel[here])
        return y

    def _accumulate(self, grad_output: Array) -> tuple[tuple[Array, ...], Shape]:
        rows, x_shape = self._use_up()
        (n, c, h, w), conv = x_shape, self.conv
        self.last._check_gradient(grad_output.shape, (n, conv.out_channels, h, w))
        by_channel = grad_output.swapaxes(0, 1)  # (C_out, N, H, W)
        planes = empty((*conv.kernel_size, *by_channel.shape), grad_output.dtype)
        planes.fill(0)
        for i, j, there, here in self._shifts(h, w):
            np.copyto(planes[i, j][there], by_channel[here])
        matrix = planes.reshape(-1, n * h * w)  # (K_h*K_w*C_out, N*H*W)
        grad_weight = product(matrix, rows).reshape(*conv.kernel_size, conv.out_channels, c)
        self._add_gradient(conv.weight, grad_weight.transpose(2, 3, 0, 1))
        self._add_gradient(conv.bias, grad_output.sum(axis=(0, 2, 3)))
        return (matrix.T,), x_shape

    def _input_gradient(self, grads: tuple[Array, ...], x_shape: Shape) -> Array:
        n, c, h, w = x_shape
        return channels_first(product(grads[0], self._matrix()).reshape(n, h, w, c))

    def _shifts(self, h: int, w: int) -> Iterator[tuple[int, int, Index, Index]]:
        """Tap by tap: the pixels (of planes (..., H, W)) that it is multiplied with, and those that it adds to."""
        (kh, kw), (ph, pw) = self.conv.kernel_size, self.conv.padding
        for i in range(kh):
            for j in range(kw):
                dy, dx = i - ph, j - pw
                if abs(dy) < h and abs(dx) < w:
                    there = (..., slice(max(0, dy), h + min(0, dy)), slice(max(0, dx), w + min(0, dx)))
                    here = (..., slice(max(0, -dy), h - max(0, dy)), slice(max(0, -dx), w - max(0, dx)))
                    yield i, j, there, here


def masked(grad: Array, above: Array | None) -> Array:
    """The gradient before a ReLU, in a new array; `grad` itself where there was none."""
    if above is None:
        return grad
    masked = empty(grad.shape, grad.dtype)
    np.multiply(grad, above, out=masked)
    return masked


def _planes(rows: Array, matrix: Array) -> Array:
    """(M, C) and (P, C) -> (P, M): the transposed product, in pieces that OpenBLAS does not copy before it multiplies.

    That holds for up to a million multiplications in a small product, and halves the time of all of them.
    """
    m, c = rows.shape
    planes = empty((len(matrix), m), np.result_type(rows, matrix))
    whole = m // _PIECE
    if whole:
        split = whole * _PIECE
        pieces = rows[:split].reshape(whole, _PIECE, c).swapaxes(1, 2)  # (pieces, C, _PIECE)
        out = planes[:, :split].reshape(len(matrix), whole, _PIECE).swapaxes(0, 1)
        np.matmul(np.ascontiguousarray(matrix.T).T, pieces, out=out)
    if m % _PIECE:
        np.matmul(matrix, rows[whole * _PIECE :].T, out=planes[:, whole * _PIECE :])
    return planes
