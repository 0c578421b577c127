"""PixelUnshuffle and PixelShuffle."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.errors import ArgumentError, ShapeError
from n2n_cli.nn import PixelShuffle, PixelUnshuffle
from n2n_cli.nn import functional as F
from n2n_cli.nn.functional import Shape
from n2n_cli.nn.gradient_check import check_gradients
from tests.nn.cases import some_examples


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_gradients(factor: int, rng: np.random.Generator) -> None:
    check_gradients(PixelUnshuffle(factor), rng.normal(size=(2, 3, 2 * factor, 4 * factor)))
    check_gradients(PixelShuffle(factor), rng.normal(size=(2, 3 * factor**2, 2, 4)))


def test_unshuffle_turns_a_block_into_channels_row_by_row() -> None:
    x = np.arange(2 * 4 * 6).reshape(1, 2, 4, 6)
    y = PixelUnshuffle(2)(x)
    assert y.shape == (1, 8, 2, 3)
    assert y[0, :, 0, 0].tolist() == [0, 1, 6, 7, 24, 25, 30, 31]
    assert y[0, :, 1, 2].tolist() == [16, 17, 22, 23, 40, 41, 46, 47]


@pytest.mark.parametrize("factor", [2, 3])
def test_shuffle_takes_each_pixel_from_its_channel(factor: int, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3 * factor**2, 2, 5))
    y = PixelShuffle(factor)(x)
    assert y.shape == (2, 3, 2 * factor, 5 * factor)
    for c, i, j in np.ndindex(y.shape[1:]):
        channel = c * factor**2 + i % factor * factor + j % factor
        assert np.array_equal(y[:, c, i, j], x[:, channel, i // factor, j // factor])


@given(st.integers(1, 4), st.tuples(*(st.integers(1, 4),) * 4))
@some_examples
def test_each_is_the_adjoint_and_the_inverse_of_the_other(factor: int, shape: Shape) -> None:
    n, c, h, w = shape
    rng = np.random.default_rng(1)
    x, u = rng.normal(size=(n, c, h * factor, w * factor)), rng.normal(size=(n, c * factor**2, h, w))
    assert np.vdot(F.pixel_unshuffle(x, factor), u) == pytest.approx(np.vdot(x, F.pixel_shuffle(u, factor)), rel=1e-12)
    np.testing.assert_array_equal(PixelShuffle(factor)(PixelUnshuffle(factor)(x)), x)
    np.testing.assert_array_equal(PixelUnshuffle(factor)(PixelShuffle(factor)(u)), u)


def test_sizes_that_are_not_whole_blocks_are_refused() -> None:
    for shape in ((1, 3, 7, 6), (1, 3, 6, 8)):
        message = (
            f"PixelUnshuffle(downscale_factor=3) got an input of shape {shape}, it needs H and W in multiples of 3"
        )
        with pytest.raises(ShapeError, match="^" + re.escape(message) + "$"):
            PixelUnshuffle(3)(np.zeros(shape))
    message = "PixelShuffle(upscale_factor=2) got an input of shape (1, 6, 4, 5), it needs C in multiples of 4"
    with pytest.raises(ShapeError, match="^" + re.escape(message) + "$"):
        PixelShuffle(2)(np.zeros((1, 6, 4, 5)))


@pytest.mark.parametrize("factor", [0, -2, 1.5, (2, 2), "2", True])
def test_factor_out_of_range_is_refused(factor: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^`downscale_factor` is "):
        PixelUnshuffle(factor)
    with pytest.raises(ArgumentError, match=r"^`upscale_factor` is "):
        PixelShuffle(factor)
