from __future__ import annotations

from typing import Any

import pytest

from n2n_cli.checkpoints.contents import check_resumable, config_in, facts_in, naming_file
from n2n_cli.config import load_config
from n2n_cli.errors import CheckpointError, ConfigError

WEIGHTS: dict[str, Any] = {}


def test_configuration_round_trip() -> None:
    config = load_config("ee559")
    assert config_in({"model": WEIGHTS, "config": config.tables()}, "a.pth") == config


@pytest.mark.parametrize("tree", [WEIGHTS, {"model": WEIGHTS}, {"model": WEIGHTS, "config": "ee559"}, [1, 2], None])
def test_checkpoint_without_a_configuration_is_refused(tree: Any) -> None:
    with pytest.raises(CheckpointError, match=r"^`a.pth` holds weights but not the network they belong to$") as caught:
        config_in(tree, "a.pth")
    assert caught.value.hint == "name its configuration: `--config ee559`"


def test_wrong_configuration_is_refused_with_the_file_s_name() -> None:
    with pytest.raises(ConfigError, match=r"^`a.pth`: unknown key `newtork`"):
        config_in({"model": WEIGHTS, "config": {"newtork": {}}}, "a.pth")


def test_facts_exclude_weights_and_states() -> None:
    tree = {"model": WEIGHTS, "optimizer": {}, "config": {}, "own_weights": {}, "averaged_steps": 3, "epoch": 2}
    assert facts_in(tree) == {"epoch": 2}
    for no_model in ({"0.weight": 1}, None):
        assert facts_in(no_model) == {}


def test_resumable_checkpoints_are_accepted() -> None:
    check_resumable({"model": {}, "optimizer": {}}, "a.pth")
    check_resumable({"model": {}, "optimizer": {}, "own_weights": {}, "averaged_steps": 0}, "a.pth", averaged=True)


@pytest.mark.parametrize(
    ("tree", "averaged", "missing"),
    [
        ({"model": {}}, False, "no `optimizer`"),
        (None, False, "no `model`, no `optimizer`"),
        ({"model": {}, "optimizer": {}}, True, "no `own_weights`, no `averaged_steps`"),
        ({"model": {}, "optimizer": 3, "own_weights": {}, "averaged_steps": 1}, True, "no `optimizer`"),
    ],
)
def test_missing_states_are_named(tree: Any, averaged: bool, missing: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        check_resumable(tree, "a.pth", averaged=averaged)
    assert caught.value.message == f"`a.pth` cannot be resumed: it holds {missing}"
    assert caught.value.hint == "resume from the `last.pth` of a run"


def test_errors_name_the_file_once() -> None:
    for message, wanted in (("it is torn", "`a.pth`: it is torn"), ("`a.pth` is torn", "`a.pth` is torn")):
        for own in (None, "copy it again"):
            with pytest.raises(CheckpointError) as caught, naming_file("a.pth", hint="mend it"):
                raise CheckpointError(message, hint=own)
            assert (caught.value.message, caught.value.hint) == (wanted, own or "mend it")
