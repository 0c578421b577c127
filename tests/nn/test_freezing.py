"""Frozen parameters stay bit for bit the same under every optimiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.config import load_config
from n2n_cli.errors import ArgumentError, ConfigError
from n2n_cli.models.model import Model
from n2n_cli.nn import Conv2d, Module, ReLU, Residual, Sequential
from n2n_cli.nn.freezing import frozen_parameters, trainable
from n2n_cli.nn.functional import Array
from n2n_cli.training.loop import train
from tests.training.test_resuming import stopped_after
from tests.trainings import new_run, small_config, write_leaves


def network() -> Module:
    rng = np.random.default_rng(0)
    inner = Residual(Conv2d(2, 2, 1, rng=rng), ReLU(), Conv2d(2, 2, 1, rng=rng))
    return Sequential(Conv2d(1, 2, 1, rng=rng), inner, Conv2d(2, 1, 1, rng=rng))


NAMES = [f"{layer}.{part}" for layer in ("0", "1.0", "1.2", "2") for part in ("weight", "bias")]


@pytest.mark.parametrize(
    ("patterns", "frozen"),
    [
        ((), []),
        (("0",), NAMES[:2]),
        (("0.weight",), NAMES[:1]),
        (("1",), NAMES[2:6]),
        (("1.*",), NAMES[2:6]),
        (("1.[12]",), NAMES[4:6]),
        (("*.bias",), NAMES[1::2]),
        (("2", "1.0.weight"), [NAMES[2], *NAMES[6:]]),
    ],
)
def test_patterns_name_parameters_or_layers(patterns: tuple[str, ...], frozen: list[str]) -> None:
    net = network()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert frozen_parameters(net, patterns) == set(frozen)
    left = [value.data for name, value in net.named_parameters() if name not in frozen]
    for (value, grad), wanted in zip(trainable(net, patterns), left, strict=True):
        assert value is wanted
        assert grad.shape == value.shape


@pytest.mark.parametrize("patterns", [("3",), ("0", "weight"), ("0.Weight",), ("1.1",)])
def test_pattern_without_a_match_is_refused(patterns: tuple[str, ...]) -> None:
    with pytest.raises(ArgumentError) as caught:
        frozen_parameters(network(), patterns)
    assert caught.value.message == (
        f"`freeze` is {patterns[-1]!r}, it must be the name or a pattern of parameters, as `0.weight`, `0.bias`, "
        "`1.0.weight`, `1.0.bias` and 4 more"
    )


def test_freezing_every_parameter_is_refused() -> None:
    with pytest.raises(ArgumentError, match="patterns that leave a parameter to be learned"):
        frozen_parameters(network(), ("*",))
    with pytest.raises(ConfigError) as caught:
        load_config("default").override("train.freeze", ["*.weight", "*.bias"], "--freeze")
    assert caught.value.message.startswith("`--freeze`: `train.freeze` has [")


@pytest.mark.parametrize("value", ["0", [0], ["a\nb"], {"0": 1}])
def test_patterns_must_be_a_list_of_strings(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"it must be a list of patterns"):
        load_config("default").override("train.freeze", value, "--freeze")


# Trainings

KINDS: dict[str, dict[str, Any]] = {
    "SGD": {"weight_decay": 0.01},
    "momentum": {"momentum": 0.9, "weight_decay": 0.01, "clip_norm": 0.1},
    "Adam": {"optimizer": "Adam", "lr": 0.01, "weight_decay": 0.01, "average": 0.9},
    "AdamW": {"optimizer": "AdamW", "lr": 0.01, "weight_decay": 0.1, "average": 0.9, "clip_norm": 0.1},
}


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_leaves(tmp_path_factory.mktemp("leaves"))


def weights(path: Path, key: str = "model") -> dict[str, Array]:
    state: dict[str, Array] = read_checkpoint(path)[key]
    return state


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_parameters_stay_bit_for_bit_also_after_resuming(kind: str, leaves: Path, tmp_path: Path) -> None:
    config = small_config(leaves, freeze=["0", "3.bias"], **KINDS[kind])
    began = Model.from_config(config, threads=1).network.state_dict()
    run, whole = new_run(tmp_path / "run"), new_run(tmp_path / "whole")
    stopped_after(5, config, run)  # in the second epoch
    list(train(load_config(str(run.config)), run, resume=True))
    list(train(config, whole))
    assert weights(run.last)["3.weight"].tobytes() == weights(whole.last)["3.weight"].tobytes()
    keys = ["model", *(["own_weights"] if "average" in KINDS[kind] else [])]
    for state in (weights(run.best), *(weights(run.last, key) for key in keys)):
        for name in ("0.weight", "0.bias", "3.bias"):
            assert state[name].tobytes() == began[name].tobytes()
        assert (state["3.weight"] != began["3.weight"]).all()


def test_frozen_gradients_are_neither_accumulated_nor_clipped(leaves: Path) -> None:
    config = small_config(leaves, freeze=["0"], clip_norm=1e-3)
    model, free = (Model.from_config(c, threads=1) for c in (config, small_config(leaves, clip_norm=1e-3)))
    x = np.random.default_rng(0).random((2, 2, 3, 8, 8), dtype=np.float32)
    for _ in range(3):
        model.step(*x)
    grads = dict(model.network.named_parameters())
    free.network.load_state_dict(model.network.state_dict())
    before = model.network.state_dict()
    model.step(*x)
    free.network.zero_grad()
    free.executor.accumulate(x[0], x[1], free.criterion)
    np.testing.assert_allclose(
        grads["0.weight"].grad, dict(free.network.named_parameters())["0.weight"].grad, rtol=1e-4
    )
    changed = [model.network.state_dict()[name] - before[name] for name in ("3.weight", "3.bias")]
    norm = np.sqrt(sum(float(np.square(change, dtype=np.float64).sum()) for change in changed))
    assert norm == pytest.approx(0.5 * 1e-3, rel=0.01)  # learning rate times the clipping norm
