from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.errors import ShapeError
from n2n_cli.nn import MSE, Loss
from tests.gradients import assert_same_gradient, numeric_gradient


def test_mse_by_hand() -> None:
    loss = MSE()
    value = loss(np.array([1.0, 2, 3, 4]), np.array([1.0, 4, 0, 4]))
    assert type(value) is float
    assert value == 13 / 4
    assert loss.backward().tolist() == [0, -1, 1.5, 0]


def test_mse_gradients(rng: np.random.Generator) -> None:
    prediction, target = rng.normal(size=(2, 2, 3, 4, 5))
    loss = MSE()
    loss(prediction, target)
    got = loss.backward()
    assert_same_gradient("prediction", got, numeric_gradient(lambda: MSE()(prediction, target), prediction))


def test_mse_leaves_its_arrays_alone_and_keeps_float32(rng: np.random.Generator) -> None:
    prediction, target = rng.normal(size=(2, 2, 3, 4, 5)).astype(np.float32)
    copies = prediction.copy(), target.copy()
    loss = MSE()
    loss(prediction, target)
    assert loss.backward().dtype == np.float32
    assert np.array_equal(prediction, copies[0])
    assert np.array_equal(target, copies[1])


def test_mse_sums_in_float64() -> None:
    """In float32 the mean of this many equal squares is already off in the fifth digit."""
    error = np.full((3, 7, 512, 513), 0.1, np.float32)
    assert MSE()(error, np.zeros_like(error)) == pytest.approx(float(np.float32(0.1) ** 2), rel=1e-12)


@pytest.mark.parametrize("target_shape", [(1, 3, 4, 5), (2, 3, 5, 4), (3, 4, 5), ()])
def test_mse_does_not_broadcast(target_shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError) as caught:
        MSE()(np.zeros((2, 3, 4, 5)), np.zeros(target_shape))
    assert caught.value.message == (
        f"MSE() got a prediction of shape (2, 3, 4, 5) and a target of shape {target_shape}"
    )


def test_mse_of_nothing_is_an_error() -> None:
    with pytest.raises(ShapeError, match=r"MSE\(\) got an empty prediction of shape \(0, 3, 4, 5\)"):
        MSE()(np.zeros((0, 3, 4, 5)), np.zeros((0, 3, 4, 5)))


def test_backward_needs_a_forward_each_time() -> None:
    loss = MSE()
    with pytest.raises(RuntimeError, match=r"MSE\(\)\.backward\(\) needs a forward\(\)"):
        loss.backward()
    loss(np.ones(3), np.zeros(3))
    loss.backward()
    with pytest.raises(RuntimeError, match=r"MSE\(\)\.backward\(\) needs a forward\(\)"):
        loss.backward()


def test_a_loss_has_to_say_how() -> None:
    with pytest.raises(NotImplementedError):
        Loss()(np.zeros(3), np.zeros(3))
    with pytest.raises(NotImplementedError):
        Loss().backward()
