"""Building blocks of the kernels, on channels-last arrays.

Arrays are (N, H, W, C), C-contiguous, with memory from the pool. Arithmetic runs over whole arrays; values are moved by
copies only, which NumPy does several times faster than arithmetic on short runs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.engine.pool import empty
from n2n_cli.engine.tape import do
from n2n_cli.nn.functional import Array, Pair, Shape


def channels_last(x: Array) -> Array:
    """(N, C, H, W) -> (N, H, W, C), C-contiguous; a view where possible."""
    x_nhwc = x.transpose(0, 2, 3, 1)
    if x_nhwc.flags.c_contiguous:
        return x_nhwc
    copy = empty(x_nhwc.shape, x.dtype)
    do(np.copyto, copy, x_nhwc)
    return copy


def channels_first(x_nhwc: Array) -> Array:
    """(N, H, W, C) -> (N, C, H, W), a view."""
    return x_nhwc.transpose(0, 3, 1, 2)


def empty_nchw(shape: Shape, dtype: DTypeLike) -> Array:
    """Uninitialised array of shape (N, C, H, W), channels-last in memory."""
    n, c, h, w = shape
    return channels_first(empty((n, h, w, c), dtype))


def im2col(
    x: Array,
    kernel_size: Pair,
    stride: Pair,
    before: Pair,
    output_size: Pair,
    dilation: Pair,
    *,
    ones: bool,
    rows_first: bool = False,
) -> Array:
    """Patches under every kernel position, one patch per row of a matrix.

    A patch lists the taps row by row, each with its channels.

    Parameters
    ----------
    x : (N, H, W, C) array
    kernel_size, stride, dilation : (rows, columns)
    before : (rows, columns)
        Zero padding above and left of `x`; below and right of it as much as needed is added.
    output_size : (rows, columns)
        Number of kernel positions along each axis.
    ones : bool
        If True, each row ends with a one, which is multiplied with the bias.
    rows_first : bool
        If True, positions are in the order (rows, N, columns) instead of (N, rows, columns).

    Returns
    -------
    (N * rows * columns, K_h * K_w * C (+ 1)) array
    """
    n, _, _, c = x.shape
    (kh, kw), (h_out, w_out) = kernel_size, output_size
    seen = padded(x, before, _seen(kernel_size, stride, output_size, dilation))
    (sh, sw), (dh, dw), width = stride, dilation, kh * kw * c
    by_row = c * seen.shape[2]
    columns = empty((n * h_out * w_out, width + ones), x.dtype)
    by_place = width + ones
    # Values that are contiguous in memory are copied as one run.
    run, runs = (kw * c, 1) if dw == 1 else (c, kw)
    shape = (n, h_out, w_out, kh, runs, run)
    windows = strided(seen, shape, (by_row * seen.shape[1], by_row * sh, c * sw, by_row * dh, c * dw, 1))
    places = (w_out, n * w_out, 1) if rows_first else (h_out * w_out, w_out, 1)
    taps = strided(columns, shape, (*(by_place * place for place in places), kw * c, c, 1))
    do(np.copyto, taps, windows)
    if ones:
        do(np.copyto, columns[:, width], 1)
    return columns


def col2im(patches: Array, x_shape: Shape, stride: Pair, before: Pair, dilation: Pair) -> Array:
    """Adjoint of `im2col` (without ones): sum the patches into an image.

    Parameters
    ----------
    patches : (N, rows, columns, K_h, K_w, C) array
    x_shape : (N, H, W, C)

    Returns
    -------
    (N, H, W, C) array
    """
    _, h_out, w_out, kh, kw, _ = patches.shape
    x = empty(x_shape, patches.dtype)
    parts = []
    for i in range(kh):
        rows = _overlap(h_out, x_shape[1], stride[0], i * dilation[0] - before[0])
        for j in range(kw):
            columns = _overlap(w_out, x_shape[2], stride[1], j * dilation[1] - before[1])
            if rows and columns:
                part = patches[:, rows[0], columns[0], i, j]
                parts.append((x[:, rows[1], columns[1]], part, part.shape == x_shape))
    parts.sort(key=lambda part: not part[2])  # a tap that covers every pixel makes it unnecessary to clear x
    if parts and parts[0][2]:
        do(np.copyto, parts[0][0], parts[0][1])
        del parts[0]
    else:
        do(np.copyto, x, 0)
    for target, part, _ in parts:
        do(np.add, target, part, out=target)
    return x


def padded(x: Array, before: Pair, size: Pair) -> Array:
    """Zero-pad `x`, (N, H, W, C), by `before` and crop or extend it to `size`.

    Returns `x` itself, which may be larger than `size`, if no padding is needed.
    """
    n, h, w, c = x.shape
    (top, left), (rows, columns) = before, size
    if before == (0, 0) and rows <= h and columns <= w:
        return x
    y = empty((n, rows, columns, c), x.dtype)
    bottom, right = min(top + h, rows), min(left + w, columns)
    for border in (y[:, :top], y[:, bottom:], y[:, top:bottom, :left], y[:, top:bottom, right:]):
        if border.size:
            do(np.copyto, border, 0)
    do(np.copyto, y[:, top:bottom, left:right], x[:, : bottom - top, : right - left])
    return y


def relu_in_place(x: Array, *, mask: bool) -> Array | None:
    """Apply ReLU in place; NaN stays NaN.

    Returns the boolean mask x > 0 if `mask` is True.
    """
    do(np.clip, x, 0, np.inf, out=x)  # three times as fast as `maximum`
    if not mask:
        return None
    above = empty(x.shape, np.bool_)
    do(np.greater, x, 0, out=above)
    return above


def total(x: Array, *, axis: int | tuple[int, ...]) -> Array:
    """Sum over the given axes."""
    axes = (axis,) if isinstance(axis, int) else axis
    sums = empty(tuple(size for i, size in enumerate(x.shape) if i not in axes), x.dtype)
    do(np.add.reduce, x, axis=axis, out=sums)
    return sums


def strided(x: Array, shape: Shape, strides: Shape) -> Array:
    """View of a C-contiguous array, with strides in elements.

    Unlike `as_strided`, it raises an error if the view would exceed the array's memory.
    """
    return np.ndarray(shape, x.dtype, x.data, 0, tuple(stride * x.itemsize for stride in strides))


def _seen(kernel_size: Pair, stride: Pair, output_size: Pair, dilation: Pair) -> Pair:
    """Size of the padded image that all kernel positions cover together."""
    rows, columns = (stride[a] * (output_size[a] - 1) + dilation[a] * (kernel_size[a] - 1) + 1 for a in (0, 1))
    return rows, columns


def _overlap(places: int, size: int, stride: int, offset: int) -> tuple[slice, slice] | None:
    """Kernel positions whose pixel, position * stride + offset, is in the image.

    Returns slices of the positions and of the pixels, or None if there are none.
    """
    first = max(0, -(offset // stride))
    last = min(places - 1, (size - 1 - offset) // stride)
    if last < first:
        return None
    start = first * stride + offset
    return slice(first, last + 1), slice(start, last * stride + offset + 1, stride)
