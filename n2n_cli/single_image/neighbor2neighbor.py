"""The loss of Neighbor2Neighbor.

Two adjacent pixels are drawn from each 2x2 cell of a noisy picture y. They form two half-sized pictures g1(y) and g2(y)
of nearly the same content with independent noise, and the network f learns to predict g2 from g1. As the content is not
quite the same, a regularisation term lets f(g1) differ from g2 by as much as the same pixels differ in the denoised
picture f(y).

References
----------
Huang, Li, Jia, Lu, Liu (2021), "Neighbor2Neighbor: Self-Supervised Denoising from Single Noisy Images",
arXiv:2101.02824, algorithm 1; TaoHuang2018/Neighbor2Neighbor, train.py.
"""

from __future__ import annotations

import numpy as np

from n2n_cli.data.neighbour_sampling import neighbours
from n2n_cli.errors import ShapeError
from n2n_cli.nn import Loss
from n2n_cli.nn.functional import Array

WEIGHT = 1.0
"""Weight of the regularisation term of the loss: the paper's for real noise."""


class NeighborLoss(Loss):
    """Loss of Neighbor2Neighbor.

    |f(g1) - g2|^2 + weight * |f(g1) - g2 - (g1(f(y)) - g2(f(y)))|^2, mean over all elements of f(g1).

    The target holds, concatenated along the channels, g2 and the difference g1(f(y)) - g2(f(y)): see `target_of`. No
    gradient flows through the difference, as in the paper.

    Parameters
    ----------
    weight : float
        Weight of the regularisation term.
    """

    def __init__(self, weight: float = WEIGHT) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, prediction: Array, target: Array) -> float:
        """(N, C, H, W) and (N, 2C, H, W) -> the loss."""
        c = prediction.shape[1]
        if target.shape != (len(prediction), 2 * c, *prediction.shape[2:]):
            raise ShapeError(f"{self} got a prediction of shape {prediction.shape} and a target of {target.shape}")
        error = prediction - target[:, :c]
        unlike = error - target[:, c:]
        self.keep(error + self.weight * unlike)
        return float(np.mean(np.square(error) + self.weight * np.square(unlike), dtype=np.float64))

    def backward(self) -> Array:
        """2/n * (f(g1) - g2 + weight * (f(g1) - g2 - difference))."""
        (kept,) = self.use_up()
        grad: Array = kept * np.asarray(2 / kept.size, kept.dtype)
        return grad


def target_of(second: Array, denoised: Array, drawn: Array) -> Array:
    """Target of `NeighborLoss`: (N, 2C, H, W), concatenated along the channels.

    Parameters
    ----------
    second : (N, C, H, W) array
        g2, the second drawn pixel of each cell of the noisy crops.
    denoised : (N, C, 2H, 2W) array
        f(y), the denoised crops.
    drawn : (2, N, 1, 1, H, W) array
        The drawn pixels, of `draw_neighbours`.
    """
    one, other = neighbours(denoised, drawn)
    return np.concatenate([second, one - other], axis=1)
