"""Convolutions of an upsampled image, computed at low resolution."""

from __future__ import annotations

import numpy as np

from n2n_cli.engine.channels_last import channels_first, channels_last, col2im, im2col, relu_in_place, total
from n2n_cli.engine.fused_conv import FusedConv, Shared, masked
from n2n_cli.engine.pool import empty
from n2n_cli.engine.products import product
from n2n_cli.engine.tape import do
from n2n_cli.nn.activations import ReLU
from n2n_cli.nn.conv import Conv2d
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.geometry import Composition
from n2n_cli.nn.upsampling import NearestUpsampling


class UpsampledConv(FusedConv):
    """Nearest-neighbour upsampling, convolution and optional ReLU, fused.

    Several taps of the kernel fall on copies of the same input pixel, so their weights can be summed beforehand. Which
    taps fall together depends on the position of the output pixel in its block of copies, its phase: each phase has its
    own small kernel, and one product computes all of them (Aitken et al. 2017, arXiv:1707.02937). For scale 2 and a 3x3
    kernel these are four 2x2 kernels: 16 multiplications instead of 36.
    """

    def __init__(self, upsampling: NearestUpsampling, conv: Conv2d, relu: ReLU | None, shared: Shared) -> None:
        self.upsampling, self.scale_factor = upsampling, upsampling.scale_factor
        super().__init__(Composition((upsampling, conv)), conv, relu, shared)
        self.rows, self.columns = (_Phases(upsampling.scale_factor[a], conv.kernel_size[a]) for a in (0, 1))
        self.taps = (self.rows.taps, self.columns.taps)
        # Taps of the original kernel that are summed to each tap of a phase: (fh * th * fw * tw, K_h * K_w) of 0 and 1.
        self._sums = np.kron(self.rows.sums, self.columns.sums).astype(np.float32)

    def forward(self, x: Array) -> Array:
        """(N, C_in, H, W) -> (N, C_out, H*rows, W*columns)."""
        conv, rows, columns = self.conv, self.rows, self.columns
        conv.check_shape(self.upsampling.output_shape(x.shape), conv.in_channels)
        n, _, h, w = x.shape
        (fh, fw), c_out = self.scale_factor, conv.out_channels
        places = (h + rows.spread, w + columns.spread)
        before = (rows.before, columns.before)
        windows = im2col(channels_last(x), self.taps, (1, 1), before, places, (1, 1), ones=conv.bias is not None)
        z = product(windows, self._matrices()[0]).reshape(n, *places, fh, fw, c_out)
        y = empty((n, h, fh, w, fw, c_out), z.dtype)
        for a, i in enumerate(rows.starts):
            for b, j in enumerate(columns.starts):
                do(np.copyto, y[:, :, a, :, b], z[:, i : i + h, j : j + w, a, b])
        y = y.reshape(n, h * fh, w * fw, c_out)
        above = relu_in_place(y, mask=self.training) if self.has_relu else None
        self.keep(windows, above, x.shape)
        return channels_first(y)

    def _accumulate(self, grad_output: Array) -> tuple[tuple[Array, ...], Shape]:
        windows, above, x_shape = self.use_up()
        (n, c, h, w), conv, rows, columns = x_shape, self.conv, self.rows, self.columns
        (fh, fw), (th, tw), c_out = self.scale_factor, self.taps, conv.out_channels
        self.last.check_gradient(grad_output.shape, (n, c_out, h * fh, w * fw))
        grad_y = masked(channels_last(grad_output), above).reshape(n, h, fh, w, fw, c_out)
        grad_z = empty((n, h + rows.spread, w + columns.spread, fh, fw, c_out), grad_y.dtype)
        do(np.copyto, grad_z, 0)
        for a, i in enumerate(rows.starts):
            for b, j in enumerate(columns.starts):
                do(np.copyto, grad_z[:, i : i + h, j : j + w, a, b], grad_y[:, :, a, :, b])
        grad_rows = grad_z.reshape(-1, fh * fw * c_out)
        grad_matrix = product(grad_rows.T, windows)  # (fh * fw * C_out, th * tw * C_in (+ 1))
        grad_filters = grad_matrix[:, : self._width].reshape(fh, fw, c_out, th, tw, c)
        small = empty((c_out, c, fh, th, fw, tw), grad_filters.dtype)
        do(np.copyto, small, grad_filters.transpose(2, 5, 0, 3, 1, 4))
        by_tap = product(small.reshape(c_out * c, -1), self._sums)
        self._add_gradient(conv.weight, by_tap.reshape(conv.weight.data.shape))
        if conv.bias is not None:
            self._add_gradient(conv.bias, total(grad_matrix[:, -1].reshape(-1, c_out), axis=0))
        return (grad_rows,), x_shape

    def _input_gradient(self, grads: tuple[Array, ...], x_shape: Shape) -> Array:
        (n, c, h, w), rows, columns = x_shape, self.rows, self.columns
        grad_windows = product(grads[0], self._matrices()[1])
        patches = grad_windows.reshape(n, h + rows.spread, w + columns.spread, *self.taps, c)
        return channels_first(col2im(patches, (n, h, w, c), (1, 1), (rows.before, columns.before), (1, 1)))

    @property
    def _kind(self) -> tuple[object, ...]:
        return (*super()._kind, self.scale_factor)

    def _make_matrices(self) -> tuple[Array, ...]:
        """Kernels of all phases, for the forward and the backward pass.

        Forward (th * tw * C_in (+ 1), fh * fw * C_out), the last row being the bias; backward the transpose, without
        the bias.
        """
        conv, (fh, fw), (th, tw) = self.conv, self.scale_factor, self.taps
        c_out, c = conv.out_channels, conv.in_channels
        small = conv.weight.data.reshape(c_out * c, -1) @ self._sums.T
        filters = small.reshape(c_out, c, fh, th, fw, tw).transpose(2, 4, 0, 3, 5, 1)
        return self._forward_and_backward(filters.reshape(fh * fw * c_out, th * tw * c))


class _Phases:
    """Phases of an odd-sized kernel on an upsampled image, along one axis.

    Attributes
    ----------
    taps : int
        Maximum number of input pixels under the kernel of any phase: the size of the phase kernels.
    starts : list of int
        For each phase, index of its first window.
    spread : int
        Number of windows minus number of input pixels.
    before : int
        Zero padding before the first input pixel.
    sums : (scale_factor * taps, kernel_size) array of 0 and 1
        Taps of the original kernel that are summed to each tap of a phase kernel.
    """

    def __init__(self, scale_factor: int, kernel_size: int) -> None:
        padding = kernel_size // 2
        seen = [[(a + t - padding) // scale_factor for t in range(kernel_size)] for a in range(scale_factor)]
        first = seen[0][0]
        self.starts = [row[0] - first for row in seen]
        self.taps = max(row[-1] - row[0] + 1 for row in seen)
        self.spread = self.starts[-1]
        self.before = -first
        self.sums = np.zeros((scale_factor * self.taps, kernel_size))
        for a, row in enumerate(seen):
            for t, pixel in enumerate(row):
                self.sums[a * self.taps + pixel - row[0], t] = 1
