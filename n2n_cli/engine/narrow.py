"""Convolutions with few output channels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np

from n2n_cli.engine.bordered import Bordered, inside, with_border
from n2n_cli.engine.channels_last import channels_first, channels_last, total
from n2n_cli.engine.fused_conv import FusedConv
from n2n_cli.engine.pool import empty
from n2n_cli.engine.products import product
from n2n_cli.engine.tape import do
from n2n_cli.nn.functional import Array, Shape

Index: TypeAlias = tuple[EllipsisType, slice, slice]

_PIECE = 512
"""Pixels per matrix product in `_planes`."""


class NarrowConv(FusedConv):
    """Size-preserving convolution with few outputs: product, then shifted sums.

    Patches of the input would have K*K*C_in values per pixel; the products at every pixel, and the patches of the
    output gradient, have only K*K*C_out. They are stored in planes, one per tap and output channel, so that additions
    run along rows.
    """

    gradient_order = (2, 3, 0, 1)

    def _make_matrices(self) -> tuple[Array, ...]:
        """Filters, (C_in, K_h * K_w * C_out)."""
        return (self.conv.weight.data.transpose(1, 2, 3, 0).reshape(self.conv.in_channels, -1),)

    def forward(self, x: Array) -> Array:
        """(N, C_in, H, W) -> (N, C_out, H, W)."""
        conv = self.conv
        n, c_out, h, w = conv.output_shape(x.shape)
        rows = channels_last(x).reshape(-1, conv.in_channels)  # (N*H*W, C_in)
        self.keep(rows, x.shape)
        planes = _planes(rows, self._matrices()[0].T).reshape(*conv.kernel_size, c_out, n, h, w)
        y = empty((n, c_out, h, w), planes.dtype)
        do(np.copyto, y, 0 if conv.bias is None else conv.bias.data[:, None, None])
        by_channel = y.swapaxes(0, 1)
        for i, j, source, target in self._shifts(h, w):
            do(np.add, by_channel[target], planes[i, j][source], out=by_channel[target])
        return y

    def _accumulate(self, grad_output: Array) -> tuple[tuple[Array, ...], Shape]:
        rows, x_shape = self.use_up()
        (n, c, h, w), conv = x_shape, self.conv
        self.last.check_gradient(grad_output.shape, (n, conv.out_channels, h, w))
        by_channel = grad_output.swapaxes(0, 1)  # (C_out, N, H, W)
        planes = empty((*conv.kernel_size, *by_channel.shape), grad_output.dtype)
        do(np.copyto, planes, 0)
        for i, j, source, target in self._shifts(h, w):
            do(np.copyto, planes[i, j][source], by_channel[target])
        matrix = planes.reshape(math.prod(planes.shape[:3]), n * h * w)  # (K_h*K_w*C_out, N*H*W)
        grad_weight = product(matrix, rows).reshape(*conv.kernel_size, conv.out_channels, c)
        self._add_gradient(conv.weight, grad_weight.transpose(2, 3, 0, 1))
        whole = planes[conv.padding].reshape(conv.out_channels, n * h * w)  # the centre tap's planes
        self._add_gradient(conv.bias, total(whole, axis=1))
        return (matrix.T,), x_shape

    def _input_gradient(self, grads: tuple[Array, ...], x_shape: Shape) -> Array:
        n, c, h, w = x_shape
        return channels_first(product(grads[0], self._matrices()[0].T).reshape(n, h, w, c))

    def _shifts(self, h: int, w: int) -> Iterator[tuple[int, int, Index, Index]]:
        """For every tap (i, j), indices of its input and its output pixels.

        They index arrays of shape (..., H, W).
        """
        (kh, kw), (ph, pw) = self.conv.kernel_size, self.conv.padding
        for i in range(kh):
            for j in range(kw):
                dy, dx = i - ph, j - pw
                if abs(dy) < h and abs(dx) < w:
                    source = (..., slice(max(0, dy), h + min(0, dy)), slice(max(0, dx), w + min(0, dx)))
                    target = (..., slice(max(0, -dy), h - max(0, dy)), slice(max(0, -dx), w - max(0, dx)))
                    yield i, j, source, target


class BorderedNarrowConv(NarrowConv):
    """3x3 `NarrowConv` of an image with a border of zeros: see `bordered`.

    There the shift of a tap is a constant offset in memory, so that one addition covers the whole array. Pixels of the
    border get results too, which are not used.
    """

    def forward(self, x: Array | Bordered) -> Array:
        """(N, C_in, H, W) -> (N, C_out, H, W)."""
        conv = self.conv
        n, c_out, h, w = conv.output_shape(x.shape)
        rows = with_border(x).reshape(-1, conv.in_channels)  # (M, C_in), M = (H + 2) * N * (W + 2)
        self.keep(rows, x.shape)
        planes = _planes(rows, self._matrices()[0].T).reshape(9, c_out, -1)  # (9, C_out, M)
        first, steps = _steps(n, w)
        seen = max(0, planes.shape[2] - 2 * first)
        y = empty((c_out, seen), planes.dtype)  # from the first pixel inside to the last
        parts = [planes[i, :, first + step : first + step + seen] for i, step in enumerate(steps)]
        do(np.add, parts[0], parts[1], out=y)
        for part in parts[2:]:
            do(np.add, y, part, out=y)
        result = empty((n, c_out, h, w), y.dtype)
        bias = 0 if conv.bias is None else conv.bias.data[:, None, None, None]
        do(np.add, _pixels(y, n, h, w), bias, out=result.transpose(1, 2, 0, 3))
        return result

    def _accumulate(self, grad_output: Array) -> tuple[tuple[Array, ...], Shape]:
        rows, x_shape = self.use_up()
        (n, c, h, w), c_out = x_shape, self.conv.out_channels
        self.last.check_gradient(grad_output.shape, (n, c_out, h, w))
        grad_y = empty((c_out, h + 2, n, w + 2), grad_output.dtype)
        do(np.copyto, grad_y, 0)
        do(np.copyto, grad_y[:, 1:-1, :, 1:-1], grad_output.transpose(1, 2, 0, 3))
        flat = grad_y.reshape(c_out, -1)  # (C_out, M)
        planes = empty((9, c_out, len(rows)), grad_y.dtype)
        first, steps = _steps(n, w)
        end = len(rows) - first
        for places in (planes[:, :, :first], planes[:, :, end:]):
            do(np.copyto, places, 0)
        for i, step in enumerate(steps):
            do(np.copyto, planes[i, :, first:end], flat[:, first - step : end - step])
        matrix = planes.reshape(9 * c_out, -1)
        grad_weight = product(matrix, rows).reshape(3, 3, c_out, c)
        self._add_gradient(self.conv.weight, grad_weight.transpose(2, 3, 0, 1))
        self._add_gradient(self.conv.bias, total(grad_output, axis=(0, 2, 3)))
        return (matrix.T,), x_shape

    def backward_inside(self, grad_output: Any) -> Any:
        return Bordered(self._bordered_gradient(*self._accumulate(grad_output)))

    def _input_gradient(self, grads: tuple[Array, ...], x_shape: Shape) -> Array:
        return inside(self._bordered_gradient(grads, x_shape))

    def _bordered_gradient(self, grads: tuple[Array, ...], x_shape: Shape) -> Array:
        """Input gradient, (H + 2, N, W + 2, C_in); border values are arbitrary."""
        n, c, h, w = x_shape
        return product(grads[0], self._matrices()[0].T).reshape(h + 2, n, w + 2, c)


def _steps(n: int, w: int) -> tuple[int, list[int]]:
    """Offsets in a bordered image's memory, in pixels.

    Returns the offset of the first pixel inside the border, and the offsets of the nine taps from their pixel.
    """
    by_row = n * (w + 2)
    return by_row + 1, [dy * by_row + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


def _pixels(y: Array, n: int, h: int, w: int) -> Array:
    """View of the pixels inside the border, (C, M) -> (C, H, N, W).

    M counts the pixels from the first to the last one inside the border.
    """
    size = y.itemsize
    return np.ndarray((len(y), h, n, w), y.dtype, y.data, 0, (y.strides[0], n * (w + 2) * size, (w + 2) * size, size))


def _planes(rows: Array, matrix: Array) -> Array:
    """Transposed product, (M, C) and (P, C) -> (P, M), in small pieces.

    OpenBLAS multiplies matrices without packing them first if the product takes at most a million multiplications,
    which halves the total time.
    """
    m, c = rows.shape
    planes = empty((len(matrix), m), np.result_type(rows, matrix))
    whole = m // _PIECE
    if whole:
        split = whole * _PIECE
        pieces = rows[:split].reshape(whole, _PIECE, c).swapaxes(1, 2)  # (pieces, C, _PIECE)
        out = planes[:, :split].reshape(len(matrix), whole, _PIECE).swapaxes(0, 1)
        do(np.matmul, matrix, pieces, out=out)
    if m % _PIECE:
        do(np.matmul, matrix, rows[whole * _PIECE :].T, out=planes[:, whole * _PIECE :])
    return planes
