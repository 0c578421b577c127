"""Pure array functions in adjoint pairs. Nothing here keeps state, reads a file or knows a layer.

Arrays have the shape (N, C, H, W), and those that are made here lie channels-last in memory, as PyTorch's
`channels_last` does: the values that a kernel needs together are then next to each other.

For every pair `f`, `g` below and any arrays of fitting shape, <f(x), u> = <x, g(u)>: `g` is the gradient of `f`. An
`out` of the result's shape takes the result.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import DTypeLike, NDArray

Array: TypeAlias = NDArray[Any]
Pair: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]


def conv_output_size(size: int, kernel_size: int, stride: int, padding: int, dilation: int) -> int:
    """Number of places, along one axis, where a kernel fits; zero or less where it does not fit at all.

    References
    ----------
    Dumoulin and Visin (2016), arXiv:1603.07285, relation 15.
    """
    return (size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1


def unfold(x: Array, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Every patch of `x` that a kernel sees, as a read-only view of the padded `x`.

    Parameters
    ----------
    x : (N, C, H, W) array
    kernel_size, stride, padding, dilation : (rows, columns)
        In pixels; the padding is zeros.

    Returns
    -------
    (N, H_out, W_out, C, K_h, K_w) array
    """
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = kernel_size, stride, padding, dilation
    n, c, h, w = x.shape
    h_out, w_out = conv_output_size(h, kh, sh, ph, dh), conv_output_size(w, kw, sw, pw, dw)
    padded = x
    if ph or pw:
        padded = zeros((n, c, h + 2 * ph, w + 2 * pw), x.dtype)
        padded[:, :, ph : ph + h, pw : pw + w] = x
    by_image, by_channel, by_row, by_column = padded.strides
    return as_strided(
        padded,
        shape=(n, h_out, w_out, c, kh, kw),
        strides=(by_image, by_row * sh, by_column * sw, by_channel, by_row * dh, by_column * dw),
        writeable=False,
    )


def fold(patches: Array, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Adjoint of `unfold`: adds every patch back where it was taken from.

    Parameters
    ----------
    patches : (N, H_out, W_out, C, K_h, K_w) array
    x_shape : (N, C, H, W)
        Shape of the array that `unfold` took the patches from.

    Returns
    -------
    (N, C, H, W) array
    """
    (sh, sw), (ph, pw), (dh, dw) = stride, padding, dilation
    n, c, h, w = x_shape
    _, h_out, w_out, _, kh, kw = patches.shape
    padded = zeros((n, c, h + 2 * ph, w + 2 * pw), patches.dtype)
    for i in range(kh):
        for j in range(kw):
            rows = slice(i * dh, i * dh + sh * (h_out - 1) + 1, sh)
            columns = slice(j * dw, j * dw + sw * (w_out - 1) + 1, sw)
            padded[:, :, rows, columns] += np.moveaxis(patches[..., i, j], -1, 1)  # (N, C, H_out, W_out)
    return padded[:, :, ph : ph + h, pw : pw + w]


def upsample(x: Array, scale_factor: Pair, out: Array | None = None) -> Array:
    """(N, C, H, W) -> (N, C, H*rows, W*columns): every pixel becomes a block of equal pixels."""
    rows, columns = scale_factor
    n, c, h, w = x.shape
    if out is None:
        out = zeros((n, c, h * rows, w * columns), x.dtype)
    np.copyto(out.reshape(n, c, h, rows, w, columns), x[:, :, :, None, :, None])
    return out


def block_sum(u: Array, scale_factor: Pair, out: Array | None = None) -> Array:
    """(N, C, H*rows, W*columns) -> (N, C, H, W): the sum of every block. Adjoint of `upsample`."""
    rows, columns = scale_factor
    n, c, h, w = u.shape
    if out is None:
        out = zeros((n, c, h // rows, w // columns), u.dtype)
    np.copyto(out, u[:, :, ::rows, ::columns])
    for i in range(rows):
        for j in range(columns):
            if (i, j) != (0, 0):
                np.add(out, u[:, :, i::rows, j::columns], out=out)
    return out


def pixel_unshuffle(x: Array, factor: int, out: Array | None = None) -> Array:
    """(N, C, H*factor, W*factor) -> (N, C * factor^2, H, W): the pixels of a block become channels, row by row.

    The channels of one channel's block follow each other, as in PyTorch.
    """
    n, c, h, w = x.shape
    if out is None:
        out = zeros((n, c * factor**2, h // factor, w // factor), x.dtype)
    large, small = _blocks(x, factor), _packed(out, factor)
    for i in range(factor):
        for j in range(factor):
            np.copyto(small[:, :, i, j], large[:, :, :, i, :, j])
    return out


def pixel_shuffle(x: Array, factor: int, out: Array | None = None) -> Array:
    """(N, C * factor^2, H, W) -> (N, C, H*factor, W*factor). Adjoint and inverse of `pixel_unshuffle`."""
    n, c, h, w = x.shape
    if out is None:
        out = zeros((n, c // factor**2, h * factor, w * factor), x.dtype)
    large, small = _blocks(out, factor), _packed(x, factor)
    for i in range(factor):
        for j in range(factor):
            np.copyto(large[:, :, :, i, :, j], small[:, :, i, j])
    return out


def _blocks(x: Array, factor: int) -> Array:
    """(N, C, H*factor, W*factor) -> (N, C, H, factor, W, factor), a view."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // factor, factor, w // factor, factor)


def _packed(x: Array, factor: int) -> Array:
    """(N, C * factor^2, H, W) -> (N, C, factor, factor, H, W), a view."""
    n, c, h, w = x.shape
    return x.reshape(n, c // factor**2, factor, factor, h, w)


def zeros(shape: Shape, dtype: DTypeLike) -> Array:
    """Zeros of shape (N, C, H, W) that lie channels-last in memory."""
    n, c, h, w = shape
    return np.moveaxis(np.zeros((n, h, w, c), dtype), -1, 1)
