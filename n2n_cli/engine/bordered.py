"""Images with a border of zeros, one pixel wide, rows first: (H + 2, N, W + 2, C), C-contiguous.

The zeros are what a 3x3 kernel sees beyond an image. Each of its taps then is a shift of the whole memory, and since
the rows come before the images, the patches that its rows meet follow each other for all images at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from n2n_cli.engine.pool import empty
from n2n_cli.engine.tape import do
from n2n_cli.nn.functional import Array, Shape


class Bordered(NamedTuple):
    """An image with its border, as neighbouring kernels hand it to each other."""

    padded: Array

    @property
    def shape(self) -> Shape:
        """(N, C, H, W) of the image without the border."""
        return inside(self.padded).shape


def with_border(x: Array | Bordered) -> Array:
    """(N, C, H, W) -> (H + 2, N, W + 2, C): a copy, or the array that was handed over with its border; floats."""
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
