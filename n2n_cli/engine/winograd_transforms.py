"""Transforms of Winograd's F(4x4, 3x3), as matrix products on strided windows.

See `winograd` for the algorithm and its references.
"""

from __future__ import annotations

import numpy as np

from n2n_cli.engine.channels_last import channels_first, channels_last, strided
from n2n_cli.engine.pool import empty
from n2n_cli.engine.tape import do
from n2n_cli.nn.functional import Array

OUTPUTS, POINTS = 4, 6
"""Outputs per window along an axis, m = 4; and its pixels, as many as evaluation points, m + 2 = 6."""
_FINITE_POINTS = (0, 1, -1, -1 / 2, 2)
"""Evaluation points of the polynomials, besides infinity. Rounding errors in float32 are about 4 times those of a
direct convolution; with the usual points (0, 1, -1, 2, -2), 6 times."""
ONES = 1
"""Index of the point 1, whose value has the factor 1 in every output: the bias is added to it."""


def _evaluated(coefficients: int) -> Array:
    """Matrix, (6, coefficients), that evaluates a polynomial at the points."""
    infinity = [[0.0] * (coefficients - 1) + [1.0]]
    return np.concatenate([np.vander(_FINITE_POINTS, coefficients, increasing=True), infinity])


GRADIENT = _evaluated(OUTPUTS)  # (6, 4)
OUTPUT = GRADIENT.T
FILTERS = np.kron(_evaluated(3), _evaluated(3))
"""(36, 9): filter transform along both axes, from the taps (rows, columns) to the points (rows, columns)."""
INPUT = np.linalg.inv(_evaluated(POINTS)).T  # (6, 6)
_FIRST, _LAST = INPUT.T[:OUTPUTS], INPUT.T[OUTPUTS:]
_BETWEEN = np.concatenate([np.pad(_LAST, ((0, OUTPUTS - len(_LAST)), (0, 0))), _FIRST], axis=1)
"""(4, 12): maps the transformed gradients of two neighbouring windows to the gradient of the second's first four
pixels, two of which belong to both windows."""


def windows(outputs: int) -> int:
    return -(-outputs // OUTPUTS)


def transformed(x: Array, matrix: Array) -> Array:
    """Transform all windows along both axes: (N, H, W, C) -> (6, M, 6, C).

    Windows have K x K pixels and are four pixels apart; `matrix` has the shape (6, K).
    """
    x = channels_last(channels_first(x))
    (n, h, w, c), (_, k) = x.shape, matrix.shape
    rows, columns = ((size - k) // OUTPUTS + 1 for size in (h, w))
    # Along the columns first: these products are small and slow, and overlapping windows would add rows if they came
    # second.
    by_column = empty((n, h, columns, POINTS, c), matrix.dtype)
    windows = strided(x, (n, h, columns, k, c), (h * w * c, w * c, OUTPUTS * c, c, 1))
    do(np.matmul, matrix, windows, out=by_column)
    width = columns * POINTS * c
    windows = strided(by_column, (n, rows, k, width), (h * width, OUTPUTS * width, width, 1))
    values = empty((POINTS, n, rows, width), matrix.dtype)
    do(np.matmul, matrix, windows, out=values.transpose(1, 2, 0, 3))
    return values.reshape(POINTS, n * rows * columns, POINTS, c)


def add_windows(values: Array, out: Array) -> None:
    """Gradient of the pixels along an axis, from those of the transformed values.

    The adjoint of the transform: (..., windows, 6, X) -> (..., 4 * windows + 2, X). `values` is C-contiguous.
    """
    *outer, count, _, x = values.shape
    end = OUTPUTS * count
    first, between, last = (matrix.astype(values.dtype) for matrix in (_FIRST, _BETWEEN, _LAST))
    do(np.matmul, first, values[..., 0, :, :], out=out[..., :OUTPUTS, :])
    if count > 1:
        steps = [stride // values.itemsize for stride in values.strides]
        pairs = strided(values, (*outer, count - 1, 2 * POINTS, x), tuple(steps))
        do(np.matmul, between, pairs, out=out[..., OUTPUTS:end, :].reshape(*outer, count - 1, OUTPUTS, x))
    do(np.matmul, last, values[..., -1, :, :], out=out[..., end:, :])
