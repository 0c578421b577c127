from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike

from n2n_cli.errors import ArgumentError, ShapeError
from n2n_cli.nn import LeakyReLU, Module, ReLU, Sigmoid
from n2n_cli.nn.functional import Shape
from n2n_cli.nn.gradient_check import check_gradients

both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def test_relu_gradients_away_from_zero(rng: np.random.Generator) -> None:
    x = rng.uniform(0.1, 2, size=(2, 3, 4, 5)) * rng.choice([-1, 1], size=(2, 3, 4, 5))
    check_gradients(ReLU(), x)


def test_relu_has_gradient_0_at_zero() -> None:
    layer = ReLU()
    x = np.array([-2.0, -0.0, 0.0, 5e-324, 3.0]).reshape(1, 1, 1, 5)
    assert layer(x).ravel().tolist() == [0, 0, 0, 5e-324, 3]
    assert layer.backward(np.full(x.shape, 7.0)).ravel().tolist() == [0, 0, 0, 7, 7]


def test_relu_of_infinity_and_nan() -> None:
    layer = ReLU()
    x = np.array([-np.inf, np.inf, np.nan]).reshape(1, 1, 1, 3)
    np.testing.assert_array_equal(layer(x).ravel(), [0, np.inf, np.nan])
    assert layer.backward(np.full(x.shape, 7.0)).ravel().tolist() == [0, 7, 0]


@pytest.mark.parametrize("slope", [1e-3, 0.01, 0.5, 1])
def test_leaky_relu_gradients_away_from_zero(slope: float, rng: np.random.Generator) -> None:
    x = rng.uniform(0.1, 2, size=(2, 3, 4, 5)) * rng.choice([-1, 1], size=(2, 3, 4, 5))
    check_gradients(LeakyReLU(slope), x)


@both_dtypes
def test_leaky_relu_at_zero_and_at_infinity(dtype: DTypeLike) -> None:
    layer = LeakyReLU(0.25)
    x = np.array([-np.inf, -2.0, -0.0, 0.0, 1e-38, 3.0, np.inf], dtype).reshape(1, 1, 1, 7)
    with np.errstate(all="raise", under="ignore"):
        assert layer(x).ravel().tolist() == [-np.inf, -0.5, 0, 0, x[0, 0, 0, 4], 3, np.inf]
        assert layer.backward(np.full_like(x, 8)).ravel().tolist() == [2, 2, 2, 2, 8, 8, 8]


def test_leaky_relu_slope_defaults_to_pytorch_s() -> None:
    assert LeakyReLU().negative_slope == 0.01
    assert repr(LeakyReLU(0.2)) == "LeakyReLU(negative_slope=0.2)"


@pytest.mark.parametrize("slope", [0, -0.1, 1.01, np.nan, "0.1", True, None])
def test_slope_out_of_range_is_refused(slope: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^`negative_slope` is .*, it must be a number above 0 and at most 1$"):
        LeakyReLU(slope)


def test_sigmoid_gradients(rng: np.random.Generator) -> None:
    check_gradients(Sigmoid(), rng.normal(scale=2, size=(2, 3, 4, 5)))


@both_dtypes
@pytest.mark.parametrize("large", [1000.0, 1e30, np.inf])
def test_sigmoid_does_not_overflow(dtype: DTypeLike, large: float) -> None:
    layer = Sigmoid()
    x = np.array([-large, 0, large], dtype).reshape(1, 1, 1, 3)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert layer(x).ravel().tolist() == [0, 0.5, 1]
        assert layer.backward(np.ones_like(x)).ravel().tolist() == [0, 0.25, 0]


@both_dtypes
def test_sigmoid_is_the_logistic_function_and_exact_in_its_tail(dtype: DTypeLike) -> None:
    x = np.linspace(-80, 15, 191, dtype=dtype).reshape(1, 1, 1, -1)
    wanted = 1 / (1 + np.exp(-x.astype(np.float64)))
    assert Sigmoid()(x) == pytest.approx(wanted, rel=8 * float(np.finfo(dtype).eps), abs=0)


@both_dtypes
def test_sigmoid_is_monotonic_and_symmetric(dtype: DTypeLike) -> None:
    x = np.linspace(-12, 12, 481, dtype=dtype).reshape(1, 1, 1, -1)
    y = Sigmoid()(x)
    assert (np.diff(y) > 0).all()
    assert y + Sigmoid()(-x) == pytest.approx(np.ones_like(y), abs=2 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("layer", [ReLU(), LeakyReLU(), Sigmoid()], ids=repr)
def test_output_has_the_memory_layout_of_the_input(layer: Module, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 4, 5))
    channels_last = np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)
    for one in (x, channels_last):
        y = layer(one)
        assert y.strides == layer.backward(one).strides == one.strides


@pytest.mark.parametrize("layer", [ReLU(), LeakyReLU(), Sigmoid()], ids=repr)
@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 3, 0, 7), (2, 3, 5, 0)])
def test_input_of_the_wrong_shape_is_refused(layer: Module, shape: Shape) -> None:
    message = f"{layer} got an input of shape {shape}, it needs (N, C, H, W)"
    with pytest.raises(ShapeError, match="^" + re.escape(message) + "$"):
        layer(np.zeros(shape))
