from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from n2n_cli.errors import ArgumentError, TrainingError
from n2n_cli.nn import MSE, Conv2d, NearestUpsampling, ReLU, Sequential, Sigmoid
from n2n_cli.nn.optim import OPTIMIZERS, SGD, Adam, AdamW, Muon, clip_gradient_norm
from n2n_cli.nn.optimizer import Optimizer
from tests.nn.optimizers import Pairs, drawn, take_steps

# Formulas


def test_sgd_follows_its_formula() -> None:
    weight, grad = np.array([[1.0, 2, 3]]), np.array([[10.0, 0, -4]])
    bias, bias_grad = np.array([5.0]), np.array([2.0])
    optimizer = SGD(iter([(weight, grad), (bias, bias_grad)]), lr=0.5)
    optimizer.step()
    assert weight.tolist() == [[-4, 2, 5]]
    assert bias.tolist() == [4]
    optimizer.lr = 0.25
    optimizer.step()
    assert weight.tolist() == [[-6.5, 2, 6]]
    assert grad.tolist() == [[10, 0, -4]]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"weight_decay": 0.5}, [1 - 0.5 * 4.5, -1.25 - 0.5 * (2 - 0.625)]),
        ({"momentum": 0.5}, [1 - 0.5 * 4, -1 - 0.5 * 4]),
        ({"momentum": 0.5, "dampening": 0.25}, [1 - 0.5 * 4, -1 - 0.5 * 3.5]),
        ({"momentum": 0.5, "nesterov": True}, [1 - 0.5 * 6, -2 - 0.5 * 4]),
        ({"momentum": 0.5, "weight_decay": 0.5}, [1 - 0.5 * 4.5, -1.25 - 0.5 * 3.625]),
    ],
    ids=str,
)
def test_sgd_with_momentum_and_decay_by_hand(arguments: dict[str, Any], wanted: list[float]) -> None:
    weight, grad = np.array([1.0]), np.array([4.0])
    optimizer = SGD([(weight, grad)], lr=0.5, **arguments)
    optimizer.step()
    assert weight.tolist() == wanted[:1]
    grad[...] = 2
    optimizer.step()
    assert weight.tolist() == wanted[1:]


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_adam_follows_its_formula(kind: type[Adam]) -> None:
    params = drawn()
    optimizer = kind(params, lr=0.1, betas=(0.7, 0.8), eps=1e-2, weight_decay=0.3)
    other = [parameter.copy() for parameter, _ in params]
    m = v = [np.zeros_like(parameter) for parameter in other]
    for t in range(1, 13):
        take_steps(optimizer, params, range(t, t + 1))
        grads = [np.sin(3 * parameter + t + i) for i, parameter in enumerate(other)]
        if kind is Adam:
            grads = [grad + 0.3 * parameter for grad, parameter in zip(grads, other, strict=True)]
        else:
            other = [parameter - 0.1 * 0.3 * parameter for parameter in other]
        m = [0.7 * a + 0.3 * grad for a, grad in zip(m, grads, strict=True)]
        v = [0.8 * a + 0.2 * grad**2 for a, grad in zip(v, grads, strict=True)]
        mean = [a / (1 - 0.7**t) for a in m]
        root = [np.sqrt(a / (1 - 0.8**t)) for a in v]
        other = [p - 0.1 * a / (b + 1e-2) for p, a, b in zip(other, mean, root, strict=True)]
        for (parameter, _), wanted in zip(params, other, strict=True):
            np.testing.assert_allclose(parameter, wanted, rtol=1e-12, atol=1e-13)


def test_adam_s_first_step_is_the_learning_rate_at_any_gradient_scale() -> None:
    weight, grad = np.zeros(4), np.array([1e-3, -5, 0, 1e12])
    Adam([(weight, grad)]).step()
    assert weight == pytest.approx([-1e-3, 1e-3, 0, -1e-3], rel=1e-4)


@pytest.mark.parametrize(("kind", "wanted"), [(AdamW, 2 * (1 - 1e-3 * 1e-2) ** 3), (Adam, 2.0), (SGD, 2.0)])
def test_weight_decay_has_a_default(kind: type[Optimizer], wanted: float) -> None:
    weight = np.full(3, 2.0)
    optimizer = kind([(weight, np.zeros(3))], lr=1e-3)
    for _ in range(3):
        optimizer.step()
    assert weight == pytest.approx(wanted, rel=1e-14)


def test_optimizers_have_names() -> None:
    assert dict(OPTIMIZERS) == {"SGD": SGD, "Adam": Adam, "AdamW": AdamW, "Muon": Muon}


@pytest.mark.parametrize(("kind", "lr"), [(SGD, 5), (SGD, 0.5), (Adam, 0.02), (AdamW, 0.02), (Muon, 0.02)])
def test_small_network_overfits_one_pair(kind: type[Optimizer], lr: float, rng: np.random.Generator) -> None:
    network = Sequential(
        Conv2d(3, 16, 3, stride=2, padding=1, rng=rng),
        ReLU(),
        NearestUpsampling(2),
        Conv2d(16, 3, 3, padding=1, rng=rng),
        Sigmoid(),
    )
    x, target = rng.uniform(size=(2, 1, 3, 4, 6)).astype(np.float32)
    momentum: dict[str, Any] = {"momentum": 0.9} if lr == 0.5 else {}
    loss, optimizer = MSE(), kind(network.param(), lr=lr, **momentum)
    losses = []
    for _ in range(1500 if kind is SGD else 300):
        losses.append(loss(network(x), target))
        optimizer.zero_grad()
        network.backward(loss.backward())
        optimizer.step()
    assert losses[-1] < 0.01 * losses[0]


# Arguments


@pytest.mark.parametrize("lr", [0, -1.0, float("nan"), float("inf"), True, "1"])
@pytest.mark.parametrize("kind", OPTIMIZERS.values())
def test_learning_rate_out_of_range_is_refused(kind: type[Optimizer], lr: float) -> None:
    with pytest.raises(ArgumentError, match=r"^`lr` is .*, it must be a finite number above 0$"):
        kind([], lr=lr)


BELOW_1 = "a number of at least 0 and below 1"


@pytest.mark.parametrize(
    ("kind", "arguments", "needed"),
    [
        (SGD, {"momentum": 1}, BELOW_1),
        (SGD, {"momentum": -0.1}, BELOW_1),
        (SGD, {"dampening": 1.0}, BELOW_1),
        (SGD, {"dampening": "0"}, BELOW_1),
        (SGD, {"weight_decay": -1e-9}, "a finite number of at least 0"),
        (SGD, {"nesterov": 1}, "true or false"),
        (SGD, {"nesterov": True}, "false without momentum or with dampening"),
        (
            SGD,
            {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
            "false without momentum or with dampening",
        ),
        (Adam, {"betas": (0.9, 1)}, f"two numbers, each {BELOW_1}"),
        (Adam, {"betas": (-0.1, 0.9)}, f"two numbers, each {BELOW_1}"),
        (Adam, {"betas": [0.9]}, f"two numbers, each {BELOW_1}"),
        (Adam, {"betas": 0.9}, f"two numbers, each {BELOW_1}"),
        (Adam, {"eps": 0}, "a finite number above 0"),
        (Adam, {"weight_decay": float("inf")}, "a finite number of at least 0"),
        (AdamW, {"weight_decay": float("nan")}, "a finite number of at least 0"),
    ],
    ids=str,
)
def test_arguments_out_of_range_are_refused(kind: type[Optimizer], arguments: dict[str, Any], needed: str) -> None:
    name, value = next(iter(arguments.items()))
    with pytest.raises(ArgumentError) as caught:
        kind([], **arguments)
    assert caught.value.message == f"`{name}` is {value!r}, it must be {needed}"


def test_betas_may_be_a_list() -> None:
    assert Adam([], betas=[0, 0.99]).betas == (0, 0.99)  # type: ignore[arg-type]


# Clipping


def test_clipping_scales_all_gradients_by_one_factor() -> None:
    first, second = np.array([[3.0, 0]]), np.array([0.0, 4.0], np.float32)
    params: Pairs = [(np.ones((1, 2)), first), (np.ones(2, np.float32), second)]
    assert clip_gradient_norm(iter(params), 2) == 5
    assert first.tolist() == [[3 * 2 / 5.000001, 0]]
    assert second.tolist() == pytest.approx([0, 4 * 2 / 5.000001], rel=1e-7)
    assert second.dtype == np.float32
    assert params[0][0].tolist() == [[1, 1]]


def test_gradients_within_the_norm_are_unchanged() -> None:
    grad = np.array([3.0, 4.0])
    for max_norm in (5.001, 100):
        assert clip_gradient_norm([(np.ones(2), grad)], max_norm) == 5
        assert grad.tolist() == [3, 4]
    assert clip_gradient_norm([], 1) == 0


def test_norm_of_large_gradients_does_not_overflow() -> None:
    grad = np.full(4, 1e30, np.float32)
    assert clip_gradient_norm([(grad, grad)], 1) == pytest.approx(2e30)
    assert grad == pytest.approx(0.5)


@pytest.mark.parametrize(("value", "norm"), [(np.inf, "inf"), (np.nan, "nan"), (1e200, "inf")])
def test_infinite_or_nan_norm_is_refused(value: float, norm: str) -> None:
    grads = np.array([1.0, 2]), np.array([value, 1])
    with pytest.raises(TrainingError, match=f"^the norm of the gradients is {norm}$") as caught:
        clip_gradient_norm([(grad, grad) for grad in grads], 1)
    assert caught.value.hint == "try a smaller learning rate"
    assert grads[0].tolist() == [1, 2]


@pytest.mark.parametrize("max_norm", [0, -1, float("nan"), None])
def test_maximum_norm_out_of_range_is_refused(max_norm: float) -> None:
    with pytest.raises(ArgumentError, match=r"^`max_norm` is .*, it must be a finite number above 0$"):
        clip_gradient_norm([], max_norm)
