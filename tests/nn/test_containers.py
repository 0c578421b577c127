"""Sequential."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from n2n_cli.errors import ShapeError
from n2n_cli.nn import Conv2d, NearestUpsampling, ReLU, Residual, Sequential, Sigmoid, SkipConcat
from n2n_cli.nn.functional import Array
from n2n_cli.nn.gradient_check import check_gradients


def small(rng: np.random.Generator) -> Sequential:
    return Sequential(
        *(Conv2d(2, 3, 3, 2, 1, rng=rng, dtype=np.float64), Sigmoid(), NearestUpsampling((2, 3))),
        Sequential(Conv2d(3, 4, (2, 3), rng=rng, dtype=np.float64), Sigmoid()),
    )


def test_gradients_through_several_layers(rng: np.random.Generator) -> None:
    check_gradients(small(rng), rng.normal(size=(2, 2, 4, 5)))


def test_forward_applies_the_modules_in_order(rng: np.random.Generator) -> None:
    net, x = small(rng), rng.normal(size=(2, 2, 4, 5))
    wanted = x
    for module in net:
        wanted = module(wanted)
    np.testing.assert_allclose(net(x), wanted, rtol=1e-12)


@pytest.mark.parametrize("container", [Sequential, Residual, SkipConcat])
def test_container_is_a_python_sequence_of_its_modules(container: type[Sequential | Residual | SkipConcat]) -> None:
    modules = ReLU(), Sigmoid(), ReLU()
    net = container(*modules)
    assert len(net) == 3
    assert all(a is b for a, b in zip(net, modules, strict=True))
    assert net[1] is modules[1]
    assert net[-1] is modules[2]
    assert repr(net) == f"{container.__name__}(ReLU(), Sigmoid(), ReLU())"


def test_empty_sequential_is_the_identity(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 4, 5))
    np.testing.assert_array_equal(Sequential()(x), x)
    assert Sequential().output_shape(x.shape) == x.shape
    assert (Sequential().step(0), Sequential().period(0), Sequential().input_span(2, 5, 0)) == (Fraction(1), 1, (2, 5))


def test_state_dict_keys_count_every_layer(rng: np.random.Generator) -> None:
    assert list(small(rng).state_dict()) == ["0.weight", "0.bias", "3.0.weight", "3.0.bias"]


@pytest.mark.parametrize("container", [Sequential, Residual, SkipConcat])
def test_same_module_twice_is_refused(container: type[Sequential | Residual | SkipConcat]) -> None:
    relu = ReLU()
    with pytest.raises(ValueError, match=r"ReLU\(\) occurs twice in a Sequential \(again at position 2\)"):
        container(relu, Sigmoid(), relu)


def test_shape_error_names_the_layer_and_its_position(rng: np.random.Generator) -> None:
    net = Sequential(ReLU(), small(rng))
    for use in (lambda: net(np.zeros((1, 5, 6, 7))), lambda: net.output_shape((1, 5, 6, 7))):
        with pytest.raises(ShapeError) as caught:
            use()
        assert caught.value.message == (
            "layer 1: layer 0: Conv2d(2, 3, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))"
            " got an input of shape (1, 5, 6, 7), it needs (N, 2, H, W)"
        )


def test_gradient_shape_error_names_the_layer_and_its_position(rng: np.random.Generator) -> None:
    net = Sequential(ReLU(), small(rng))
    assert net(rng.normal(size=(1, 2, 4, 5))).shape == (1, 4, 3, 7)
    with pytest.raises(ShapeError) as caught:
        net.backward(np.zeros((1, 4, 3, 8)))
    assert caught.value.message == (
        "layer 1: layer 3: layer 1: Sigmoid() got an output gradient of shape (1, 4, 3, 8), it needs (1, 4, 3, 7)"
    )


def test_sequential_calls_its_layers_own_forward(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    forward, backward = Conv2d.forward, Conv2d.backward

    def counted_forward(layer: Conv2d, x: Array) -> Array:
        calls.append("forward")
        return forward(layer, x)

    def counted_backward(layer: Conv2d, grad_output: Array) -> Array:
        calls.append("backward")
        return backward(layer, grad_output)

    monkeypatch.setattr(Conv2d, "forward", counted_forward)
    monkeypatch.setattr(Conv2d, "backward", counted_backward)
    network = Sequential(Conv2d(3, 4, 3, padding=1, rng=rng), ReLU(), Sequential(Conv2d(4, 3, 3, padding=1, rng=rng)))
    network.backward(network(rng.normal(size=(2, 3, 5, 7))))
    assert calls == ["forward", "forward", "backward", "backward"]
