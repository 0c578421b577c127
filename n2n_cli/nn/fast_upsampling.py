"""Fast convolutions of an upsampled picture, on the small picture; `fused` says when they are chosen."""

from __future__ import annotations

import numpy as np

from n2n_cli.nn.channels_last import (
    channels_first,
    channels_last,
    col2im,
    im2col,
    product,
    relu_in_place,
    strided,
    total,
)
from n2n_cli.nn.conv import Conv2d
from n2n_cli.nn.fast_conv import FusedConv, masked
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.memory import empty
from n2n_cli.nn.module import Module
from n2n_cli.nn.tape import do
from n2n_cli.nn.upsampling import NearestUpsampling


class UpsampledConv(FusedConv):
    """Nearest upsampling, a convolution and perhaps a ReLU in one, on the small picture.

    Of the pixels that one tap row of the large kernel sees, several are copies of one small pixel, so their weights can
    be added beforehand. How they fall together depends on where in its block of copies an output pixel lies, its phase:
    each phase has a small kernel of its own, and one product does all of them (Aitken et al. 2017, arXiv:1707.02937).
    For a scale of 2 and a 3x3 kernel that is four 2x2 kernels, 16 multiplications instead of 36.
    """

    def __init__(self, upsampling: NearestUpsampling, conv: Conv2d, relu: Module | None = None) -> None:
        super().__init__(conv, relu)
        self.upsampling = upsampling
        self.scale_factor = upsampling.scale_factor
        self.rows, self.columns = (_Phases(upsampling.scale_factor[a], conv.kernel_size[a]) for a in (0, 1))
        self.taps = (self.rows.taps, self.columns.taps)
        # Which taps of the large kernel add up to a tap of a small one: (fh * th * fw * tw, K_h * K_w) of 0 and 1.
        self._sums = np.kron(self.rows.sums, self.columns.sums).astype(np.float32)

    def forward(self, x: Array) -> Array:
        """(N, C_in, H, W) -> (N, C_out, H*rows, W*columns)."""
        conv, rows, columns = self.conv, self.rows, self.columns
        conv._check_shape(self.upsampling.output_shape(x.shape), conv.in_channels)
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
        above = relu_in_place(y) if self.has_relu else None
        self._keep(windows, above, x.shape)
        return channels_first(y)

    def _accumulate(self, grad_output: Array) -> tuple[tuple[Array, ...], Shape]:
        windows, above, x_shape = self._use_up()
        (n, c, h, w), conv, rows, columns = x_shape, self.conv, self.rows, self.columns
        (fh, fw), (th, tw), c_out = self.scale_factor, self.taps, conv.out_channels
        self.last._check_gradient(grad_output.shape, (n, c_out, h * fh, w * fw))
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

    def _make_matrices(self) -> tuple[Array, ...]:
        """The small kernels of all phases: there, (th * tw * C_in (+ 1), fh * fw * C_out), and back, without bias."""
        conv, (fh, fw), (th, tw) = self.conv, self.scale_factor, self.taps
        c_out, c = conv.out_channels, conv.in_channels
        small = conv.weight.data.reshape(c_out * c, -1) @ self._sums.T
        filters = small.reshape(c_out, c, fh, th, fw, tw).transpose(2, 4, 0, 3, 5, 1)
        return self._there_and_back(filters.reshape(fh * fw * c_out, th * tw * c))


class _Phases:
    """Along one axis, how a kernel of odd size on an upsampled picture falls on the small one.

    Attributes
    ----------
    taps : int
        Small pixels that any phase sees.
    starts : list of int
        For each phase, where its window starts, in windows from the first.
    spread : int
        How many windows there are more than small pixels.
    before : int
        Zeros before the small picture.
    sums : (scale_factor * taps, kernel_size) array of 0 and 1
        Which taps of the large kernel add up to a tap of a phase's kernel.
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


class DoubledConv(FusedConv):
    """`UpsampledConv` for a scale of 2 and a 3x3 kernel, with fewer products than the phases have.

    Along one axis, pixel i of the small picture becomes the pixels 2i and 2i + 1, which the taps w0, w1, w2 make into
    w0 x[i-1] + (w1 + w2) x[i] and (w0 + w1) x[i] + w2 x[i+1]. With s = w0 + w1 + w2 and d[i] = x[i] - x[i-1] that is
    s x[i] - w0 d[i] and s x[i] + w2 d[i+1]: three products instead of four. Beyond the picture x is 0. The idea is
    Winograd's (Lavin and Gray 2016, arXiv:1509.09308).

    Done along both axes that leaves 9 of 16 products, but more to add up: so it is on the way back, where there are two
    products to one addition. On the way there it is done along rows, and columns go by their phases: 12 of 16.
    """

    def __init__(self, upsampling: NearestUpsampling, conv: Conv2d, relu: Module | None = None) -> None:
        super().__init__(conv, relu)
        self.upsampling = upsampling

    def forward(self, x: Array) -> Array:
        """(N, C_in, H, W) -> (N, C_out, 2H, 2W)."""
        conv = self.conv
        conv._check_shape(self.upsampling.output_shape(x.shape), conv.in_channels)
        n, _, h, w = x.shape
        shapes = _Shapes(n, h, w, conv.out_channels)
        _, level_filters, below_filters = self._matrices()
        small = channels_last(x)
        below = _differences(small, axis=1)  # (N, H + 1, W, C_in)
        level = product(_column_pairs(small, ones=conv.bias is not None), level_filters)
        between = product(_column_pairs(below, ones=False), below_filters)
        in_row = empty(shapes.in_row, level.dtype)
        do(np.copyto, in_row, shapes.of_columns(level))
        y = empty(shapes.y, level.dtype)
        do(np.copyto, y, shapes.of_pixels(between))
        do(np.add, y, in_row[:, :, None], out=y)
        y = y.reshape(n, 2 * h, 2 * w, conv.out_channels)
        above = relu_in_place(y) if self.has_relu else None
        self._keep(small, below, above, x.shape)
        return channels_first(y)

    def _accumulate(self, grad_output: Array) -> tuple[tuple[Array, ...], Shape]:
        small, below, above, x_shape = self._use_up()
        inputs = (small, _differences(small, axis=2), below, _differences(below, axis=2))
        (n, c, h, w), conv = x_shape, self.conv
        c_out = conv.out_channels
        self.last._check_gradient(grad_output.shape, (n, c_out, 2 * h, 2 * w))
        shapes = _Shapes(n, h, w, c_out)
        grad_y = masked(channels_last(grad_output), above).reshape(shapes.y)
        in_row = empty(shapes.in_row, grad_y.dtype)
        do(np.add, grad_y[:, :, 0], grad_y[:, :, 1], out=in_row)
        level = empty((n * h * w, c_out), grad_y.dtype)
        do(np.add, in_row[:, :, :, 0], in_row[:, :, :, 1], out=level.reshape(n, h, w, c_out))
        across = empty((n * h * (w + 1), 2 * c_out), grad_y.dtype)
        down = empty((n * (h + 1) * w, 2 * c_out), grad_y.dtype)
        both = empty((n * (h + 1) * (w + 1), 4 * c_out), grad_y.dtype)
        for part in (across, down, both):
            do(np.copyto, part, 0)
        do(np.copyto, shapes.of_columns(across), in_row)
        do(np.add, grad_y[:, :, :, :, 0], grad_y[:, :, :, :, 1], out=shapes.of_down(down))
        do(np.copyto, shapes.of_pixels(both), grad_y)
        grads = (level, across, down, both)
        by_kind = empty((9 * c_out, c), grad_y.dtype)
        for i, part in enumerate(self._parts(by_kind)):
            do(np.matmul, grads[i].T, inputs[i].reshape(-1, c), out=part)
        by_tap = product(_KINDS.T, by_kind.reshape(9, c_out * c))
        self._add_gradient(conv.weight, by_tap.reshape(3, 3, c_out, c).transpose(2, 3, 0, 1))
        self._add_gradient(conv.bias, total(level, axis=0))
        return grads, x_shape

    def _input_gradient(self, grads: tuple[Array, ...], x_shape: Shape) -> Array:
        n, c, h, w = x_shape
        filters = self._parts(self._matrices()[0])
        level, across, down, both = (product(grads[i], filters[i]) for i in range(4))
        level, down = level.reshape(n, h, w, c), down.reshape(n, h + 1, w, c)
        _add_differences(down, both.reshape(n, h + 1, w + 1, c), axis=2)
        _add_differences(level, across.reshape(n, h, w + 1, c), axis=2)
        _add_differences(level, down, axis=1)
        return channels_first(level)

    def _parts(self, matrix: Array) -> tuple[Array, ...]:
        """(1, 2, 2 and 4 times C_out, C_in): for the picture, its differences across, down, and both."""
        c_out = self.conv.out_channels
        return matrix[:c_out], matrix[c_out : 3 * c_out], matrix[3 * c_out : 5 * c_out], matrix[5 * c_out :]

    def _make_matrices(self) -> tuple[Array, ...]:
        """For the way back (9 * C_out, C_in); for the picture and its differences (2 * C_in (+ 1), 2 or 4 * C_out)."""
        conv, c, c_out = self.conv, self.conv.in_channels, self.conv.out_channels
        weight = conv.weight.data.transpose(2, 3, 0, 1)  # (3, 3, C_out, C_in)
        by_kind = (_KINDS @ weight.reshape(9, -1)).reshape(-1, c)
        by_row = np.tensordot(_ALONG, weight, axes=1)  # (kind, 3, C_out, C_in)
        pairs = np.tensordot(by_row, _PAIRS, axes=(1, 2)).transpose(0, 4, 2, 3, 1)  # (kind, tap, C_in, b, C_out)
        level = pairs[0].reshape(2 * c, 2 * c_out)
        if conv.bias is not None:
            level = np.concatenate([level, np.resize(conv.bias.data, (1, 2 * c_out))])
        below = pairs[1:].transpose(1, 2, 0, 3, 4).reshape(2 * c, 4 * c_out)  # (tap, C_in, a, b, C_out)
        return by_kind, level, below


_ALONG = np.array([[1, 1, 1], [-1, 0, 0], [0, 0, 1]], np.float32)  # s, -w0 and w2 from w0, w1, w2
_ORDER = [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (1, 1), (1, 2), (2, 1), (2, 2)]  # of (rows, columns)
_KINDS = np.stack([np.kron(_ALONG[i], _ALONG[j]) for i, j in _ORDER])
"""(9, 9): the nine small kernels' weights, from the 3x3 kernel's."""
_PAIRS = np.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], np.float32)
"""(phase, tap, 3): the two taps of each phase, from w0, w1, w2."""


def _column_pairs(x: Array, *, ones: bool) -> Array:
    """(N, H, W, C) -> (N * H * (W + 1), 2C (+ 1)): each pixel with the one before it, zeros beyond the picture."""
    return im2col(x, (1, 2), (1, 1), (0, 1), (x.shape[1], x.shape[2] + 1), (1, 1), ones=ones)


class _Shapes:
    """The arrays of `DoubledConv`, and where the phases a of rows and b of columns lie in them.

    A product with the differences between pixels i - 1 and i goes to phase 0 of pixel i and to phase 1 of pixel i - 1:
    seen from the pixels, phase a is the part number a of the difference number i + a.
    """

    def __init__(self, n: int, h: int, w: int, c: int) -> None:
        self.n, self.h, self.w, self.c = n, h, w, c
        self.in_row = (n, h, w, 2, c)
        self.y = (n, h, 2, w, 2, c)

    def of_columns(self, across: Array) -> Array:
        """(N * H * (W + 1), 2C) -> (N, H, W, b, C)."""
        w, c = self.w, self.c
        return strided(across, self.in_row, (self.h * (w + 1) * 2 * c, (w + 1) * 2 * c, 2 * c, 3 * c, 1))

    def of_down(self, down: Array) -> Array:
        """(N * (H + 1) * W, 2C) -> (N, H, a, W, C)."""
        row, c = self.w * 2 * self.c, self.c
        return strided(down, (self.n, self.h, 2, self.w, c), ((self.h + 1) * row, row, row + c, 2 * c, 1))

    def of_pixels(self, both: Array) -> Array:
        """(N * (H + 1) * (W + 1), 4C) -> (N, H, a, W, b, C)."""
        row, c = (self.w + 1) * 4 * self.c, self.c
        return strided(both, self.y, ((self.h + 1) * row, row, row + 2 * c, 4 * c, 5 * c, 1))


def _differences(x: Array, *, axis: int) -> Array:
    """(N, H, W, C) -> one more along an axis, (N, H + 1, W, C): x[i] - x[i - 1], x being 0 beyond its ends."""
    n, h, w, c = x.shape
    kind = np.result_type(x, np.float32)  # differences of small integers may leave their range
    if axis == 1:
        d = empty((n, h + 1, w, c), kind)
        do(np.subtract, x[:, 1:], x[:, :-1], out=d[:, 1:-1], dtype=kind)
        do(np.copyto, d[:, 0], x[:, 0])
        do(np.negative, x[:, -1], out=d[:, -1], dtype=kind)
    else:
        d = empty((n, h, w + 1, c), kind)
        do(np.subtract, x[:, :, 1:], x[:, :, :-1], out=d[:, :, 1:-1], dtype=kind)
        do(np.copyto, d[:, :, 0], x[:, :, 0])
        do(np.negative, x[:, :, -1], out=d[:, :, -1], dtype=kind)
    return d


def _add_differences(x: Array, d: Array, *, axis: int) -> None:
    """Adjoint of `_differences`: adds d[i] - d[i + 1] to x."""
    first, second = (d[:, :-1], d[:, 1:]) if axis == 1 else (d[:, :, :-1], d[:, :, 1:])
    do(np.add, x, first, out=x)
    do(np.subtract, x, second, out=x)
