from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.errors import ArgumentError
from n2n_cli.nn import MSE, SGD, Conv2d, NearestUpsampling, Optimizer, ReLU, Sequential, Sigmoid


def test_sgd_is_its_formula() -> None:
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


def test_sgd_keeps_float32() -> None:
    weight = np.ones(3, np.float32)
    SGD([(weight, np.ones(3, np.float32))], lr=0.1).step()
    assert weight.dtype == np.float32
    assert weight == pytest.approx(0.9)


def test_steps_reach_the_layer_and_zero_grad_its_gradients(rng: np.random.Generator) -> None:
    layer = Conv2d(3, 4, 2, rng=rng, dtype=np.float64)
    before = layer.state_dict()
    optimizer = SGD(layer.param(), lr=0.1)
    y = layer(rng.normal(size=(2, 3, 4, 5)))
    layer.backward(np.ones_like(y))
    grads = {name: parameter.grad.copy() for name, parameter in layer.named_parameters()}
    optimizer.step()
    for name, after in layer.state_dict().items():
        assert grads[name].all()
        assert after == pytest.approx(before[name] - 0.1 * grads[name], rel=1e-14)
    optimizer.zero_grad()
    assert not any(grad.any() for _, grad in layer.param())


@pytest.mark.parametrize("lr", [0, -1.0, float("nan"), float("inf"), True, "1"])
def test_a_learning_rate_out_of_range(lr: float) -> None:
    with pytest.raises(ArgumentError, match=r"^`lr` is .*, it must be a finite number above 0$"):
        SGD([], lr=lr)
    with pytest.raises(ArgumentError, match=r"^`lr` is "):
        SGD([]).load_state_dict({"lr": lr})


def test_state_dict_round_trip() -> None:
    optimizer = SGD([], lr=0.25)
    optimizer.load_state_dict(SGD([], lr=3).state_dict())
    assert optimizer.lr == 3


def test_an_optimizer_has_to_say_how() -> None:
    with pytest.raises(NotImplementedError):
        Optimizer([], 0.1).step()


def test_a_small_network_overfits_one_pair(rng: np.random.Generator) -> None:
    network = Sequential(
        Conv2d(3, 16, 3, stride=2, padding=1, rng=rng),
        ReLU(),
        NearestUpsampling(2),
        Conv2d(16, 3, 3, padding=1, rng=rng),
        Sigmoid(),
    )
    x, target = rng.uniform(size=(2, 1, 3, 4, 6)).astype(np.float32)
    loss, optimizer = MSE(), SGD(network.param(), lr=5)
    losses = []
    for _ in range(1500):
        losses.append(loss(network(x), target))
        optimizer.zero_grad()
        network.backward(loss.backward())
        optimizer.step()
    assert losses[-1] < 0.01 * losses[0]
