"""3x3 convolutions by Winograd's algorithm."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from n2n_cli.engine.bands import Bands
from n2n_cli.engine.channels_last import channels_first, channels_last, padded, relu_in_place, total
from n2n_cli.engine.fused_conv import FusedConv, masked
from n2n_cli.engine.pool import empty
from n2n_cli.engine.products import products, products_over_rows
from n2n_cli.engine.tape import do
from n2n_cli.engine.winograd_transforms import (
    FILTERS,
    GRADIENT,
    INPUT,
    ONES,
    OUTPUT,
    OUTPUTS,
    POINTS,
    add_windows,
    transformed,
    windows,
)
from n2n_cli.nn.functional import Array, Shape

_VALUES_AT_ONCE, _ROWS_AT_ONCE = 2**19, 8
"""Transformed values per block in inference; and minimum rows of windows per block, unless the image has fewer."""


class WinogradConv(FusedConv):
    """3x3 convolution of stride 1 with optional ReLU, by Winograd's F(4x4, 3x3).

    It takes 36 products for sixteen outputs instead of 144. Along one axis, a window of six pixels d and the taps g
    give four outputs, A^T ((G g) * (B^T d)): the six transformed values of d and g are multiplied element by element.
    G and A evaluate polynomials at five points and at infinity, with the taps or four outputs as coefficients; B^T is
    the transpose of the matrix that maps the values at the six points to coefficients: the convolution is the adjoint
    of a product of polynomials. Along both axes, a window of 6x6 pixels has 36 transformed values, one per pair of
    points, and each pair needs a separate matrix product over the channels. Windows overlap by two pixels (Lavin and
    Gray 2016, arXiv:1509.09308; points as in Barabasz et al. 2018, arXiv:1803.10986).

    The transforms along an axis are matrix products too, on strided views of the windows: these are not copied, and
    BLAS is several times faster than additions of whole arrays. An array of transformed values has the shape (point
    along the rows, window, point along the columns, C).
    """

    gradient_order = (2, 3, 1, 0)

    def _make_matrices(self) -> tuple[Array, ...]:
        """Transformed filters of the forward and the backward pass.

        Forward (6, 6, C_in, C_out); backward (6, 6, C_out, C_in).
        """
        weight = self.conv.weight.data
        c_out, c, _, _ = weight.shape
        forward = np.empty((POINTS, POINTS, c, c_out), weight.dtype)
        matrices = forward, np.empty((POINTS, POINTS, c_out, c), weight.dtype)
        self._update_matrices(matrices)
        return matrices

    def _update_matrices(self, matrices: tuple[Array, ...]) -> None:
        # In place: allocating memory of this size at every step would take several times as long as the rest.
        forward, backward = matrices
        taps = self.conv.weight.data.reshape(-1, 9).T
        np.matmul(FILTERS.astype(backward.dtype), taps, out=backward.reshape(len(FILTERS), -1))
        np.copyto(forward, backward.swapaxes(2, 3))

    def forward(self, x: Array) -> Array:
        """(N, C_in, H, W) -> (N, C_out, H_out, W_out)."""
        shape = self.conv.output_shape(x.shape)
        n, c_out, h, w = shape
        if not self.training:
            y = empty((n, h, w, c_out), np.result_type(x, self.conv.weight.data, np.float32))
            self._fill(y, x, 0, h)
            return channels_first(y)
        values = self._input_values(x, slice(0, h), slice(0, w))
        y = self._outputs(values, self._matrices()[0], shape)[:, :h, :w]
        above = relu_in_place(y, mask=True) if self.has_relu else None
        self.keep(values, above, x.shape, shape)
        return channels_first(y)

    def in_bands(self, x: Array, bands: Bands) -> Array:
        y = bands.empty(self.conv.output_shape(x.shape))
        y_nhwc = y.transpose(0, 2, 3, 1)
        return bands.fill(
            y,
            lambda rows: self._fill(y_nhwc, x, rows.start, rows.stop),
            period=OUTPUTS,
            width=x.shape[1],
            extra=4 * max(_VALUES_AT_ONCE, _ROWS_AT_ONCE * self._values_of_a_window),
        )

    @property
    def _values_of_a_window(self) -> int:
        return len(FILTERS) * max(self.conv.in_channels, self.conv.out_channels)

    def _fill(self, y: Array, x: Array, start: int, stop: int) -> None:
        """Compute rows `start` to `stop` of the output in eval mode.

        Windows are processed in blocks, so that the transformed values stay in the cache.

        Parameters
        ----------
        y : (N, H_out, W_out, C_out) array
        x : (N, C_in, H, W) array
        """
        n, _, w, _ = y.shape
        matrices = self._matrices()[0]
        at_once = max(1, _VALUES_AT_ONCE // self._values_of_a_window)
        for images, rows, columns in _blocks(n, start, stop, w, at_once):
            block = y[images, rows, columns]
            shape = channels_first(block).shape
            part = self._outputs(self._input_values(x[images], rows, columns), matrices, shape)
            if self.has_relu:
                relu_in_place(part, mask=False)
            do(np.copyto, block, part[:, : shape[2], : shape[3]])
            del part

    def _input_values(self, x: Array, rows: slice, columns: slice) -> Array:
        """Transformed values of the windows for some rows and columns of the output.

        (N, C, H, W) -> (6, M, 6, C).
        """
        x_nhwc = x.transpose(0, 2, 3, 1)
        before, size = [], []
        for axis, (part, padding) in enumerate(zip((rows, columns), self.conv.padding, strict=True), 1):
            size.append(OUTPUTS * windows(part.stop - part.start) + POINTS - OUTPUTS)
            first = part.start - padding  # in the image
            before.append(max(0, -first))
            x_nhwc = x_nhwc[(slice(None),) * axis + (slice(max(0, first), max(0, first + size[-1])),)]
        dtype = np.result_type(x, self.conv.weight.data, np.float32)
        return transformed(padded(x_nhwc, (before[0], before[1]), (size[0], size[1])), INPUT.astype(dtype))

    def _outputs(self, values: Array, matrices: Array, shape: Shape) -> Array:
        """Multiply transformed values by the filters; transform the results to outputs.

        Parameters
        ----------
        values : (6, M, 6, C_in) array
        matrices : (6, 6, C_in, C_out) array
        shape : (N, C_out, H, W)
            Shape of the output.

        Returns
        -------
        (N, rows, columns, C_out) array
            H and W rounded up to whole windows.
        """
        n, c_out, h, w = shape
        by_point = empty((POINTS, values.shape[1], POINTS, c_out), np.result_type(values, matrices))
        products(values.swapaxes(1, 2), matrices, by_point.swapaxes(1, 2))
        del values
        if self.conv.bias is not None:
            do(np.add, by_point[ONES, :, ONES], self.conv.bias.data, out=by_point[ONES, :, ONES])
        rows, columns = windows(h), windows(w)
        matrix = OUTPUT.astype(by_point.dtype)
        width = columns * POINTS * c_out
        by_row = empty((n, rows, OUTPUTS, width), by_point.dtype)
        do(np.matmul, matrix, by_point.reshape(POINTS, n, rows, width).transpose(1, 2, 0, 3), out=by_row)
        del by_point
        y = empty((n, rows * OUTPUTS, columns, OUTPUTS, c_out), by_row.dtype)
        do(np.matmul, matrix, by_row.reshape(n, rows * OUTPUTS, columns, POINTS, c_out), out=y)
        return y.reshape(n, rows * OUTPUTS, columns * OUTPUTS, c_out)

    def _accumulate(self, grad_output: Array) -> tuple[tuple[Array, ...], Shape]:
        values, above, x_shape, shape = self.use_up()
        _, c_out, h, w = shape
        self.last.check_gradient(grad_output.shape, shape)
        grad_y = masked(channels_last(grad_output), above)
        whole = padded(grad_y, (0, 0), (OUTPUTS * windows(h), OUTPUTS * windows(w)))
        grads = transformed(whole, GRADIENT.astype(np.result_type(whole, values)))
        by_point = empty((POINTS, POINTS, x_shape[1], c_out), grads.dtype)
        products_over_rows(values.swapaxes(1, 2), grads.swapaxes(1, 2), by_point)
        by_tap = empty((9, x_shape[1] * c_out), grads.dtype)
        do(np.matmul, FILTERS.T.astype(grads.dtype), by_point.reshape(len(FILTERS), -1), out=by_tap)
        self._add_gradient(self.conv.weight, by_tap.reshape(3, 3, x_shape[1], c_out).transpose(3, 2, 0, 1))
        self._add_gradient(self.conv.bias, total(grads[ONES, :, ONES], axis=0))
        return (grads,), x_shape

    def _input_gradient(self, grads: tuple[Array, ...], x_shape: Shape) -> Array:
        (n, c, h, w), (top, left) = x_shape, self.conv.padding
        rows, columns = map(windows, self.conv.output_shape(x_shape)[2:])
        matrices = self._matrices()[1]
        values = empty((POINTS, n * rows, columns, POINTS, c), grads[0].dtype)
        by_window = values.reshape(POINTS, n * rows * columns, POINTS, c)
        products(grads[0].swapaxes(1, 2), matrices, by_window.swapaxes(1, 2))
        height, width = (OUTPUTS * count + POINTS - OUTPUTS for count in (rows, columns))
        by_row = empty((n * rows, POINTS, width, c), values.dtype)
        add_windows(values, by_row.swapaxes(0, 1))
        grad_x = empty((n, height, width, c), values.dtype)
        add_windows(by_row.reshape(n, rows, POINTS, width * c), grad_x.reshape(n, height, width * c))
        return channels_first(grad_x[:, top : top + h, left : left + w])


def _blocks(n: int, start: int, stop: int, w: int, at_once: int) -> Iterator[tuple[slice, slice, slice]]:
    """Split outputs into blocks of about `at_once` windows.

    Yields slices of images, rows (`start` to `stop`) and columns (0 to `w`). Blocks are whole images if these fit.
    """
    down, across = windows(stop - start), windows(w)
    images = max(1, min(n, at_once // max(1, down * across)))
    down = min(down, max(_ROWS_AT_ONCE, at_once // max(1, across)))
    across = min(across, max(1, at_once // max(1, down)))
    for image in range(0, n, images):
        for row in range(start, stop, OUTPUTS * down):
            for column in range(0, w, OUTPUTS * across):
                yield (
                    slice(image, min(image + images, n)),
                    slice(row, min(row + OUTPUTS * down, stop)),
                    slice(column, min(column + OUTPUTS * across, w)),
                )
