"""Transforms of Winograd's F(4x4, 3x3), as matrix products on strided windows.

See `winograd` for the algorithm and its references.
"""

from __future__ import annotations

import numpy as np

from n2n_cli.engine.channels_last import channels_first, channels_last, strided
from n2n_cli.engine.pool import empty
from n2n_cli.engine.tape import do
from n2n_cli.nn.functional import Array

OUTPUTS, KINDS = 4, 6
"""Outputs per window along an axis, m = 4; and its pixels, which equals the number of transformed values, m + 2 = 6."""
_POINTS = (0, 1, -1, -1 / 2, 2)
"""Evaluation points of the polynomials, besides infinity. Rounding errors in float32 are about 4 times those of a
direct convolution; with the usual points (0, 1, -1, 2, -2), 6 times."""
ONES = 1
"""Index of the point 1, whose value has the factor 1 in every output: the bias is added there."""


def _evaluated(coefficients: int) -> Array:
    """Matrix, (6, coefficients), that evaluates a polynomial at the points."""
    infinity = [[0.0] * (coefficients - 1) + [1.0]]
    return np.concatenate([np.vander(_POINTS, coefficients, increasing=True), infinity])


GRADIENT = _evaluated(OUTPUTS)  # (6, 4)
OUTPUT = GRADIENT.T
FILTERS = np.kron(_evaluated(3), _evaluated(3))
"""(36, 9): filter transform along both axes, from the taps (rows, columns) to the kinds (rows, columns)."""
INPUT = np.linalg.inv(_evaluated(KINDS)).T  # (6, 6)
_FIRST, _LAST = INPUT.T[:OUTPUTS], INPUT.T[OUTPUTS:]
_BETWEEN = np.concatenate([np.pad(_LAST, ((0, OUTPUTS - len(_LAST)), (0, 0))), _FIRST], axis=1)
"""(4, 12): maps the kinds of two neighbouring windows to the gradient of the first four pixels of the second, two of
which belong to both."""


def windows(outputs: int) -> int:
    return -(-outputs // OUTPUTS)


def transformed(x: Array, matrix: Array) -> Array:
    """Transform all windows along both axes: (N, H, W, C) -> (6, M, 6, C).

    Windows have K x K pixels and are four pixels apart; `matrix` has the shape (6, K).
    """
    x = channels_last(channels_first(x))
    (n, h, w, c), (_, k) = x.shape, matrix.shape
    rows, columns = ((size - k) // OUTPUTS + 1 for size in (h, w))
    # Along the columns first, whose products are small and slow: windows overlap, so there are fewer rows before.
    by_column = empty((n, h, columns, KINDS, c), matrix.dtype)
    windows = strided(x, (n, h, columns, k, c), (h * w * c, w * c, OUTPUTS * c, c, 1))
    do(np.matmul, matrix, windows, out=by_column)
    width = columns * KINDS * c
    windows = strided(by_column, (n, rows, k, width), (h * width, OUTPUTS * width, width, 1))
    kinds = empty((KINDS, n, rows, width), matrix.dtype)
    do(np.matmul, matrix, windows, out=kinds.transpose(1, 2, 0, 3))
    return kinds.reshape(KINDS, n * rows * columns, KINDS, c)


def add_windows(kinds: Array, out: Array) -> None:
    """Gradient of the pixels along an axis, from the gradients of the kinds.

    The adjoint of the transform: (..., windows, 6, X) -> (..., 4 * windows + 2, X). `kinds` is C-contiguous.
    """
    *outer, count, _, x = kinds.shape
    end = OUTPUTS * count
    first, between, last = (matrix.astype(kinds.dtype) for matrix in (_FIRST, _BETWEEN, _LAST))
    do(np.matmul, first, kinds[..., 0, :, :], out=out[..., :OUTPUTS, :])
    if count > 1:
        steps = [stride // kinds.itemsize for stride in kinds.strides]
        pairs = strided(kinds, (*outer, count - 1, 2 * KINDS, x), tuple(steps))
        do(np.matmul, between, pairs, out=out[..., OUTPUTS:end, :].reshape(*outer, count - 1, OUTPUTS, x))
    do(np.matmul, last, kinds[..., -1, :, :], out=out[..., end:, :])
