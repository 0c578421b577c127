"""Fast convolutions of an upsampled picture, on the small picture; `fused` says when they are chosen."""

from __future__ import annotations

import numpy as np

from n2n_cli.nn.channels_last import channels_first, channels_last, col2im, im2col, product, relu_in_place
from n2n_cli.nn.conv import Conv2d
from n2n_cli.nn.fast_conv import FusedConv, masked
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.memory import empty
from n2n_cli.nn.module import Module
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
        z = product(windows, self._matrix().T).reshape(n, *places, fh, fw, c_out)
        y = empty((n, h, fh, w, fw, c_out), z.dtype)
        for a, i in enumerate(rows.starts):
            for b, j in enumerate(columns.starts):
                np.copyto(y[:, :, a, :, b], z[:, i : i + h, j : j + w, a, b])
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
        grad_z.fill(0)
        for a, i in enumerate(rows.starts):
            for b, j in enumerate(columns.starts):
                np.copyto(grad_z[:, i : i + h, j : j + w, a, b], grad_y[:, :, a, :, b])
        grad_rows = grad_z.reshape(-1, fh * fw * c_out)
        grad_matrix = product(grad_rows.T, windows)  # (fh * fw * C_out, th * tw * C_in (+ 1))
        grad_filters = grad_matrix[:, : self._width].reshape(fh, fw, c_out, th, tw, c)
        by_tap = grad_filters.transpose(2, 5, 0, 3, 1, 4).reshape(c_out * c, -1) @ self._sums
        self._add_gradient(conv.weight, by_tap.reshape(conv.weight.data.shape))
        self._add_gradient(conv.bias, grad_matrix[:, -1].reshape(-1, c_out).sum(axis=0))
        return (grad_rows,), x_shape

    def _input_gradient(self, grads: tuple[Array, ...], x_shape: Shape) -> Array:
        (n, c, h, w), rows, columns = x_shape, self.rows, self.columns
        grad_windows = product(grads[0], self._matrix()[:, : self._width])
        patches = grad_windows.reshape(n, h + rows.spread, w + columns.spread, *self.taps, c)
        return channels_first(col2im(patches, (n, h, w, c), (1, 1), (rows.before, columns.before), (1, 1)))

    def _make_matrix(self) -> Array:
        """The small kernels of all phases: (fh * fw * C_out, th * tw * C_in (+ 1))."""
        conv, (fh, fw), (th, tw) = self.conv, self.scale_factor, self.taps
        c_out, c = conv.out_channels, conv.in_channels
        small = conv.weight.data.reshape(c_out * c, -1) @ self._sums.T
        filters = small.reshape(c_out, c, fh, th, fw, tw).transpose(2, 4, 0, 3, 5, 1)
        return self._with_bias(filters.reshape(fh * fw * c_out, th * tw * c))


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
    """`UpsampledConv` for a scale of 2 and a 3x3 kernel, with 9 multiplications where the phases have 16.

    Along one axis, pixel i of the small picture becomes the pixels 2i and 2i + 1, which the taps w0, w1, w2 make into
    w0 x[i-1] + (w1 + w2) x[i] and (w0 + w1) x[i] + w2 x[i+1]. With s = w0 + w1 + w2 and d[i] = x[i] - x[i-1] that is
    s x[i] - w0 d[i] and s x[i] + w2 d[i+1]: three products instead of four, and along both axes nine instead of
    sixteen. Beyond the picture x is 0. The idea is Winograd's (Lavin and Gray 2016, arXiv:1509.09308).
    """

    def __init__(self, upsampling: NearestUpsampling, conv: Conv2d, relu: Module | None = None) -> None:
        super().__init__(conv, relu)
        self.upsampling = upsampling

    def forward(self, x: Array) -> Array:
        """(N, C_in, H, W) -> (N, C_out, 2H, 2W)."""
        conv = self.conv
        conv._check_shape(self.upsampling.output_shape(x.shape), conv.in_channels)
        n, c, h, w = x.shape
        c_out = conv.out_channels
        small = channels_last(x)
        down = _differences(small, axis=1)  # (N, H + 1, W, C_in)
        inputs = (small, _differences(small, axis=2), down, _differences(down, axis=2))
        products = (
            product(part.reshape(-1, c), filters.T) for part, filters in zip(inputs, self._filters(), strict=True)
        )
        level, across, down, both = products
        if conv.bias is not None:
            np.add(level, conv.bias.data, out=level)
        level, across = level.reshape(n, h, w, c_out), across.reshape(n, h, w + 1, 2, c_out)
        down, both = down.reshape(n, h + 1, w, 2, c_out), both.reshape(n, h + 1, w + 1, 2, 2, c_out)
        in_row = empty((n, h, w, 2, c_out), level.dtype)
        between_rows = empty((n, h + 1, 2, w, 2, c_out), level.dtype)
        y = empty((n, h, 2, w, 2, c_out), level.dtype)
        for b in (0, 1):
            np.add(level, across[:, :, b : b + w, b], out=in_row[:, :, :, b])
            for a in (0, 1):
                np.add(down[:, :, :, a], both[:, :, b : b + w, a, b], out=between_rows[:, :, a, :, b])
        for a in (0, 1):
            np.add(in_row, between_rows[:, a : a + h, a], out=y[:, :, a])
        y = y.reshape(n, 2 * h, 2 * w, c_out)
        above = relu_in_place(y) if self.has_relu else None
        self._keep(inputs, above, x.shape)
        return channels_first(y)

    def _accumulate(self, grad_output: Array) -> tuple[tuple[Array, ...], Shape]:
        inputs, above, x_shape = self._use_up()
        (n, c, h, w), conv = x_shape, self.conv
        c_out = conv.out_channels
        self.last._check_gradient(grad_output.shape, (n, c_out, 2 * h, 2 * w))
        grad_y = masked(channels_last(grad_output), above).reshape(n, h, 2, w, 2, c_out)
        in_row = empty((n, h, w, 2, c_out), grad_y.dtype)
        np.add(grad_y[:, :, 0], grad_y[:, :, 1], out=in_row)
        level = empty((n, h, w, c_out), grad_y.dtype)
        np.add(in_row[:, :, :, 0], in_row[:, :, :, 1], out=level)
        across = empty((n, h, w + 1, 2, c_out), grad_y.dtype)
        down = empty((n, h + 1, w, 2, c_out), grad_y.dtype)
        both = empty((n, h + 1, w + 1, 2, 2, c_out), grad_y.dtype)
        for part in (across, down, both):
            part.fill(0)
        for a in (0, 1):
            np.copyto(across[:, :, a : a + w, a], in_row[:, :, :, a])
            np.add(grad_y[:, :, a, :, 0], grad_y[:, :, a, :, 1], out=down[:, a : a + h, :, a])
            for b in (0, 1):
                np.copyto(both[:, a : a + h, b : b + w, a, b], grad_y[:, :, a, :, b])
        grads = tuple(
            part.reshape(-1, width * c_out) for part, width in zip((level, across, down, both), _WIDTHS, strict=True)
        )
        by_kind = np.concatenate(
            [product(grad.T, part.reshape(-1, c)) for grad, part in zip(grads, inputs, strict=True)]
        )  # (9 * C_out, C_in)
        by_tap = _KINDS.T @ by_kind.reshape(9, c_out * c)
        self._add_gradient(conv.weight, by_tap.reshape(3, 3, c_out, c).transpose(2, 3, 0, 1))
        self._add_gradient(conv.bias, np.add.reduce(grads[0], axis=0))
        return grads, x_shape

    def _input_gradient(self, grads: tuple[Array, ...], x_shape: Shape) -> Array:
        n, c, h, w = x_shape
        level, across, down, both = (product(grad, part) for grad, part in zip(grads, self._filters(), strict=True))
        level, down = level.reshape(n, h, w, c), down.reshape(n, h + 1, w, c)
        _add_differences(down, both.reshape(n, h + 1, w + 1, c), axis=2)
        _add_differences(level, across.reshape(n, h, w + 1, c), axis=2)
        _add_differences(level, down, axis=1)
        return channels_first(level)

    def _filters(self) -> list[Array]:
        """(1, 2, 2 and 4 times C_out, C_in): for the picture, its differences across, down, and both."""
        return np.split(self._matrix(), np.cumsum(_WIDTHS)[:-1] * self.conv.out_channels)

    def _make_matrix(self) -> Array:
        weight = self.conv.weight.data.transpose(2, 3, 0, 1)  # (3, 3, C_out, C_in)
        return (_KINDS @ weight.reshape(9, -1)).reshape(-1, self.conv.in_channels)


_WIDTHS = (1, 2, 2, 4)
_ALONG = np.array([[1, 1, 1], [-1, 0, 0], [0, 0, 1]], np.float32)  # s, -w0 and w2 from w0, w1, w2
_ORDER = [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (1, 1), (1, 2), (2, 1), (2, 2)]  # of (rows, columns)
_KINDS = np.stack([np.kron(_ALONG[i], _ALONG[j]) for i, j in _ORDER])
"""(9, 9): the nine small kernels' weights, from the 3x3 kernel's."""


def _differences(x: Array, *, axis: int) -> Array:
    """x[i] - x[i - 1] along an axis, x being 0 beyond its ends: one more than x has."""
    size = x.shape[axis]
    d = empty((*x.shape[:axis], size + 1, *x.shape[axis + 1 :]), x.dtype)
    x, d_ = np.moveaxis(x, axis, 0), np.moveaxis(d, axis, 0)
    np.subtract(x[1:], x[:-1], out=d_[1:-1])
    d_[0] = x[0]
    np.negative(x[-1], out=d_[-1])
    return d


def _add_differences(x: Array, d: Array, *, axis: int) -> None:
    """Adjoint of `_differences`: adds d[i] - d[i + 1] to x."""
    x, d = np.moveaxis(x, axis, 0), np.moveaxis(d, axis, 0)
    np.add(x, d[:-1], out=x)
    np.subtract(x, d[1:], out=x)
