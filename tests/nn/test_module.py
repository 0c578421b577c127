from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from n2n_cli.errors import CheckpointError, TrainingError
from n2n_cli.nn import Conv2d, Module, Parameter, ReLU
from n2n_cli.nn.functional import Array


class Residual(Module):
    """x + gain * branch(x): holds a parameter of its own and modules as attributes."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.first = Conv2d(3, 4, 1, rng=rng, dtype=np.float64)
        self.gain = Parameter(np.array([2.0]))
        self.last = Conv2d(4, 3, 1, bias=False, rng=rng, dtype=np.float64)


def test_parameters_of_modules_held_as_attributes(rng: np.random.Generator) -> None:
    module = Residual(rng)
    assert list(module.state_dict()) == ["gain", "first.weight", "first.bias", "last.weight"]
    assert [name for name, _ in module.named_parameters("net.")][:2] == ["net.gain", "net.first.weight"]
    assert [name for name, _ in module.children()] == ["first", "last"]
    assert module.param()[1][0] is module.first.weight.data
    assert module.param()[1][1] is module.first.weight.grad


def test_train_and_eval_reach_every_child_and_return_the_module(rng: np.random.Generator) -> None:
    module = Residual(rng)
    assert module.training
    assert module.eval() is module
    assert [module.training, module.first.training, module.last.training] == [False, False, False]
    assert module.train() is module
    assert [module.training, module.first.training, module.last.training] == [True, True, True]


def test_zero_grad_reaches_every_parameter(rng: np.random.Generator) -> None:
    module = Residual(rng)
    for _, grad in module.param():
        assert not grad.any()
        grad += 1
    module.zero_grad()
    assert not any(grad.any() for _, grad in module.param())


def test_state_dict_is_a_copy(rng: np.random.Generator) -> None:
    module = Residual(rng)
    state = module.state_dict()
    state["gain"][...] = 5
    assert module.gain.data == [2]
    module.load_state_dict(state)
    state["gain"][...] = 7
    assert module.gain.data == [5]


def test_load_state_dict_keeps_the_arrays_an_optimizer_holds(rng: np.random.Generator) -> None:
    module, other = Residual(rng), Residual(rng)
    held = module.param()
    module.load_state_dict({name: value.astype(np.float32) for name, value in other.state_dict().items()})
    for (name, parameter), (data, _) in zip(module.named_parameters(), held, strict=True):
        assert parameter.data is data
        assert data.dtype == np.float64
        assert np.array_equal(data, other.state_dict()[name].astype(np.float32))


def test_state_that_does_not_fit_is_refused_whole(rng: np.random.Generator) -> None:
    module = Residual(rng)
    before = module.state_dict()
    bad = {
        "gain": np.array([3.0]),
        "first.weight": np.zeros((3, 4, 1, 1)),
        "last.weight": np.full((3, 4, 1, 1), np.nan),
        "second.bias": np.zeros(3),
    }
    with pytest.raises(CheckpointError) as caught:
        module.load_state_dict(bad)
    assert caught.value.message == (
        "the weights do not fit the network: `first.bias` is missing; `second.bias` is unexpected; "
        "`first.weight` has shape (3, 4, 1, 1), the network needs (4, 3, 1, 1); "
        "`last.weight` holds values that are not finite"
    )
    for name, value in module.state_dict().items():
        assert np.array_equal(value, before[name])


def test_weight_too_large_for_the_dtype_is_refused() -> None:
    """The value is finite in the file's float64 and infinite in the layer's float32."""
    layer = Conv2d(3, 4, 1)
    state = layer.state_dict() | {"bias": np.full(4, 1e300)}
    with pytest.raises(CheckpointError, match="`bias` holds values that are not finite"):
        layer.load_state_dict(state)
    state = layer.state_dict() | {"bias": np.full(4, -1e30)}
    with pytest.raises(CheckpointError, match=r"`bias` holds values above 1e\+18, too large to compute with"):
        layer.load_state_dict(state)


def backward(layer: Module, x: Array) -> Callable[[], Array]:
    return lambda: layer.backward(np.ones(layer.output_shape(x.shape)))


@pytest.mark.parametrize("layer", [ReLU(), Conv2d(3, 4, 2)], ids=repr)
def test_backward_needs_a_forward_in_training_mode(layer: Module) -> None:
    x = np.ones((2, 3, 4, 5))
    go_back = backward(layer, x)
    message = "^" + re.escape(f"{layer}.backward() needs a forward() in training mode before it") + "$"
    with pytest.raises(RuntimeError, match=message):
        go_back()
    layer(x)
    go_back()
    with pytest.raises(RuntimeError, match=message):
        go_back()
    layer(x)
    layer.eval()
    with pytest.raises(RuntimeError, match=message):
        go_back()


def test_abstract_module_has_no_forward_or_backward() -> None:
    with pytest.raises(NotImplementedError, match="Module has no `forward`"):
        Module()(np.zeros((1, 1, 1, 1)))
    with pytest.raises(TrainingError, match="Module cannot be trained: it has no `backward`"):
        Module().backward(np.zeros((1, 1, 1, 1)))


def test_output_shape_defaults_to_the_input_shape() -> None:
    module = Module()
    assert module.output_shape((2, 3, 5, 7)) == (2, 3, 5, 7)
    assert (module.step(0), module.period(1), module.input_span(3, 6, 0)) == (Fraction(1), 1, (3, 6))
    assert repr(module) == "Module()"
