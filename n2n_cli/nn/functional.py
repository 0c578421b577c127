"""Pure array functions in adjoint pairs.

Arrays have the shape (N, C, H, W). For every pair `f`, `g` below and any arrays of matching shape,
<f(x), u> = <x, g(u)>: `g` is the backward pass of `f`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Pair: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]


def conv_output_size(size: int, kernel_size: int, stride: int, padding: int, dilation: int) -> int:
    """Output size of a convolution along one axis.

    Zero or negative if the input is smaller than the kernel.

    References
    ----------
    Dumoulin and Visin (2016), arXiv:1603.07285, relation 15.
    """
    return (size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1


def unfold(x: Array, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Patches of `x` under every kernel position, a view of the padded `x`.

    The view is read-only.

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
        padded = np.zeros((n, c, h + 2 * ph, w + 2 * pw), x.dtype)
        padded[:, :, ph : ph + h, pw : pw + w] = x
    by_image, by_channel, by_row, by_column = padded.strides
    return as_strided(
        padded,
        shape=(n, h_out, w_out, c, kh, kw),
        strides=(by_image, by_row * sh, by_column * sw, by_channel, by_row * dh, by_column * dw),
        writeable=False,
    )


def fold(patches: Array, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Adjoint of `unfold`: add every patch back where it was taken from.

    Parameters
    ----------
    patches : (N, H_out, W_out, C, K_h, K_w) array
    x_shape : (N, C, H, W)
        Shape of the input of `unfold`.

    Returns
    -------
    (N, C, H, W) array
    """
    (sh, sw), (ph, pw), (dh, dw) = stride, padding, dilation
    n, c, h, w = x_shape
    _, h_out, w_out, _, kh, kw = patches.shape
    padded = np.zeros((n, c, h + 2 * ph, w + 2 * pw), patches.dtype)
    for i in range(kh):
        for j in range(kw):
            rows = slice(i * dh, i * dh + sh * (h_out - 1) + 1, sh)
            columns = slice(j * dw, j * dw + sw * (w_out - 1) + 1, sw)
            padded[:, :, rows, columns] += np.moveaxis(patches[..., i, j], -1, 1)  # (N, C, H_out, W_out)
    return padded[:, :, ph : ph + h, pw : pw + w]


def upsample(x: Array, scale_factor: Pair) -> Array:
    """Repeat every pixel as a block of rows x columns equal pixels.

    (N, C, H, W) -> (N, C, H*rows, W*columns).
    """
    rows, columns = scale_factor
    return x.repeat(rows, axis=2).repeat(columns, axis=3)


def block_sum(u: Array, scale_factor: Pair) -> Array:
    """Sum of every block of rows x columns pixels; adjoint of `upsample`.

    (N, C, H*rows, W*columns) -> (N, C, H, W).
    """
    rows, columns = scale_factor
    n, c, h, w = u.shape
    sums: Array = u.reshape(n, c, h // rows, rows, w // columns, columns).sum(axis=(3, 5))
    return sums


def pixel_unshuffle(x: Array, factor: int) -> Array:
    """Move the pixels of every factor x factor block to channels, row by row.

    (N, C, H*factor, W*factor) -> (N, C * factor^2, H, W). The factor^2 channels made from one input channel are
    consecutive, as in PyTorch.
    """
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // factor, factor, w // factor, factor)
    return blocks.transpose(0, 1, 3, 5, 2, 4).reshape(n, c * factor**2, h // factor, w // factor)


def pixel_shuffle(x: Array, factor: int) -> Array:
    """Adjoint and inverse of `pixel_unshuffle`.

    (N, C * factor^2, H, W) -> (N, C, H*factor, W*factor).
    """
    n, c, h, w = x.shape
    packed = x.reshape(n, c // factor**2, factor, factor, h, w)
    return packed.transpose(0, 1, 4, 2, 5, 3).reshape(n, c // factor**2, h * factor, w * factor)
