from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from n2n_cli.errors import ArgumentError, ShapeError
from n2n_cli.nn import NearestUpsampling
from n2n_cli.nn.functional import Shape
from n2n_cli.nn.gradient_check import check_gradients


@pytest.mark.parametrize("scale_factor", [1, 2, 3, (2, 3), (3, 1)])
def test_gradients(scale_factor: Any, rng: np.random.Generator) -> None:
    check_gradients(NearestUpsampling(scale_factor), rng.normal(size=(2, 3, 4, 5)))


def test_every_pixel_becomes_a_block(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 4, 5))
    y = NearestUpsampling((2, 3))(x)
    assert y.shape == (2, 3, 8, 15)
    for i, j in np.ndindex(8, 15):
        assert np.array_equal(y[:, :, i, j], x[:, :, i // 2, j // 3])


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 3, 0, 7), (2, 3, 5, 0)])
def test_input_of_the_wrong_shape_is_refused(shape: Shape) -> None:
    message = f"NearestUpsampling(scale_factor=(2, 2)) got an input of shape {shape}, it needs (N, C, H, W)"
    with pytest.raises(ShapeError, match="^" + re.escape(message) + "$"):
        NearestUpsampling()(np.zeros(shape))


@pytest.mark.parametrize("scale_factor", [0, -2, 1.5, (2, 0), "2"])
def test_factor_out_of_range_is_refused(scale_factor: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^`scale_factor` is "):
        NearestUpsampling(scale_factor)
