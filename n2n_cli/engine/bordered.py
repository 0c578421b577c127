"""Images with a border of zeros, one pixel wide, and rows as the first axis.

Their shape is (H + 2, N, W + 2, C), C-contiguous. The zeros are the padding of a 3x3 convolution, so that each kernel
tap is a constant offset in memory. Because rows come before images, the patches under one kernel row are contiguous for
all images at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from n2n_cli.engine.pool import empty
from n2n_cli.engine.tape import do
from n2n_cli.nn.functional import Array, Shape


class Bordered(NamedTuple):
    """Image with its border, as passed between neighbouring kernels."""

    padded: Array

    @property
    def shape(self) -> Shape:
        """(N, C, H, W) of the image without the border."""
        return inside(self.padded).shape


def with_border(x: Array | Bordered) -> Array:
    """(N, C, H, W) -> (H + 2, N, W + 2, C), of a floating-point dtype.

    A copy, or the array itself if it already has a border.
    """
    if isinstance(x, Bordered):
        return x.padded
    n, c, h, w = x.shape
    padded = empty((h + 2, n, w + 2, c), np.result_type(x, np.float32))
    clear_border(padded)
    do(np.copyto, padded[1:-1, :, 1:-1], x.transpose(2, 0, 3, 1))
    return padded


def inside(padded: Array) -> Array:
    """(H + 2, N, W + 2, C) -> (N, C, H, W), a view."""
    return padded[1:-1, :, 1:-1].transpose(1, 3, 0, 2)


def clear_border(padded: Array) -> None:
    """Set the border to zero."""
    rows, _, columns, _ = padded.shape
    do(np.copyto, padded[:: rows - 1], 0)
    do(np.copyto, padded[:, :, :: columns - 1], 0)
