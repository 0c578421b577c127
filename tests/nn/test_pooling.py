"""MaxPool2d."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.errors import ArgumentError, ShapeError
from n2n_cli.nn import MaxPool2d
from n2n_cli.nn import functional as F
from n2n_cli.nn.functional import Pair
from n2n_cli.nn.gradient_check import check_gradients
from tests.nn.cases import pairs, some_examples


@pytest.mark.parametrize(("kernel_size", "stride"), [(2, None), ((2, 3), None), (3, 2), ((1, 2), (3, 1)), (1, 2)])
def test_gradients(kernel_size: Any, stride: Any, rng: np.random.Generator) -> None:
    check_gradients(MaxPool2d(kernel_size, stride), rng.normal(size=(2, 3, 5, 7)))


def test_stride_defaults_to_the_window_size() -> None:
    assert MaxPool2d((2, 3)).stride == (2, 3)
    assert repr(MaxPool2d(3, 2)) == "MaxPool2d(kernel_size=(3, 3), stride=(2, 2))"


@given(pairs(1, 4), pairs(1, 4), pairs(0, 6), st.integers(0, 99))
@some_examples
def test_maximum_of_each_window_and_gradient_to_its_first_occurrence(
    kernel_size: Pair, stride: Pair, more: Pair, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, size=(2, 3, kernel_size[0] + more[0], kernel_size[1] + more[1])).astype(float)  # many ties
    layer = MaxPool2d(kernel_size, stride)
    y = layer(x)
    patches = F.unfold(x, kernel_size, stride, (0, 0), (1, 1))  # (N, H_out, W_out, C, K_h, K_w)
    places = patches.reshape(*patches.shape[:4], -1)
    np.testing.assert_array_equal(y, np.moveaxis(places.max(axis=-1), -1, 1))
    grad_output = rng.normal(size=y.shape)
    to_first = np.zeros_like(places)
    np.put_along_axis(to_first, places.argmax(axis=-1)[..., None], np.moveaxis(grad_output, 1, -1)[..., None], axis=-1)
    wanted = F.fold(to_first.reshape(patches.shape), x.shape, stride, (0, 0), (1, 1))
    np.testing.assert_allclose(layer.backward(grad_output), wanted, atol=1e-12)


def test_max_pooling_passes_infinity_and_nan() -> None:
    layer, inf = MaxPool2d((1, 2)), np.inf
    x = np.array([-inf, -inf, -inf, 3, inf, inf, np.nan, 1, 1, np.nan]).reshape(1, 1, 1, 10)
    np.testing.assert_array_equal(layer(x).ravel(), [-inf, 3, inf, np.nan, np.nan])
    assert layer.backward(np.ones((1, 1, 1, 5))).ravel()[:6].tolist() == [1, 0, 0, 1, 1, 0]


def test_input_smaller_than_the_window_is_refused() -> None:
    for shape in ((1, 3, 1, 9), (1, 3, 9, 2)):
        message = (
            f"MaxPool2d(kernel_size=(2, 3), stride=(2, 3)) got an input of shape {shape}, it needs H >= 2 and W >= 3"
        )
        with pytest.raises(ShapeError, match="^" + re.escape(message) + "$"):
            MaxPool2d((2, 3))(np.zeros(shape))


@pytest.mark.parametrize("value", [0, (2, 0), 1.5, (1, 2, 3), "2"])
def test_arguments_out_of_range_are_refused(value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^`kernel_size` is "):
        MaxPool2d(value)
    with pytest.raises(ArgumentError, match=r"^`stride` is "):
        MaxPool2d(2, value)
