from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import DTypeLike

from n2n_cli.errors import ShapeError
from n2n_cli.nn import Module, ReLU, Sigmoid
from n2n_cli.nn.functional import Shape
from tests.gradients import check_gradients

both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def test_relu_gradients_away_from_zero(rng: np.random.Generator) -> None:
    x = rng.uniform(0.1, 2, size=(2, 3, 4, 5)) * rng.choice([-1, 1], size=(2, 3, 4, 5))
    check_gradients(ReLU(), x)


def test_relu_at_zero() -> None:
    layer = ReLU()
    x = np.array([-2.0, -0.0, 0.0, 5e-324, 3.0]).reshape(1, 1, 1, 5)
    assert layer(x).ravel().tolist() == [0, 0, 0, 5e-324, 3]
    assert layer.backward(np.full(x.shape, 7.0)).ravel().tolist() == [0, 0, 0, 7, 7]


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
def test_sigmoid_rises_and_is_symmetric(dtype: DTypeLike) -> None:
    x = np.linspace(-12, 12, 481, dtype=dtype).reshape(1, 1, 1, -1)
    y = Sigmoid()(x)
    assert (np.diff(y) > 0).all()
    assert y + Sigmoid()(-x) == pytest.approx(np.ones_like(y), abs=2 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("layer", [ReLU(), Sigmoid()], ids=repr)
@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 3, 0, 7), (2, 3, 5, 0)])
def test_an_input_of_the_wrong_shape(layer: Module, shape: Shape) -> None:
    message = f"{layer} got an input of shape {shape}, it needs (N, C, H, W)"
    with pytest.raises(ShapeError, match="^" + re.escape(message) + "$"):
        layer(np.zeros(shape))
