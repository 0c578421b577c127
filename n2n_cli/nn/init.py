"""How weights start."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.nn.functional import Array, Shape


def uniform_fan_in(shape: Shape, fan_in: int, *, rng: np.random.Generator, dtype: DTypeLike) -> Array:
    """Draw from U(-b, b) with b = 1/sqrt(fan_in), PyTorch's default for weights and biases of a convolution.

    Drawn in float64 and then rounded, so that float32 and float64 networks of one seed start alike.
    """
    bound = 1 / math.sqrt(fan_in)
    return rng.uniform(-bound, bound, size=shape).astype(dtype)
