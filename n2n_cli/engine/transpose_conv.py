"""Transposed convolution: one product, whose overlapping patches are summed."""

from __future__ import annotations

import numpy as np

from n2n_cli.engine.channels_last import channels_first, channels_last, col2im, im2col, total
from n2n_cli.engine.kernel import TrainableKernel
from n2n_cli.engine.pool import empty
from n2n_cli.engine.products import product
from n2n_cli.engine.tape import do
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.transpose_conv import TransposeConv2d


class TransposeConvKernel(TrainableKernel):
    """`nn.TransposeConv2d`."""

    tapes = learns = True

    def __init__(self, module: TransposeConv2d) -> None:
        super().__init__(module)
        self.conv = module

    def forward(self, x: Array) -> Array:
        """(N, C_in, H, W) -> (N, C_out, H_out, W_out)."""
        n, c_out, h_out, w_out = shape = self.conv.output_shape(x.shape)
        rows = channels_last(x).reshape(-1, self.conv.in_channels)  # (N*H*W, C_in)
        filters = empty((self.conv.in_channels, *self.conv.kernel_size, c_out), self.conv.weight.data.dtype)
        do(np.copyto, filters, self.conv.weight.data.transpose(0, 2, 3, 1))
        filters = filters.reshape(self.conv.in_channels, -1)
        self.keep(rows, filters, x.shape, shape)
        patches = product(rows, filters).reshape(n, *x.shape[2:], *self.conv.kernel_size, c_out)
        if self._abutting:
            return self._side_by_side(patches)
        y = col2im(patches, (n, h_out, w_out, c_out), self.conv.stride, self.conv.padding, self.conv.dilation)
        if self.conv.bias is not None:
            do(np.add, y, self.conv.bias.data, out=y)
        return channels_first(y)

    def backward(self, grad_output: Array) -> Array:
        """Gradient with respect to `x`; adds the parameter gradients to `grad`."""
        columns, filters, x_shape = self._accumulate(grad_output)
        n, c, h, w = x_shape
        return channels_first(product(columns, filters.T).reshape(n, h, w, c))

    def accumulate(self, grad_output: Array) -> None:
        self._accumulate(grad_output)

    def _accumulate(self, grad_output: Array) -> tuple[Array, Array, Shape]:
        """Add the parameter gradients.

        Returns the patches of the output gradient, the filters, and the input shape.
        """
        rows, filters, x_shape, shape = self.use_up()
        self.check_gradient(grad_output.shape, shape)
        conv, grad_nhwc, size = self.conv, channels_last(grad_output), (x_shape[2], x_shape[3])
        columns = im2col(grad_nhwc, conv.kernel_size, conv.stride, conv.padding, size, conv.dilation, ones=False)
        by_tap = product(rows.T, columns).reshape(conv.in_channels, *conv.kernel_size, conv.out_channels)
        do(np.add, conv.weight.grad, by_tap.transpose(0, 3, 1, 2), out=conv.weight.grad)
        if conv.bias is not None:
            do(np.add, conv.bias.grad, total(grad_nhwc, axis=(0, 1, 2)), out=conv.bias.grad)
        return columns, filters, x_shape

    @property
    def _abutting(self) -> bool:
        """True if kernels tile the output without overlap, so nothing is summed."""
        return (
            self.conv.kernel_size == self.conv.stride
            and self.conv.dilation == (1, 1)
            and self.conv.padding == self.conv.output_padding == (0, 0)
        )

    def _side_by_side(self, patches: Array) -> Array:
        """Arrange patches side by side and add the bias.

        (N, H, W, K_h, K_w, C_out) -> (N, C_out, H*K_h, W*K_w).
        """
        n, h, w, kh, kw, c = patches.shape
        y, patches = empty((n, h, kh, w, kw, c), patches.dtype), patches.swapaxes(2, 3)
        if self.conv.bias is None:
            do(np.copyto, y, patches)
        else:
            do(np.add, patches, self.conv.bias.data, out=y)
        return channels_first(y.reshape(n, h * kh, w * kw, c))
