"""Muon optimiser."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from n2n_cli.nn import arguments
from n2n_cli.nn.adam import AdamW
from n2n_cli.nn.functional import Array

_A, _B, _C = 3.4445, -4.7750, 2.0315
"""Newton-Schulz coefficients, chosen for the fastest growth of small singular values rather than convergence to 1."""
_ITERATIONS = 5
_NEGLIGIBLE = 1e-9
"""Magnitude below which entries of a matrix of norm 1 are set to 0. Products of smaller entries, such as those of units
without gradient, are subnormal numbers, with which processors are a hundred times slower."""


class Muon(AdamW):
    """Muon: steps along the orthogonalised mean gradient of each weight matrix.

    At each step, for a weight reshaped to a matrix (C_out, C_in*K*K): m = beta1 * m + (1 - beta1) * gradient;
    weight -= lr * 0.2 * sqrt(max(rows, columns)) * orthogonal(beta1 * m + (1 - beta1) * gradient). The factor makes the
    entries of a step about as large as those of Adam, so that similar learning rates work. Biases are updated by AdamW.

    Parameters
    ----------
    betas : (float, float)
        Decay rates of the mean gradient and, for biases, of the mean squared gradient, each at least 0 and below 1.
    eps : float
        Above 0. As in AdamW, for biases.
    weight_decay : float
        At least 0. As in AdamW.
    bias_lr : float
        Learning rate of biases, as a fraction of `lr`. If activations are much smaller than 1, AdamW's steps of about
        `lr` are large for biases, which then fluctuate until ReLUs output only zeros. 0.1 prevents that.

    References
    ----------
    Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks"; the factor: Liu et al. (2025),
    arXiv:2502.16982, section 2.2; `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`.
    """

    def __init__(
        self,
        params: Iterable[tuple[Array, Array]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.95, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
        bias_lr: float = 1,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
        self.bias_lr = arguments.positive("bias_lr", bias_lr)
        # Matrices need no mean square; the copy is there because a slice would keep the memory allocated.
        squares = self.kept["exp_avg_sq"]
        self.kept["exp_avg_sq"] = [array[:0].copy() if array.ndim > 1 else array for array in squares]

    def _follow(self, parameter: Array, grad: Array, m: Array, v: Array, change: Array, lr: float) -> None:
        if parameter.ndim < 2:
            super()._follow(parameter, grad, m, v, change, lr * self.bias_lr)
            return
        beta1 = self.betas[0]
        np.multiply(grad, 1 - beta1, out=change)
        change += beta1 * m
        matrix = change.reshape(len(change), -1)
        factor = lr * 0.2 * math.sqrt(max(matrix.shape))
        parameter -= factor * orthogonal(matrix).reshape(parameter.shape)


def orthogonal(matrix: Array) -> Array:
    """Approximately orthogonalise a matrix by Newton-Schulz iterations.

    Singular vectors are kept; singular values become about 0.7 to 1.2, unless they were tiny. Five iterations, starting
    with the matrix divided by its Frobenius norm: X = a*X + (b*X@X.T + c*(X@X.T)^2) @ X.

    Parameters
    ----------
    matrix : (M, N) array
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = np.ascontiguousarray(matrix.T if tall else matrix)
    x = x / (np.linalg.norm(x) + 1e-7)
    x[np.abs(x) < _NEGLIGIBLE] = 0
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = _A * x + (_B * square + _C * (square @ square)) @ x
    found: Array = x.T if tall else x
    return found
