"""Weight initialisation."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.nn.functional import Array, Shape


class _Undrawn:
    """Generator that returns zeros."""

    def uniform(self, low: float, high: float, size: Shape) -> Array:
        return np.zeros(size, np.float32)

    def normal(self, loc: float, scale: float, size: Shape) -> Array:
        return np.zeros(size, np.float32)


UNDRAWN = cast("np.random.Generator", _Undrawn())
"""Used instead of a random generator where the weights are loaded from a file: drawing them, and importing
`numpy.random`, would take longer than denoising a small image."""


def uniform_fan_in(shape: Shape, fan_in: int, *, rng: np.random.Generator, dtype: DTypeLike) -> Array:
    """Draw from U(-b, b), b = 1/sqrt(fan_in), as PyTorch's convolutions do.

    Drawn in float64 and then rounded, so that float32 and float64 networks with the same seed have the same weights.
    """
    bound = 1 / math.sqrt(fan_in)
    return rng.uniform(-bound, bound, size=shape).astype(dtype, copy=False)


def he_normal(shape: Shape, fan_in: int, *, slope: float = 0, rng: np.random.Generator, dtype: DTypeLike) -> Array:
    """Draw from a normal distribution of variance 2 / ((1 + slope^2) * fan_in).

    The outputs of a layer then have the same variance as its inputs. Drawn in float64 and then rounded, so that float32
    and float64 networks with the same seed have the same weights.

    Parameters
    ----------
    shape : tuple of int
        Shape of the weight. Biases start at zero in this scheme.
    fan_in : int
        Number of inputs per output value: C_in * K_h * K_w.
    slope : float
        Slope of the following activation for negative values: 0 for ReLU, `negative_slope` for LeakyReLU, 1 for none.

    References
    ----------
    He et al. (2015), arXiv:1502.01852, equations 10 and 15; `torch.nn.init.kaiming_normal_`.
    """
    std = math.sqrt(2 / ((1 + slope**2) * fan_in))
    return rng.normal(0, std, size=shape).astype(dtype, copy=False)
