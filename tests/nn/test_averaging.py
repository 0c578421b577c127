from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli import engine
from n2n_cli.checkpoints.file import read_checkpoint, write_checkpoint
from n2n_cli.errors import ArgumentError, CheckpointError
from n2n_cli.nn import Conv2d, Sequential
from n2n_cli.nn.averaging import MovingAverage
from n2n_cli.nn.module import Parameter


def conv(seed: int = 1) -> Conv2d:
    return Conv2d(3, 2, (1, 2), rng=np.random.default_rng(seed))


def test_average_follows_its_formula() -> None:
    parameter = Parameter(np.array([[1.0, -2]]))
    average = MovingAverage([("weight", parameter)], decay=0.25)
    wanted = np.array([[1.0, -2]])
    for t, decay in enumerate([1 / 10, 2 / 11, 3 / 12, 0.25, 0.25]):
        assert average.updates == t
        parameter.data += [[1, 0.5]]
        average.update()
        wanted = decay * wanted + (1 - decay) * parameter.data
        np.testing.assert_allclose(average.weights["weight"], wanted, rtol=1e-14)
    assert parameter.data.tolist() == [[6, 0.5]]


def test_default_decay_averages_over_a_thousand_steps() -> None:
    parameter = Parameter(np.zeros(1))
    average = MovingAverage([("weight", parameter)])
    average.load_state_dict({"updates": 10**6, "weights": {"weight": np.zeros(1)}})
    parameter.data += 1
    average.update()
    assert average.weights["weight"].tolist() == pytest.approx([0.001], rel=1e-12)


def test_decay_of_zero_gives_the_current_weights() -> None:
    layer = conv()
    average = MovingAverage(layer.named_parameters(), decay=0)
    for _, parameter in layer.named_parameters():
        parameter.data += 1
    average.update()
    for name, parameter in layer.named_parameters():
        np.testing.assert_allclose(average.weights[name], parameter.data, rtol=1e-6)


def test_constant_weights_are_their_own_average() -> None:
    layer = conv()
    average = MovingAverage(layer.named_parameters(), decay=0.9999)
    for _ in range(1000):
        average.update()
    assert all(np.array_equal(average.weights[name], p.data) for name, p in layer.named_parameters())


def test_average_is_a_state_dict_of_the_network() -> None:
    network = Sequential(conv(1), Conv2d(2, 3, 1))
    average = MovingAverage(network.named_parameters())
    assert list(average.weights) == list(network.state_dict())
    assert all(values.dtype == np.float32 for values in average.weights.values())
    network.load_state_dict(average.weights)


def test_network_holds_the_average_only_inside_the_block() -> None:
    layer = conv()
    arrays = [parameter.data for _, parameter in layer.named_parameters()]
    x = np.ones((1, 3, 2, 4), np.float32)
    average, replicas = MovingAverage(layer.named_parameters()), engine.compile(Sequential(layer))
    start, start_y = layer.state_dict(), replicas.map(lambda replica, _: replica(x).copy(), [0])[0]
    for array in arrays:
        array += 1
    own = layer.state_dict()
    with average.applied():
        assert all(np.array_equal(start[name], values) for name, values in layer.state_dict().items())
        assert np.array_equal(replicas.map(lambda replica, _: replica(x).copy(), [0])[0], start_y)
    assert all(np.array_equal(own[name], values) for name, values in layer.state_dict().items())
    assert all(a is parameter.data for a, (_, parameter) in zip(arrays, layer.named_parameters(), strict=True))
    assert all(np.array_equal(start[name], values) for name, values in average.weights.items())


def test_weights_are_restored_after_an_error() -> None:
    layer = conv()
    average = MovingAverage(layer.named_parameters())
    layer.weight.data += 1
    own = layer.weight.data.copy()

    def fail() -> None:
        with average.applied():
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fail()
        assert np.array_equal(layer.weight.data, own)


def test_update_inside_the_block_is_refused() -> None:
    average = MovingAverage(conv().named_parameters())
    with average.applied():
        with pytest.raises(RuntimeError, match="the parameters hold the average"):
            average.update()
        with pytest.raises(RuntimeError, match="the average is already applied"), average.applied():
            pass
    average.update()
    assert average.updates == 1


def test_restored_state_continues_the_average(tmp_path: Path) -> None:
    layer = conv()
    average, other = MovingAverage(layer.named_parameters()), MovingAverage(conv(2).named_parameters())
    for _ in range(3):
        layer.weight.data += 1
        average.update()
    write_checkpoint(tmp_path / "a.pth", average.state_dict())
    other.load_state_dict(read_checkpoint(tmp_path / "a.pth"))
    write_checkpoint(tmp_path / "b.pth", other.state_dict())
    assert other.updates == 3
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_state_is_copied_when_saved_and_when_loaded() -> None:
    layer = conv()
    average = MovingAverage(layer.named_parameters())
    state = average.state_dict()
    layer.weight.data += 1
    average.update()
    average.load_state_dict(state)
    average.update()
    assert np.array_equal(state["weights"]["weight"], conv().weight.data)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"updates": -1}, "`updates` is -1, it must be a whole number of at least 0"),
        ({"weights": None}, "`weights` is not a table of arrays"),
        ({"weight": 1}, "`weight` is unexpected"),
        ({"weights": {"bias": np.zeros(2)}}, "`weights.weight` is missing"),
        (
            {"weights": {"weight": np.zeros((3, 2, 1, 2)), "bias": np.zeros(2)}},
            "`weights.weight` has shape (3, 2, 1, 2), the network needs (2, 3, 1, 2)",
        ),
        (
            {"weights": {"weight": np.zeros((2, 3, 1, 2)), "bias": np.full(2, np.nan)}},
            "`weights.bias` holds values that are not finite",
        ),
    ],
    ids=str,
)
def test_state_that_does_not_fit_is_refused(change: dict[str, Any], problem: str) -> None:
    average = MovingAverage(conv().named_parameters())
    state = {"updates": 5, "weights": {"weight": np.ones((2, 3, 1, 2)), "bias": np.ones(2)}, **change}
    with pytest.raises(CheckpointError) as caught:
        average.load_state_dict(state)
    assert caught.value.message == f"the averaged weights do not fit the network: {problem}"
    assert caught.value.hint == "resume with the configuration that the training was started with"
    assert average.updates == 0
    assert np.array_equal(average.weights["weight"], conv().weight.data)


def test_all_misfits_are_named_at_once() -> None:
    average = MovingAverage(conv().named_parameters())
    with pytest.raises(CheckpointError) as caught:
        average.load_state_dict({"weights": {"bias": np.zeros(3), "wait": np.zeros(1)}})
    assert caught.value.message.partition(": ")[2].split("; ") == [
        "`updates` is missing",
        "`weights.weight` is missing",
        "`weights.wait` is unexpected",
        "`weights.bias` has shape (3,), the network needs (2,)",
    ]


@pytest.mark.parametrize("decay", [1, -0.1, float("nan"), True, "0.9"])
def test_decay_out_of_range_is_refused(decay: float) -> None:
    message = f"`decay` is {decay!r}, it must be a number of at least 0 and below 1"
    with pytest.raises(ArgumentError, match="^" + re.escape(message) + "$"):
        MovingAverage([], decay=decay)
