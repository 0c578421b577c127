"""General convolutions, by im2col and matrix products."""

from __future__ import annotations

import numpy as np

from n2n_cli.engine.channels_last import channels_first, channels_last, col2im, im2col, relu_in_place
from n2n_cli.engine.fused_conv import FusedConv, Shared, masked
from n2n_cli.engine.pool import empty
from n2n_cli.engine.products import product, products_over_rows
from n2n_cli.engine.tape import do
from n2n_cli.nn.activations import ReLU
from n2n_cli.nn.conv import Conv2d
from n2n_cli.nn.functional import Array, Pair, Shape


class ColumnConv(FusedConv):
    """Any convolution with optional ReLU, as one product with all patches."""

    gradient_order = (0, 2, 3, 1)

    def _make_matrices(self) -> tuple[Array, ...]:
        """Filters of the forward and the backward pass.

        Forward (K_h * K_w * C_in (+ 1), C_out), the last row being the bias; backward (C_out, K_h * K_w * C_in).
        """
        weight = np.moveaxis(self.conv.weight.data, 1, -1)  # (C_out, K_h, K_w, C_in)
        return self._forward_and_backward(weight.reshape(self.conv.out_channels, -1))

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
        y = product(columns, self._matrices()[0]).reshape(n, h, w, c_out)
        above = relu_in_place(y, mask=self.training) if self.has_relu else None
        self.keep(columns, above, x.shape, (n, c_out, h, w))
        return channels_first(y)

    def _accumulate(self, grad_output: Array) -> tuple[tuple[Array, ...], Shape]:
        columns, above, x_shape, shape = self.use_up()
        conv = self.conv
        self.last.check_gradient(grad_output.shape, shape)
        grad_rows = masked(channels_last(grad_output), above).reshape(-1, conv.out_channels)
        grad_matrix = empty((conv.out_channels, columns.shape[1]), np.result_type(grad_rows, columns))
        products_over_rows(grad_rows[None], columns[None], grad_matrix[None])  # (C_out, K_h * K_w * C_in (+ 1))
        grad_weight = grad_matrix[:, : self._width].reshape(conv.out_channels, *conv.kernel_size, conv.in_channels)
        self._add_gradient(conv.weight, np.moveaxis(grad_weight, -1, 1))
        self._add_gradient(conv.bias, grad_matrix[:, -1])
        return (grad_rows,), x_shape

    def _input_gradient(self, grads: tuple[Array, ...], x_shape: Shape) -> Array:
        conv, (n, c, h, w) = self.conv, x_shape
        grad_columns = product(grads[0], self._matrices()[1])
        patches = grad_columns.reshape(n, *conv.output_shape(x_shape)[2:], *conv.kernel_size, c)
        return channels_first(col2im(patches, (n, h, w, c), conv.stride, conv.padding, conv.dilation))


class RowConv(FusedConv):
    """Convolution of stride 1 with optional ReLU, one product per kernel row.

    Patches of one kernel row have 1/K_h of the size of whole patches, so less is copied. With image rows as the first
    axis, before the images of the batch, the patches under each kernel row are contiguous in memory, and the outputs
    are the sums of the products.
    """

    gradient_order = (2, 3, 1, 0)

    def __init__(self, conv: Conv2d, relu: ReLU | None, shared: Shared) -> None:
        super().__init__(conv, conv, relu, shared)
        reach = [conv.dilation[a] * (conv.kernel_size[a] - 1) for a in (0, 1)]
        self._gradient_padding: Pair = (reach[0] - conv.padding[0], reach[1] - conv.padding[1])

    def _make_matrices(self) -> tuple[Array, ...]:
        """Filters of each kernel row, for the forward and the backward pass.

        Forward (K_h, K_w * C_in (+ 1), C_out), the last row of the first matrix being the bias; backward, rotated by
        180 degrees, (K_h, K_w * C_out, C_in).
        """
        conv, (kh, kw) = self.conv, self.conv.kernel_size
        c, c_out = conv.in_channels, conv.out_channels
        filters = np.zeros((kh, kw * c + (conv.bias is not None), c_out), conv.weight.data.dtype)
        filters[:, : kw * c] = conv.weight.data.transpose(2, 3, 1, 0).reshape(kh, kw * c, c_out)
        if conv.bias is not None:
            filters[0, -1] = conv.bias.data
        rotated = conv.weight.data[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)
        return filters, rotated.reshape(kh, kw * c_out, c)

    def forward(self, x: Array) -> Array:
        """(N, C_in, H, W) -> (N, C_out, H_out, W_out)."""
        conv = self.conv
        n, c_out, h, w = conv.output_shape(x.shape)
        patches = self._patches(channels_last(x), conv.padding, (h, w), ones=conv.bias is not None)
        y = self._summed(patches, self._matrices()[0], (n, h, w, c_out))
        above = relu_in_place(y, mask=self.training) if self.has_relu else None
        self.keep(patches, above, x.shape, (n, c_out, h, w))
        return channels_first(y)

    def _accumulate(self, grad_output: Array) -> tuple[tuple[Array, ...], Shape]:
        patches, above, x_shape, shape = self.use_up()
        (kh, kw), c, (n, c_out, h, w), conv = self.taps, x_shape[1], shape, self.conv
        self.last.check_gradient(grad_output.shape, shape)
        grad_y = masked(channels_last(grad_output), above)
        grad_rows = empty((h, n, w, c_out), grad_y.dtype)
        do(np.copyto, grad_rows, grad_y.swapaxes(0, 1))
        by_row = empty((kh, patches.shape[1], c_out), grad_y.dtype)
        for i, row_patches in enumerate(self._by_kernel_row(patches, n, h, w)):
            do(np.matmul, row_patches.T, grad_rows.reshape(-1, c_out), out=by_row[i])
        grad_weight = by_row[:, : kw * c].reshape(kh, kw, c, c_out)
        self._add_gradient(conv.weight, grad_weight.transpose(3, 2, 0, 1))
        self._add_gradient(conv.bias, by_row[0, -1])
        return (grad_y,), x_shape

    def _input_gradient(self, grads: tuple[Array, ...], x_shape: Shape) -> Array:
        n, c, h, w = x_shape
        patches = self._patches(grads[0], self._gradient_padding, (h, w), ones=False)
        return channels_first(self._summed(patches, self._matrices()[1], (n, h, w, c)))

    def _patches(self, x: Array, before: Pair, size: Pair, *, ones: bool) -> Array:
        """Patches under one kernel row, with image rows as the first axis.

        (N, H, W, C) -> (rows * N * W_out, K_w * C (+ 1)).
        """
        conv = self.conv
        rows = size[0] + conv.dilation[0] * (conv.kernel_size[0] - 1)
        across = (1, conv.kernel_size[1])
        return im2col(x, across, (1, 1), before, (rows, size[1]), (1, conv.dilation[1]), ones=ones, rows_first=True)

    def _by_kernel_row(self, patches: Array, n: int, h: int, w: int) -> list[Array]:
        """Patches under each kernel row, (H_out * N * W_out, ...) each; views."""
        steps = [i * self.conv.dilation[0] * n * w for i in range(self.conv.kernel_size[0])]
        return [patches[step : step + h * n * w] for step in steps]

    def _summed(self, patches: Array, filters: Array, shape: Shape) -> Array:
        """Sum of the products over all kernel rows: (N, H, W, C)."""
        n, h, w, c = shape
        row_patches = self._by_kernel_row(patches, n, h, w)
        so_far = product(row_patches[0], filters[0]).reshape(h, n, w, c)
        y = empty(shape, so_far.dtype)
        rows_first = y.swapaxes(0, 1)  # (H, N, W, C)
        for i in range(1, len(row_patches)):
            do(np.add, so_far, product(row_patches[i], filters[i]).reshape(h, n, w, c), out=rows_first)
            so_far = rows_first
        return y
