from __future__ import annotations

import copy

import numpy as np
import pytest

from n2n_cli.errors import ShapeError
from n2n_cli.nn import MSE, Loss
from n2n_cli.nn.gradient_check import check_same_gradient, numeric_gradient
from n2n_cli.nn.losses import L1, LOSSES, KnownOnly

every_loss = pytest.mark.parametrize("kind", [MSE, L1])


@pytest.mark.parametrize(
    ("loss", "wanted", "wanted_grad"), [(MSE(), 13 / 4, [0, -1, 1.5, 0]), (L1(), 5 / 4, [0, -0.25, 0.25, 0])], ids=repr
)
def test_losses_computed_by_hand(loss: Loss, wanted: float, wanted_grad: list[float]) -> None:
    value = loss(np.array([1.0, 2, 3, 4]), np.array([1.0, 4, 0, 4]))
    assert type(value) is float
    assert value == wanted
    assert loss.backward().tolist() == wanted_grad


@every_loss
def test_gradients(kind: type[Loss], rng: np.random.Generator) -> None:
    prediction, target = rng.normal(size=(2, 2, 3, 4, 5))
    loss = kind()
    loss(prediction, target)
    got = loss.backward()
    check_same_gradient("prediction", got, numeric_gradient(lambda: kind()(prediction, target), prediction))


@every_loss
def test_arguments_are_not_modified_and_float32_is_kept(kind: type[Loss], rng: np.random.Generator) -> None:
    prediction, target = rng.normal(size=(2, 2, 3, 4, 5)).astype(np.float32)
    copies = prediction.copy(), target.copy()
    loss = kind()
    loss(prediction, target)
    assert loss.backward().dtype == np.float32
    assert np.array_equal(prediction, copies[0])
    assert np.array_equal(target, copies[1])


@pytest.mark.parametrize(("loss", "wanted"), [(MSE(), float(np.float32(0.7) ** 2)), (L1(), float(np.float32(0.7)))])
def test_loss_sums_in_float64(loss: Loss, wanted: float) -> None:
    """Check a mean that is wrong in the eighth digit in float32.

    NumPy sums float32 values pairwise; for so many equal values, that is not precise enough.
    """
    error = np.full((3, 7, 512, 513), 0.7, np.float32)
    assert loss(error, np.zeros_like(error)) == pytest.approx(wanted, rel=1e-12)


@every_loss
def test_copy_of_a_loss_has_its_own_backward(kind: type[Loss], rng: np.random.Generator) -> None:
    """Micro-batches run on several threads, each with a copy of the criterion."""
    loss, (x, other, target) = kind(), rng.normal(size=(3, 4, 5))
    twin = copy.copy(loss)
    loss(x, target)
    twin(other, target)
    grad, twin_grad = loss.backward(), twin.backward()
    loss(other, target)
    assert np.array_equal(loss.backward(), twin_grad)
    assert not np.array_equal(grad, twin_grad)


@every_loss
@pytest.mark.parametrize("target_shape", [(1, 3, 4, 5), (2, 3, 5, 4), (3, 4, 5), ()])
def test_shapes_are_not_broadcast(kind: type[Loss], target_shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError) as caught:
        kind()(np.zeros((2, 3, 4, 5)), np.zeros(target_shape))
    assert caught.value.message == (
        f"{kind.__name__}() got a prediction of shape (2, 3, 4, 5) and a target of shape {target_shape}"
    )


@every_loss
def test_loss_of_an_empty_batch_is_refused(kind: type[Loss]) -> None:
    with pytest.raises(ShapeError, match=rf"^{kind.__name__}\(\) got an empty prediction of shape \(0, 3, 4, 5\)$"):
        kind()(np.zeros((0, 3, 4, 5)), np.zeros((0, 3, 4, 5)))


@every_loss
def test_backward_needs_a_forward_each_time(kind: type[Loss]) -> None:
    loss = kind()
    with pytest.raises(RuntimeError, match=rf"^{kind.__name__}\(\)\.backward\(\) needs a forward\(\)"):
        loss.backward()
    loss(np.ones(3), np.zeros(3))
    loss.backward()
    with pytest.raises(RuntimeError, match=rf"^{kind.__name__}\(\)\.backward\(\) needs a forward\(\)"):
        loss.backward()


def test_abstract_loss_has_no_forward_or_backward() -> None:
    with pytest.raises(NotImplementedError):
        Loss()(np.zeros(3), np.zeros(3))
    with pytest.raises(NotImplementedError):
        Loss().backward()


def test_losses_have_names() -> None:
    assert LOSSES == {"MSE": MSE, "L1": L1}


@every_loss
def test_unknown_targets_contribute_nothing(kind: type[Loss], rng: np.random.Generator) -> None:
    prediction, target = rng.normal(size=(2, 2, 3, 4, 5))
    unknown = rng.random(target.shape) < 0.3
    loss, plain = KnownOnly(kind()), kind()
    got = loss(prediction, np.where(unknown, np.nan, target))
    wanted = plain(prediction, np.where(unknown, prediction, target))
    assert got == wanted
    grad = loss.backward()
    assert not grad[unknown].any()
    assert np.array_equal(grad, plain.backward())


def test_copies_of_a_masked_loss_are_independent(rng: np.random.Generator) -> None:
    prediction, target = rng.normal(size=(2, 2, 3, 4, 5))
    one = KnownOnly(MSE())
    other = copy.copy(one)
    one(prediction, target)
    other(2 * prediction, target)
    assert np.array_equal(one.backward(), 2 / target.size * (prediction - target))


def test_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ShapeError, match="MSE"):
        KnownOnly(MSE())(np.zeros((2, 3)), np.full((3, 2), np.nan))
