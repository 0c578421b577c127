"""Matrix products in pieces that BLAS computes without packing its operands."""

from __future__ import annotations

import numpy as np

from n2n_cli.engine.pool import empty
from n2n_cli.engine.tape import do
from n2n_cli.nn.functional import Array
from n2n_cli.system.blas import small_product

_LEAST_ROWS, _LEAST_ROWS_ADDED = 16, 96
"""Minimum rows per piece for which splitting a product is faster; the second if the products of the pieces are summed.
BLAS multiplies small enough pieces without first packing the matrices."""


def product(a: Array, b: Array) -> Array:
    """Matrix product, (M, K) and (K, N) -> (M, N)."""
    y = empty((len(a), b.shape[1]), np.result_type(a, b))
    if a.flags.c_contiguous and b.flags.c_contiguous:
        products(a[None], b[None], y[None])
    else:
        do(np.matmul, a, b, out=y)
    return y


def products(a: Array, b: Array, out: Array) -> None:
    """Matrix products of stacks of matrices: a @ b.

    (..., M, K) and (..., K, N) -> (..., M, N). The rows of the matrices are C-contiguous.
    """
    (*outer, m, k), n = a.shape, b.shape[-1]
    rows, split = _pieces(m, k, n, _LEAST_ROWS)
    if split:
        pieces = a[..., :split, :].reshape(*outer, -1, rows, k)
        do(np.matmul, pieces, b[..., None, :, :], out=out[..., :split, :].reshape(*outer, -1, rows, n))
    if split < m:
        do(np.matmul, a[..., split:, :], b, out=out[..., split:, :])


def products_over_rows(a: Array, b: Array, out: Array) -> None:
    """Matrix products of stacks of matrices, the first transposed: a.T @ b.

    (..., M, K) and (..., M, N) -> (..., K, N). The rows of a and b are C-contiguous.
    """
    (*outer, m, k), n = a.shape, b.shape[-1]
    rows, split = _pieces(m, k, n, _LEAST_ROWS_ADDED)
    if not split:
        do(np.matmul, a.swapaxes(-2, -1), b, out=out)
        return
    parts = empty((-(-m // rows), *outer, k, n), out.dtype)
    whole = split // rows
    first, second = (x[..., :split, :].reshape(*outer, whole, rows, x.shape[-1]) for x in (a, b))
    do(np.matmul, np.moveaxis(first, -3, 0).swapaxes(-2, -1), np.moveaxis(second, -3, 0), out=parts[:whole])
    if split < m:
        do(np.matmul, a[..., split:, :].swapaxes(-2, -1), b[..., split:, :], out=parts[whole])
    do(np.add.reduce, parts, axis=0, out=out)


def _pieces(m: int, k: int, n: int, least: int) -> tuple[int, int]:
    """Split of a matrix (m, k) into pieces of rows for a product with n columns.

    Returns the rows per piece, and the number of rows in pieces of that size; the remaining rows are a smaller piece.
    The second number is 0 if the matrix is not split: BLAS multiplies it whole without packing, or would multiply fewer
    than `least` rows without packing.
    """
    unpacked = rows_unpacked(k, n)
    if unpacked < least or m <= unpacked:
        return m, 0
    rows = -(-m // -(-m // unpacked))
    return rows, m - m % rows


def rows_unpacked(k: int, n: int) -> int:
    """Maximum M for which BLAS multiplies (M, k) by (k, n) without packing.

    0 if it always packs the matrices first.
    """
    return small_product() // max(1, k * n)
