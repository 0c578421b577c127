"""Properties of all optimisers, and the state that resumes a training."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from n2n_cli.checkpoints.file import read_checkpoint, write_checkpoint
from n2n_cli.errors import ArgumentError, CheckpointError
from n2n_cli.nn import Conv2d
from n2n_cli.nn.arguments import number
from n2n_cli.nn.optim import SGD, Adam, AdamW
from n2n_cli.nn.optimizer import Optimizer
from tests.nn.cases import some_examples
from tests.nn.optimizers import MAKES, Pairs, drawn, every_optimizer, take_steps


@every_optimizer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_step_keeps_arrays_dtypes_and_gradients(make: Callable[[Pairs], Optimizer], dtype: DTypeLike) -> None:
    params = drawn(dtype=dtype)
    for _, grad in params:
        grad.fill(0.5)
    before = [parameter.copy() for parameter, _ in params]
    optimizer = make(params)
    optimizer.lr = np.float64(0.1)  # what a schedule may compute
    for _ in range(3):
        optimizer.step()
    for (parameter, grad), start in zip(params, before, strict=True):
        assert parameter.dtype == dtype
        assert np.all(parameter != start)
        assert np.all(grad == 0.5)
    assert all(array.dtype == dtype for arrays in optimizer.kept.values() for array in arrays)


@every_optimizer
def test_memory_layout_does_not_matter(make: Callable[[Pairs], Optimizer]) -> None:
    wide = np.zeros((4, 3, 2, 11))
    plain, turned, strided = drawn()[0][0], np.asfortranarray(drawn()[0][0]), wide[..., 1::2]
    strided[...] = plain
    for parameter, grad in [
        (plain, np.zeros((4, 3, 2, 5))),
        (turned, np.zeros((4, 3, 2, 5))),
        (strided, plain.T.copy().T),
    ]:
        params = [(parameter, grad)]
        take_steps(make(params), params, range(3))
    assert np.array_equal(turned, plain)
    assert np.array_equal(strided, plain)
    assert not wide[..., ::2].any()


@every_optimizer
def test_parameters_are_updated_independently(make: Callable[[Pairs], Optimizer]) -> None:
    together, alone = drawn(), drawn()
    take_steps(make(together), together, range(4))
    for i, (parameter, grad) in enumerate(alone):
        optimizer = make([(parameter, grad)])
        for step in range(4):
            grad[...] = np.sin(3 * parameter + step + i)
            optimizer.step()
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(together, alone, strict=True))


@every_optimizer
def test_learning_rate_of_zero_changes_nothing(make: Callable[[Pairs], Optimizer]) -> None:
    params = drawn()
    optimizer = make(params)
    optimizer.lr = 0
    take_steps(optimizer, params, range(2))
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(params, drawn(), strict=True))


@every_optimizer
def test_optimizer_without_parameters_counts_steps(make: Callable[[Pairs], Optimizer]) -> None:
    optimizer = make([])
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.steps == 1


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


def test_abstract_optimizer_has_no_step() -> None:
    with pytest.raises(NotImplementedError):
        Optimizer([], 0.1).step()


# State


@some_examples
@given(st.sampled_from(list(MAKES)), st.integers(0, 4), st.integers(1, 4), st.sampled_from([np.float32, np.float64]))
def test_resumed_optimizer_ends_with_the_same_weights(name: str, first: int, more: int, dtype: DTypeLike) -> None:
    params, others = drawn(dtype=dtype), drawn(dtype=dtype)
    optimizer, before = MAKES[name](params), MAKES[name](others)
    optimizer.lr = before.lr = 0.05  # as set by a schedule
    take_steps(optimizer, params, range(first + more))
    take_steps(before, others, range(first))
    after = MAKES[name](others)
    after.load_state_dict(before.state_dict())
    take_steps(after, others, range(first, first + more))
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(params, others, strict=True))


@every_optimizer
def test_state_round_trip_through_a_file(make: Callable[[Pairs], Optimizer], tmp_path: Path) -> None:
    params = drawn(dtype=np.float32)
    optimizer, other = make(params), make(drawn(2, np.float32))
    take_steps(optimizer, params, range(3))
    write_checkpoint(tmp_path / "a.pth", {"optimizer": optimizer.state_dict()})
    other.load_state_dict(read_checkpoint(tmp_path / "a.pth")["optimizer"])
    write_checkpoint(tmp_path / "b.pth", {"optimizer": other.state_dict()})
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()
    assert other.steps == (3 if other.kept else 0)


def test_state_has_pytorch_s_names() -> None:
    assert SGD([], lr=0.25).state_dict() == {"lr": 0.25}
    assert list(SGD([], momentum=0.9).state_dict()) == ["lr", "steps", "momentum_buffer"]
    assert list(Adam([]).state_dict()) == ["lr", "steps", "exp_avg", "exp_avg_sq"]


def test_state_is_copied_when_saved_and_when_loaded() -> None:
    params = drawn()
    optimizer = Adam(params)
    take_steps(optimizer, params, range(1))
    state = optimizer.state_dict()
    kept = [array.copy() for array in state["exp_avg"]]
    take_steps(optimizer, params, range(1))
    optimizer.load_state_dict(state)
    take_steps(optimizer, params, range(1))
    assert all(np.array_equal(a, b) for a, b in zip(state["exp_avg"], kept, strict=True))


def test_state_with_a_learning_rate_of_zero_is_loaded() -> None:
    optimizer = SGD([], lr=1)
    optimizer.load_state_dict({"lr": 0.0})
    assert optimizer.lr == 0


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"lr": -1.0}, "`lr` is -1.0, it must be a finite number of at least 0"),
        ({"lr": float("nan")}, "`lr` is nan, it must be a finite number of at least 0"),
        ({"lr": None}, "`lr` is None, it must be a finite number of at least 0"),
        ({"steps": -1}, "`steps` is -1, it must be a whole number of at least 0"),
        ({"steps": 2.0}, "`steps` is 2.0, it must be a whole number of at least 0"),
        ({"exp_avg": None}, "`exp_avg` is not a list of 2 arrays, one per parameter"),
        ({"exp_avg": [np.zeros(2)]}, "`exp_avg` is not a list of 2 arrays, one per parameter"),
        ({"exp_avg": [np.zeros(2), 0.0]}, "`exp_avg[1]` is not an array of numbers"),
        ({"exp_avg": [np.zeros(2, complex), np.zeros(3)]}, "`exp_avg[0]` is not an array of numbers"),
        ({"exp_avg_sq": [np.zeros(2), np.zeros((3, 1))]}, "`exp_avg_sq[1]` has shape (3, 1), the network needs (3,)"),
        ({"exp_avg": [np.full(2, np.inf), np.zeros(3)]}, "`exp_avg[0]` holds values that are not finite"),
        ({"exp_avg": [np.full(2, 1e39), np.zeros(3)]}, "`exp_avg[0]` holds values that are not finite"),
        ({"momentum_buffer": []}, "`momentum_buffer` is unexpected"),
    ],
    ids=str,
)
def test_state_that_does_not_fit_is_refused(change: dict[str, Any], problem: str) -> None:
    optimizer = Adam([(np.zeros(n, np.float32), np.ones(n, np.float32)) for n in (2, 3)], lr=0.5)
    optimizer.step()
    before = optimizer.state_dict()
    with pytest.raises(CheckpointError) as caught:
        optimizer.load_state_dict({**before, "lr": 0.25, "steps": 7, "exp_avg": [np.ones(2), np.ones(3)], **change})
    assert caught.value.message == f"the optimiser's state does not fit Adam: {problem}"
    assert caught.value.hint == "resume with the configuration that the training was started with"
    after = optimizer.state_dict()
    assert (after["lr"], after["steps"]) == (0.5, 1)
    assert all(np.array_equal(a, b) for a, b in zip(before["exp_avg"], after["exp_avg"], strict=True))


def test_all_misfits_are_named_at_once() -> None:
    optimizer = Adam([(np.zeros(2), np.zeros(2))])
    with pytest.raises(CheckpointError) as caught:
        optimizer.load_state_dict({"steps": 1.5, "beta": 1, "exp_avg_sq": [np.zeros(3)]})
    assert caught.value.message.partition(": ")[2].split("; ") == [
        "`lr` is missing",
        "`exp_avg` is missing",
        "`beta` is unexpected",
        "`steps` is 1.5, it must be a whole number of at least 0",
        "`exp_avg_sq[0]` has shape (3,), the network needs (2,)",
    ]


def test_the_state_of_another_optimizer_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"does not fit SGD: `steps` is unexpected; `exp_avg` is unexpected; "):
        SGD([]).load_state_dict(Adam([]).state_dict())
    with pytest.raises(CheckpointError, match=r"does not fit AdamW: `steps` is missing; `exp_avg` is missing; "):
        AdamW([]).load_state_dict(SGD([]).state_dict())


@pytest.mark.parametrize("value", [3, 2.5, np.float64(2.5)])
def test_number_returns_a_plain_float(value: float) -> None:
    assert type(number("floor", value, "large", lambda x: x > 2)) is float
    assert number("floor", value, "large", lambda x: x > 2) == value


@pytest.mark.parametrize("value", [2, float("nan"), float("inf"), 10**400, True, "3", None])
def test_number_refuses_other_values(value: object) -> None:
    with pytest.raises(ArgumentError, match=re.escape(f"`floor` is {value!r}, it must be large")):
        number("floor", value, "large", lambda x: x > 2)
