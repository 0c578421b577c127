"""How weights start."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.nn.functional import Array, Shape


class _Undrawn:
    """Draws nothing but zeros."""

    def uniform(self, low: float, high: float, size: Shape) -> Array:
        return np.zeros(size, np.float32)

    def normal(self, loc: float, scale: float, size: Shape) -> Array:
        return np.zeros(size, np.float32)


UNDRAWN = cast("np.random.Generator", _Undrawn())
"""Stands for a generator where a network's weights come from a file: to draw them, and to import what draws, costs more
time than a small picture takes."""


def uniform_fan_in(shape: Shape, fan_in: int, *, rng: np.random.Generator, dtype: DTypeLike) -> Array:
    """Draw from U(-b, b) with b = 1/sqrt(fan_in), PyTorch's default for weights and biases of a convolution.

    Drawn in float64 and then rounded, so that float32 and float64 networks of one seed start alike.
    """
    bound = 1 / math.sqrt(fan_in)
    return rng.uniform(-bound, bound, size=shape).astype(dtype, copy=False)


def he_normal(shape: Shape, fan_in: int, *, slope: float = 0, rng: np.random.Generator, dtype: DTypeLike) -> Array:
    """Draw from a normal distribution of variance 2 / ((1 + slope^2) * fan_in): outputs vary as much as inputs.

    Drawn in float64 and then rounded, so that float32 and float64 networks of one seed start alike.

    Parameters
    ----------
    shape : tuple of int
        Of the weight. Biases start at zero in this scheme.
    fan_in : int
        Inputs of an output value: C_in * K_h * K_w.
    slope : float
        Of the activation that follows, for negative values: 0 for ReLU, LeakyReLU's own, 1 where none follows.

    References
    ----------
    He et al. (2015), arXiv:1502.01852, equations 10 and 15; `torch.nn.init.kaiming_normal_`.
    """
    std = math.sqrt(2 / ((1 + slope**2) * fan_in))
    return rng.normal(0, std, size=shape).astype(dtype, copy=False)
