"""Faster ways to do what the plain modules do, chosen by `Sequential`; the plain modules stay and are their oracle.

Results are those of the plain modules up to rounding. Parameters, their gradients and their names are the modules' own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from n2n_cli.nn import functional as F
from n2n_cli.nn.conv import Conv2d
from n2n_cli.nn.functional import Array
from n2n_cli.nn.module import Module
from n2n_cli.nn.upsampling import NearestUpsampling


def fuse(modules: Sequence[Module]) -> list[tuple[int, Module]]:
    """The steps that do the work of `modules`, each with the number of the last module that it stands for."""
    steps: list[tuple[int, Module]] = []
    for i, module in enumerate(modules):
        previous = modules[i - 1] if i else None
        if isinstance(module, Conv2d) and _keeps_size(module):
            if isinstance(previous, NearestUpsampling):
                steps[-1] = (i, UpsampledConv(previous, module))
                continue
            if 2 * module.out_channels <= module.in_channels:
                steps.append((i, NarrowConv(module)))
                continue
        steps.append((i, module))
    return steps


def _keeps_size(conv: Conv2d) -> bool:
    """Whether it has stride 1, no dilation, and an odd kernel with the padding that keeps a picture's size."""
    return (
        conv.stride == conv.dilation == (1, 1)
        and conv.kernel_size[0] == 2 * conv.padding[0] + 1
        and conv.kernel_size[1] == 2 * conv.padding[1] + 1
    )


class UpsampledConv(Module):
    """Nearest upsampling and a convolution in one, on the small picture.

    Of the pixels that one tap row of the large kernel sees, several are copies of one small pixel, so their weights can
    be added beforehand. How they fall together depends on where in its block of copies an output pixel lies, its phase:
    each phase has a small kernel of its own, and one product does all of them (Aitken et al. 2017, arXiv:1707.02937).
    For a scale of 2 and a 3x3 kernel that is four 2x2 kernels, 16 multiplications instead of 36.
    """

    def __init__(self, upsampling: NearestUpsampling, conv: Conv2d) -> None:
        super().__init__()
        self.scale_factor, self.conv = upsampling.scale_factor, conv
        self.rows, self.columns = (_Phases(upsampling.scale_factor[a], conv.kernel_size[a]) for a in (0, 1))

    def forward(self, x: Array) -> Array:
        """(N, C_in, H, W) -> (N, C_out, H*rows, W*columns)."""
        conv, rows, columns = self.conv, self.rows, self.columns
        conv._check_shape(x.shape, conv.in_channels)
        n, c, h, w = x.shape
        (fh, fw), c_out = self.scale_factor, conv.out_channels
        padded = F.zeros((n, c, h + rows.before + rows.after, w + columns.before + columns.after), x.dtype)
        padded[:, :, rows.before : rows.before + h, columns.before : columns.before + w] = x
        windows = F.unfold(padded, (rows.taps, columns.taps), (1, 1), (0, 0), (1, 1))
        matrix = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, rows.taps * columns.taps * c)
        self._keep(matrix, x.shape, padded.shape)
        z = (matrix @ self._filters().T).reshape(n, h + rows.spread, w + columns.spread, fh, fw, c_out)
        y = np.empty((n, h, fh, w, fw, c_out), z.dtype)
        bias = conv.bias.data if conv.bias is not None else z.dtype.type(0)
        for a, i in enumerate(rows.starts):
            for b, j in enumerate(columns.starts):
                np.add(z[:, i : i + h, j : j + w, a, b], bias, out=y[:, :, a, :, b])
        return np.moveaxis(y.reshape(n, h * fh, w * fw, c_out), -1, 1)

    def backward(self, grad_output: Array) -> Array:
        """Gradient with respect to the small picture; the convolution's own is added to its `grad`."""
        matrix, (n, c, h, w), padded_shape = self._use_up()
        conv, rows, columns = self.conv, self.rows, self.columns
        (fh, fw), c_out = self.scale_factor, conv.out_channels
        conv._check_gradient(grad_output.shape, (n, c_out, h * fh, w * fw))
        grad_y = np.moveaxis(grad_output, 1, -1).reshape(n, h, fh, w, fw, c_out)
        grad_z = np.zeros((n, h + rows.spread, w + columns.spread, fh, fw, c_out), grad_y.dtype)
        for a, i in enumerate(rows.starts):
            for b, j in enumerate(columns.starts):
                grad_z[:, i : i + h, j : j + w, a, b] = grad_y[:, :, a, :, b]
        grad_rows = grad_z.reshape(-1, fh * fw * c_out)
        if conv.bias is not None:
            conv.bias.grad += grad_rows.sum(axis=0).reshape(-1, c_out).sum(axis=0)
        grad_filters = (grad_rows.T @ matrix).reshape(fh, fw, c_out, rows.taps, columns.taps, c)
        by_row = np.tensordot(rows.matrix, grad_filters, axes=([0, 1], [0, 3]))  # (K_h, fw, C_out, taps, C_in)
        by_both = np.tensordot(columns.matrix, by_row, axes=([0, 1], [1, 3]))  # (K_w, K_h, C_out, C_in)
        conv.weight.grad += by_both.transpose(2, 3, 1, 0)
        grad_windows = (grad_rows @ self._filters()).reshape(*grad_z.shape[:3], rows.taps, columns.taps, c)
        grad_padded = F.fold(np.moveaxis(grad_windows, -1, 3), padded_shape, (1, 1), (0, 0), (1, 1))
        return grad_padded[:, :, rows.before : rows.before + h, columns.before : columns.before + w]

    def _filters(self) -> Array:
        """The small kernels of all phases as one matrix: (rows * columns * C_out, taps * taps * C_in)."""
        weight = self.conv.weight.data
        by_row = np.tensordot(self.rows.matrix, weight, axes=(2, 2))  # (fh, taps, C_out, C_in, K_w)
        by_both = np.tensordot(self.columns.matrix, by_row, axes=(2, 4))  # (fw, taps, fh, taps, C_out, C_in)
        phases, taps = len(self.rows.starts) * len(self.columns.starts), self.rows.taps * self.columns.taps
        filters: Array = by_both.transpose(2, 0, 4, 3, 1, 5).astype(weight.dtype, copy=False)
        return filters.reshape(phases * self.conv.out_channels, taps * self.conv.in_channels)


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
    before, after : int
        Zeros around the small picture.
    matrix : (scale_factor, taps, kernel_size) array of 0 and 1
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
        self.after = seen[-1][0] + self.taps - 1
        self.matrix = np.zeros((scale_factor, self.taps, kernel_size), np.float32)
        for a, row in enumerate(seen):
            for t, pixel in enumerate(row):
                self.matrix[a, pixel - row[0], t] = 1


class NarrowConv(Module):
    """A convolution that keeps the size and has few outputs: product first, then shifted additions.

    The patches of the input would be K*K*C_in wide; the products at every pixel, and the patches of the output
    gradient, are only K*K*C_out wide.
    """

    def __init__(self, conv: Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Array) -> Array:
        """(N, C_in, H, W) -> (N, C_out, H, W)."""
        conv = self.conv
        conv._check_shape(x.shape, conv.in_channels)
        n, c, h, w = x.shape
        (kh, kw), (ph, pw) = conv.kernel_size, conv.padding
        rows = np.moveaxis(x, 1, -1).reshape(-1, c)  # (N*H*W, C_in)
        self._keep(rows, x.shape)
        products = (rows @ self._taps().T).reshape(n, h, w, kh, kw, conv.out_channels)
        # Each product belongs to the output that lies by its tap's offset from it: `fold` with the taps turned round.
        y = F.fold(np.moveaxis(products, -1, 3), (n, conv.out_channels, h, w), (1, 1), (ph, pw), (1, 1))
        if conv.bias is not None:
            y += conv.bias.data[:, None, None]
        return y

    def backward(self, grad_output: Array) -> Array:
        """Gradient with respect to `x`; the convolution's own is added to its `grad`."""
        rows, (n, c, h, w) = self._use_up()
        conv = self.conv
        conv._check_gradient(grad_output.shape, (n, conv.out_channels, h, w))
        patches = F.unfold(grad_output, conv.kernel_size, (1, 1), conv.padding, (1, 1))
        matrix = patches.transpose(0, 1, 2, 4, 5, 3).reshape(len(rows), -1)  # (N*H*W, K_h*K_w*C_out)
        by_tap = (*conv.kernel_size, conv.out_channels, c)
        conv.weight.grad += (matrix.T @ rows).reshape(by_tap)[::-1, ::-1].transpose(2, 3, 0, 1)
        if conv.bias is not None:
            conv.bias.grad += grad_output.sum(axis=(0, 2, 3))
        return np.moveaxis((matrix @ self._taps()).reshape(n, h, w, c), -1, 1)

    def _taps(self) -> Array:
        """The weight, its taps turned round, as a matrix: (K_h * K_w * C_out, C_in)."""
        weight = self.conv.weight.data[:, :, ::-1, ::-1]
        return weight.transpose(2, 3, 0, 1).reshape(-1, self.conv.in_channels)
