"""The founding network: the project's first architecture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.nn import Sequential
from n2n_cli.nn.spec import build


def _conv(in_channels: int, out_channels: int, stride: int = 1) -> dict[str, Any]:
    sizes = {"kernel_size": 3, "stride": stride, "padding": 1}
    return {"type": "Conv2d", "in_channels": in_channels, "out_channels": out_channels, **sizes}


RELU = {"type": "ReLU"}
UP = {"type": "NearestUpsampling", "scale_factor": 2}
FOUNDING: list[dict[str, Any]] = [
    *(_conv(3, 48, 2), RELU, _conv(48, 64, 2), RELU),
    *(UP, _conv(64, 48), RELU, UP, _conv(48, 32), RELU),
    *(_conv(32, 3), {"type": "Sigmoid"}),
]


def founding(rng: np.random.Generator, dtype: DTypeLike = np.float64) -> Sequential:
    return build(FOUNDING, rng=rng, dtype=dtype)
