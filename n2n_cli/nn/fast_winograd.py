"""Winograd's form of a 3x3 convolution; `fused` says when it is chosen."""

from __future__ import annotations

import numpy as np

from n2n_cli.nn.bands import Bands
from n2n_cli.nn.channels_last import (
    channels_first,
    channels_last,
    products,
    products_over_rows,
    relu_in_place,
    total,
)
from n2n_cli.nn.fast_conv import FusedConv, masked
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.memory import empty
from n2n_cli.nn.tape import do

_FILTER = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
"""G of the paper: a filter of three taps as the four numbers that the four of a window are multiplied with."""
_FILTERS = np.einsum("kb,la->klab", _FILTER, _FILTER).reshape(16, 9)
"""The same for both axes: the sixteen kinds (columns, rows) from the nine taps (rows, columns)."""
_SIGNS = np.outer([1, 1, 1, -1], [1, 1, 1, -1]).reshape(16, 1)
"""Of the kinds on the way back, where the minus of the last kind along an axis is left to the filters."""

_VALUES_AT_ONCE = 2**20
"""Of all kinds together, where nothing is kept."""


class WinogradConv(FusedConv):
    """A 3x3 convolution of stride 1, and perhaps a ReLU: 16 products for four outputs instead of 36.

    Of a window of four pixels d0..d3 along an axis, the two outputs y0, y1 of the taps g0, g1, g2 are sums of
    m0 = (d0 - d2) g0, m1 = (d1 + d2) (g0 + g1 + g2) / 2, m2 = (d2 - d1) (g0 - g1 + g2) / 2 and m3 = (d1 - d3) g2:
    y0 = m0 + m1 + m2 and y1 = m1 - m2 - m3. Windows overlap by two. Done along both axes, every window of 4x4 pixels is
    sixteen numbers, and each of these kinds is a matrix product over the channels by itself (Lavin and Gray 2016,
    arXiv:1509.09308, F(2x2, 3x3)).

    Additions run long where the rows of the pictures come before the images, and the even and the odd columns lie in
    halves: then each number of a window is one array, for all windows.
    """

    gradient_order = (2, 3, 1, 0)

    def _make_matrices(self) -> tuple[Array, ...]:
        """There, (16, C_in, C_out), and back, (16, C_out, C_in)."""
        weight = self.conv.weight.data
        c_out, c, _, _ = weight.shape
        matrices = np.empty((16, c, c_out), weight.dtype), np.empty((16, c_out, c), weight.dtype)
        self._make_again(matrices)
        return matrices

    def _make_again(self, matrices: tuple[Array, ...]) -> None:
        # In place: fresh memory of this size would take several times as long as all else, at every step.
        there, back = matrices
        taps = self.conv.weight.data.reshape(-1, 9).T
        np.matmul(_FILTERS.astype(back.dtype), taps, out=back.reshape(16, -1))
        np.copyto(there, back.transpose(0, 2, 1))
        np.negative(back, out=back, where=_SIGNS[:, :, None] < 0)

    def forward(self, x: Array) -> Array:
        """(N, C_in, H, W) -> (N, C_out, H_out, W_out)."""
        conv = self.conv
        n, c_out, h, w = conv.output_shape(x.shape)
        y = empty((n, h, w, c_out), np.result_type(x, conv.weight.data, np.float32))
        if not self.training:
            self._fill(y, x, 0, h)
            return channels_first(y)
        windows = _windows(self._padded(x, 0, -(-h // 2)))  # (16, M, C_in), M = rows * N * columns
        self._products(windows, y)
        above = relu_in_place(y, mask=True) if self.has_relu else None
        self._keep(windows, above, x.shape, (n, c_out, h, w))
        return channels_first(y)

    def in_bands(self, x: Array, bands: Bands) -> Array:
        y = bands.empty(self.conv.output_shape(x.shape))
        y_nhwc = y.transpose(0, 2, 3, 1)
        return bands.fill(
            y,
            lambda rows: self._fill(y_nhwc, x, rows.start, rows.stop),
            period=2,
            width=x.shape[1],
            beside=3 * max(_VALUES_AT_ONCE, self._values_of_a_row(y.shape)),
        )

    def _values_of_a_row(self, shape: Shape) -> int:
        """Of one row of windows of an output (N, C_out, H, W), all kinds together."""
        n, c_out, _, w = shape
        return 16 * n * -(-w // 2) * max(self.conv.in_channels, c_out)

    def _fill(self, y: Array, x: Array, start: int, stop: int) -> None:
        """Fill rows `start`, an even number, to `stop` of y, (N, H_out, W_out, C_out), from x, (N, C_in, H, W).

        Some at a time, so that the numbers stay in a cache: nothing is kept for a way back.
        """
        at_once = max(1, _VALUES_AT_ONCE // self._values_of_a_row(channels_first(y).shape))
        padded = self._padded(x, start // 2, -(-(stop - start) // 2))
        for first in range(start, stop, 2 * at_once):
            last = min(first + 2 * at_once, stop)
            windows = _windows(padded[first - start : last + last % 2 + 2 - start])
            self._products(windows, y[:, first:last])

    def _products(self, windows: Array, y: Array) -> None:
        """Fill y, (N, H, W, C_out), with what the filters make of windows, (16, M, C_in)."""
        n, h, w, c_out = y.shape
        kinds = empty((16, windows.shape[1], c_out), y.dtype)
        products(windows, self._matrices()[0], kinds)
        if self.conv.bias is not None:  # the product of kind 1 along both axes is part of all four outputs
            do(np.add, kinds[5], self.conv.bias.data, out=kinds[5])
        planes = kinds.reshape(4, 4, -(-h // 2), n, -(-w // 2), c_out)
        for part in (planes, planes[:2].swapaxes(0, 1)):  # columns, then rows: the outputs are where kinds 0, 1 were
            do(np.add, part[0], part[1], out=part[0])
            do(np.add, part[0], part[2], out=part[0])
            do(np.subtract, part[1], part[2], out=part[1])
            do(np.subtract, part[1], part[3], out=part[1])
        if self.has_relu and not self.training:  # while they are in a cache
            relu_in_place(planes[:2, :2], mask=False)
        for a, b, there, here in _places(h, w):
            do(np.copyto, y[:, there[0], there[1]], planes[b, a].swapaxes(0, 1)[:, here[0], here[1]])

    def _padded(self, x: Array, first: int, rows: int) -> Array:
        """What some rows of windows see of the picture with zeros around it, from the window row `first` on.

        (N, C, H, W) -> (2 * rows + 2, 2, N, columns + 1, C): even columns, then odd ones.
        """
        (n, c, h, _), (top, left) = x.shape, self.conv.padding
        columns = -(-self.conv.output_shape(x.shape)[3] // 2)
        padded = empty((2 * rows + 2, 2, n, columns + 1, c), np.result_type(x, np.float32))
        start = 2 * first - top  # the row of the picture that is the first here
        before, behind = max(0, -start), max(0, min(h - start, len(padded)))
        x_rows_first = x[:, :, start + before : start + behind].transpose(2, 0, 3, 1)  # (rows, N, W, C)
        _clear(padded[:before])
        _clear(padded[behind:])
        inner = padded[before:behind]
        for half in (0, 1):
            # Column 2k + half of the padded picture is column 2k + half - left of the picture.
            skipped = -((half - left) // 2)
            source = x_rows_first[:, :, 2 * skipped + half - left :: 2]
            end = skipped + source.shape[2]
            _clear(inner[:, half, :, :skipped])
            _clear(inner[:, half, :, end:])
            do(np.copyto, inner[:, half, :, skipped:end], source)
        return padded

    def _accumulate(self, grad_output: Array) -> tuple[tuple[Array, ...], Shape]:
        windows, above, x_shape, shape = self._use_up()
        n, c_out, h, w = shape
        self.last._check_gradient(grad_output.shape, shape)
        rows, columns = -(-h // 2), -(-w // 2)
        grad_y = masked(channels_last(grad_output), above)
        kinds = empty((4, 4, rows, n, columns, c_out), grad_y.dtype)
        if h % 2 or w % 2:
            for b in (0, 3):
                for a in (0, 3):
                    do(np.copyto, kinds[b, a], 0)
        for a, b, there, here in _places(h, w):
            do(np.copyto, kinds[3 * b, 3 * a].swapaxes(0, 1)[:, here[0], here[1]], grad_y[:, there[0], there[1]])
        for part in (kinds[::3].swapaxes(0, 1), kinds):  # rows, then columns
            do(np.add, part[0], part[3], out=part[1])
            do(np.subtract, part[0], part[3], out=part[2])
        grads = kinds.reshape(16, rows * n * columns, c_out)
        by_kind = empty((16, x_shape[1], c_out), grads.dtype)
        products_over_rows(windows, grads, by_kind)
        by_tap = empty((9, x_shape[1] * c_out), grads.dtype)
        do(np.matmul, (_FILTERS * _SIGNS).T.astype(grads.dtype), by_kind.reshape(16, -1), out=by_tap)
        self._add_gradient(self.conv.weight, by_tap.reshape(3, 3, x_shape[1], c_out).transpose(3, 2, 0, 1))
        self._add_gradient(self.conv.bias, total(grads[5], axis=0))
        return (grads,), x_shape

    def _input_gradient(self, grads: tuple[Array, ...], x_shape: Shape) -> Array:
        (n, c, h, w), (top, left) = x_shape, self.conv.padding
        _, _, h_out, w_out = self.conv.output_shape(x_shape)
        rows, columns = -(-h_out // 2), -(-w_out // 2)
        windows = empty((4, 4, rows, n, columns, c), grads[0].dtype)
        products(grads[0], self._matrices()[1], windows.reshape(16, rows * n * columns, c))
        by_column = empty((4, 2, rows + 1, n, columns, c), windows.dtype)
        _add_four(windows.transpose(1, 2, 0, 3, 4, 5), *by_column.transpose(1, 2, 0, 3, 4, 5))
        padded = empty((2 * rows + 2, 2, n, columns + 1, c), windows.dtype)
        _add_four(by_column.transpose(0, 4, 2, 1, 3, 5), *_columns_first(padded))
        grad_x = empty((n, h, w, c), windows.dtype)
        inner = padded[top : top + h]
        for half in (0, 1):
            first = -((half - left) // 2)
            target = grad_x[:, :, 2 * first + half - left :: 2].swapaxes(0, 1)
            do(np.copyto, target, inner[:, half, :, first : first + target.shape[2]])
        return channels_first(grad_x)


def _windows(padded: Array) -> Array:
    """(2 * rows + 2, 2, N, columns + 1, C), even columns before odd ones -> (16, rows * N * columns, C): the kinds."""
    height, _, n, width, c = padded.shape
    rows, columns = height // 2 - 1, width - 1
    # The columns first, while the numbers are few: of what comes second, each kind is one run through the memory.
    by_column = empty((4, 2, rows + 1, n, columns, c), padded.dtype)  # even rows before odd ones
    _four(*_columns_first(padded), by_column.transpose(0, 4, 2, 1, 3, 5))
    windows = empty((4, 4, rows, n, columns, c), padded.dtype)
    even, odd = by_column.transpose(1, 2, 0, 3, 4, 5)  # rows first
    _four(even, odd, windows.transpose(1, 2, 0, 3, 4, 5))
    return windows.reshape(16, rows * n * columns, c)


def _columns_first(padded: Array) -> tuple[Array, Array]:
    """Views (columns + 1, rows + 1, 2, N, C) of the even columns and of the odd ones."""
    height, _, n, width, c = padded.shape
    even, odd = padded.reshape(height // 2, 2, 2, n, width, c).transpose(2, 4, 0, 1, 3, 5)
    return even, odd


def _four(even: Array, odd: Array, out: Array) -> None:
    """The four numbers of each window along the first axis: of pixels (2i, ...), (2i + 1, ...) -> (4, i, ...)."""
    do(np.subtract, even[:-1], even[1:], out=out[0])
    do(np.add, odd[:-1], even[1:], out=out[1])
    do(np.subtract, even[1:], odd[:-1], out=out[2])
    do(np.subtract, odd[:-1], odd[1:], out=out[3])


def _add_four(four: Array, even: Array, odd: Array) -> None:
    """Adjoint of `_four`; what is in `four` is used up."""
    do(np.copyto, even[:-1], four[0])
    do(np.copyto, even[-1:], 0)
    do(np.subtract, even[1:], four[0], out=even[1:])
    do(np.add, even[1:], four[1], out=even[1:])
    do(np.add, even[1:], four[2], out=even[1:])
    do(np.subtract, four[1], four[2], out=four[1])
    do(np.add, four[1], four[3], out=odd[:-1])
    do(np.copyto, odd[-1:], 0)
    do(np.subtract, odd[1:], four[3], out=odd[1:])


def _clear(x: Array) -> None:
    if x.size:
        do(np.copyto, x, 0)


def _places(h: int, w: int) -> list[tuple[int, int, tuple[slice, slice], tuple[slice, slice]]]:
    """For each output (a, b) of a window: which pixels of the picture it is, and which windows have one there."""
    return [
        (a, b, (slice(a, None, 2), slice(b, None, 2)), (slice((h - a + 1) // 2), slice((w - b + 1) // 2)))
        for a in (0, 1)
        for b in (0, 1)
    ]
