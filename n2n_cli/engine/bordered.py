"""Pictures with a border of zeros, one pixel wide, rows first: (H + 2, N, W + 2, C), C-contiguous.

The zeros are what a 3x3 kernel sees beyond a picture. Each of its taps then is a shift of the whole memory, and since
the rows come before the images, the patches that its rows meet follow each other for all images at once.
"""

from __future__ import annotations

import numpy as np

from n2n_cli.engine.pool import empty
from n2n_cli.engine.tape import do
from n2n_cli.nn.functional import Array


def bordered(x: Array) -> Array:
    """(N, C, H, W) -> (H + 2, N, W + 2, C), a copy; floats."""
    n, c, h, w = x.shape
    padded = empty((h + 2, n, w + 2, c), np.result_type(x, np.float32))
    clear_border(padded)
    do(np.copyto, padded[1:-1, :, 1:-1], x.transpose(2, 0, 3, 1))
    return padded


def inside(padded: Array) -> Array:
    """(H + 2, N, W + 2, C) -> (N, C, H, W), a view."""
    return padded[1:-1, :, 1:-1].transpose(1, 3, 0, 2)


def around(x: Array) -> Array | None:
    """The array that `x` is the `inside` of, as its strides tell; None where they tell otherwise."""
    n, c, h, w = x.shape
    size, base = x.itemsize, x.base
    by_row = n * (w + 2) * c * size
    if base is None or x.strides != ((w + 2) * c * size, size, by_row, c * size):
        return None
    start = x.ctypes.data - by_row - c * size - base.ctypes.data
    if start < 0 or start + (h + 2) * by_row > base.nbytes or not base.flags.c_contiguous:
        return None
    return np.ndarray((h + 2, n, w + 2, c), x.dtype, base, start)


def clear_border(padded: Array) -> None:
    """Set the border to zero."""
    rows, _, columns, _ = padded.shape
    do(np.copyto, padded[:: rows - 1], 0)
    do(np.copyto, padded[:, :, :: columns - 1], 0)
