"""Upsampling by 2 followed by a 3x3 convolution, as in decoders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from n2n_cli.engine.bordered import Bordered, clear_border, inside, with_border
from n2n_cli.engine.channels_last import channels_first, channels_last, im2col, relu_in_place, total
from n2n_cli.engine.fused_conv import FusedConv, Shared, masked
from n2n_cli.engine.pool import empty
from n2n_cli.engine.products import product, rows_unpacked
from n2n_cli.engine.tape import do
from n2n_cli.nn.activations import ReLU
from n2n_cli.nn.conv import Conv2d
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.geometry import Composition
from n2n_cli.nn.upsampling import NearestUpsampling

_ALONG = np.array([[1, 1, 1], [0, 0, 1], [-1, 0, 0]], np.float32)
"""(3, 3): maps w0, w1, w2 to s, and to the factors of d[i] in outputs 2i - 1 and 2i, w2 and -w0."""
_ORDER = [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (1, 1), (1, 2), (2, 1), (2, 2)]  # of (rows, columns)
_FACTORS = np.stack([np.kron(_ALONG[i], _ALONG[j]) for i, j in _ORDER])
"""(9, 9): maps the taps of the 3x3 kernel to the nine factors, in the order of `_ORDER`."""
_PAIRS = np.array([[[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]]], np.float32)
"""(phase, tap, 3): maps w0, w1, w2 to the factors of x[i-1] and x[i] in outputs 2i - 1 and 2i."""


class DoubledConv(FusedConv):
    """`UpsampledConv` for scale 2 and a 3x3 kernel, with fewer multiplications.

    Along one axis, pixel i of the input is repeated as pixels 2i and 2i + 1. With the taps w0, w1, w2, the outputs at
    these are w0 x[i-1] + (w1 + w2) x[i] and (w0 + w1) x[i] + w2 x[i+1]. With s = w0 + w1 + w2 and d[i] = x[i] - x[i-1]
    they are s x[i] - w0 d[i] and s x[i] + w2 d[i+1]: three products instead of four. Outside the image x is 0. The idea
    is Winograd's (Lavin and Gray 2016, arXiv:1509.09308).

    Along both axes this takes 9 instead of 16 products, but more additions. The backward pass does so, since it has two
    products per addition. The forward pass does so along the vertical axis only and computes the phases along the
    horizontal axis directly: 12 instead of 16 products.

    All arrays have rows as their first axis. Pixels x[i-1] and x[i] (or d[i]) determine outputs 2i - 1 and 2i, so
    windows that extend one pixel beyond the input on either side give the output with a border of one pixel, in order.

    Attributes
    ----------
    gives_border : bool
        True if the next kernel takes the output with its border of zeros: see `bordered`.
    """

    gives_border = False
    gradient_order = (2, 3, 0, 1)

    def __init__(self, upsampling: NearestUpsampling, conv: Conv2d, relu: ReLU | None, shared: Shared) -> None:
        super().__init__(Composition((upsampling, conv)), conv, relu, shared)
        self.upsampling = upsampling

    def forward(self, x: Array | Bordered) -> Array:
        """(N, C_in, H, W) -> (N, C_out, 2H, 2W)."""
        return channels_first(channels_last(inside(self._with_border(x))))

    def forward_inside(self, x: Any) -> Any:
        return Bordered(self._with_border(x)) if self.gives_border else self.forward(x)

    def _with_border(self, x: Array | Bordered) -> Array:
        """(N, C_in, H, W) -> (2H + 2, N, 2W + 2, C_out), with a border of zeros."""
        conv = self.conv
        conv.check_shape(self.upsampling.output_shape(x.shape), conv.in_channels)
        (n, c, h, w), c_out = x.shape, conv.out_channels
        _, level_filters, below_filters = self._matrices()
        padded = with_border(x)
        below = empty((h + 1, n, w + 2, c), padded.dtype)
        do(np.subtract, padded[1:], padded[:-1], out=below)
        pairs = _column_pairs(below, ones=False).reshape(h + 1, 1, n, w + 1, 2 * c)
        y = empty((2 * h + 2, n, 2 * w + 2, c_out), np.result_type(padded, below_filters))
        images = _images_at_once(n, rows_unpacked(2 * c, 2 * c_out) // (w + 1))
        do(
            np.matmul,
            pairs.reshape(h + 1, 1, n // images, images * (w + 1), 2 * c),
            below_filters[:, None],
            out=y.reshape(h + 1, 2, n // images, images * (w + 1), 2 * c_out),
        )
        del pairs
        level = product(_column_pairs(padded[1:-1], ones=conv.bias is not None), level_filters)
        rows = y[1:-1].reshape(h, 2, -1)
        do(np.add, rows, level.reshape(h, 1, -1), out=rows)
        del level
        clear_border(y)
        above = relu_in_place(y, mask=self.training) if self.has_relu else None
        self.keep(padded, below, above, x.shape)
        return y

    def _accumulate(self, grad_output: Array | Bordered) -> tuple[tuple[Array, ...], Shape]:
        padded, below, above, x_shape = self.use_up()
        (n, c, h, w), c_out = x_shape, self.conv.out_channels
        self.last.check_gradient(grad_output.shape, (n, c_out, 2 * h, 2 * w))
        grad_y = self._before_relu(grad_output, above)
        rows = grad_y[1:-1].reshape(h, 2, n, 2 * w + 2, c_out)
        in_row = empty((h, n, 2 * w + 2, c_out), grad_y.dtype)
        do(np.add, rows[:, 0], rows[:, 1], out=in_row)
        columns = in_row[:, :, 1:-1].reshape(h, n, w, 2, c_out)
        level = empty((h, n, w, c_out), grad_y.dtype)
        do(np.add, columns[:, :, :, 0], columns[:, :, :, 1], out=level)
        blocks = grad_y.reshape(h + 1, 2, n, w + 1, 2 * c_out)
        columns = grad_y[:, :, 1:-1].reshape(h + 1, 2, n, w, 2, c_out)
        down = empty((h + 1, n, w, 2, c_out), grad_y.dtype)
        do(np.add, columns[..., 0, :], columns[..., 1, :], out=down.transpose(0, 3, 1, 2, 4))
        both = empty((h + 1, n, w + 1, 2, 2 * c_out), grad_y.dtype)
        do(np.copyto, both.transpose(0, 3, 1, 2, 4), blocks)
        grads = tuple(g.reshape(-1, size * c_out) for g, size in ((level, 1), (in_row, 2), (down, 2), (both, 4)))
        by_factor = empty((9 * c_out, c), grad_y.dtype)
        for grad, x, part in zip(grads, self._inputs(padded, below), self._parts(by_factor), strict=True):
            do(np.matmul, grad.T, x.reshape(-1, c), out=part)
        by_tap = product(_FACTORS.T, by_factor.reshape(9, c_out * c))
        self._add_gradient(self.conv.weight, by_tap.reshape(3, 3, c_out, c).transpose(2, 3, 0, 1))
        self._add_gradient(self.conv.bias, total(level, axis=(0, 1, 2)))
        return grads, x_shape

    def _before_relu(self, grad_output: Array | Bordered, above: Array | None) -> Array:
        """Gradient before the ReLU, with a border of zeros.

        (N, C_out, 2H, 2W) -> (2H + 2, N, 2W + 2, C_out).
        """
        if isinstance(grad_output, Bordered):
            if above is not None:  # the border may hold any values, but the mask is zero there
                return masked(grad_output.padded, above)
            grad_output = inside(grad_output.padded)
        n, c, h, w = grad_output.shape
        grad_y = empty((h + 2, n, w + 2, c), grad_output.dtype)
        clear_border(grad_y)
        middle, source = grad_y[1:-1, :, 1:-1], grad_output.transpose(2, 0, 3, 1)
        if above is None:
            do(np.copyto, middle, source)
        else:
            do(np.multiply, source, above[1:-1, :, 1:-1], out=middle)
        return grad_y

    def _inputs(self, padded: Array, below: Array) -> Iterator[Array]:
        """Image, its horizontal, vertical and mixed differences, each contiguous."""
        for source in (padded[1:-1], below):
            rows, n, columns, c = source.shape
            compact = empty((rows, n, columns - 2, c), source.dtype)
            do(np.copyto, compact, source[:, :, 1:-1])
            yield compact
            across = empty((rows, n, columns - 1, c), source.dtype)
            do(np.subtract, source[:, :, 1:], source[:, :, :-1], out=across)
            yield across

    def _input_gradient(self, grads: tuple[Array, ...], x_shape: Shape) -> Array:
        n, c, h, w = x_shape
        filters = self._parts(self._matrices()[0])
        level, across, down, both = (product(grads[i], filters[i]) for i in range(4))
        level, down = level.reshape(h, n, w, c), down.reshape(h + 1, n, w, c)
        for x, d in ((down, both.reshape(h + 1, n, w + 1, c)), (level, across.reshape(h, n, w + 1, c))):
            do(np.add, x, d[:, :, :-1], out=x)
            do(np.subtract, x, d[:, :, 1:], out=x)
        do(np.add, level, down[:-1], out=level)
        do(np.subtract, level, down[1:], out=level)
        return level.transpose(1, 3, 0, 2)

    def _parts(self, matrix: Array) -> tuple[Array, ...]:
        """Factors of the image, its horizontal, vertical and mixed differences.

        Views of the matrix with 1, 2, 2 and 4 times C_out rows and C_in columns.
        """
        c_out = self.conv.out_channels
        return matrix[:c_out], matrix[c_out : 3 * c_out], matrix[3 * c_out : 5 * c_out], matrix[5 * c_out :]

    def _make_matrices(self) -> tuple[Array, ...]:
        """Filters of the backward pass, and two of the forward pass.

        Backward (9 * C_out, C_in); forward for x, (2 * C_in (+ 1), 2 * C_out), and for its vertical differences, in
        both output rows, (2, 2 * C_in, 2 * C_out).
        """
        conv, c, c_out = self.conv, self.conv.in_channels, self.conv.out_channels
        weight = conv.weight.data.transpose(2, 3, 0, 1)  # (3, 3, C_out, C_in)
        by_factor = (_FACTORS @ weight.reshape(9, -1)).reshape(-1, c)
        by_row = np.tensordot(_ALONG, weight, axes=1)  # (factor, 3, C_out, C_in)
        pairs = np.tensordot(by_row, _PAIRS, axes=(1, 2)).transpose(0, 4, 2, 3, 1)  # (factor, tap, C_in, b, C_out)
        level, *below = pairs.reshape(3, 2 * c, 2 * c_out)
        if conv.bias is not None:
            level = np.concatenate([level, np.resize(conv.bias.data, (1, 2 * c_out))])
        return by_factor, level, np.stack(below)


def _column_pairs(x: Array, *, ones: bool) -> Array:
    """Pairs of horizontally neighbouring pixels, x[i-1] and x[i].

    (H, N, W + 2, C) -> (H * N * (W + 1), 2C (+ 1)).
    """
    _, n, columns, _ = x.shape
    return im2col(x, (1, 2), (1, 1), (0, 0), (n, columns - 1), (1, 1), ones=ones)


def _images_at_once(n: int, unpacked: int) -> int:
    """Number of images per matrix product.

    The largest divisor of `n` up to `unpacked`, the number of images that BLAS multiplies without packing; `n` if that
    is 0.
    """
    return max((k for k in range(1, min(n, unpacked) + 1) if n % k == 0), default=max(1, n))
