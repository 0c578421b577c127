"""Initial weights of a training: random, or those of a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.checkpoints.file import read_checkpoint, write_checkpoint
from n2n_cli.config import Config, load_config
from n2n_cli.errors import CheckpointError
from n2n_cli.models.choice import choose_model
from n2n_cli.models.model import Model
from n2n_cli.training.initial_model import config_to_tune, starting_model
from n2n_cli.training.loop import train
from tests.pictures import error_of
from tests.training.test_resuming import stopped_after
from tests.trainings import LAYERS, left_by, new_run, small_config, timeless, write_leaves


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_leaves(tmp_path_factory.mktemp("leaves"))


def checkpoint(path: Path, config: Config) -> Path:
    """Write weights of another seed with a training's state."""
    other = replace(config, train=replace(config.train, seed=9))
    model = Model.from_config(other, threads=1)
    model.save(path, epoch=7, psnr=30.0)
    return path


def state(model: Model) -> Any:
    return timeless(model.network.state_dict())


def test_training_starts_from_the_weights_only(leaves: Path, tmp_path: Path) -> None:
    config = small_config(leaves, average=0.9, momentum=0.5)
    path = checkpoint(tmp_path / "a.pth", config)
    model = starting_model(replace(config, train=replace(config.train, init=str(path))), threads=1)
    assert state(model) == timeless(read_checkpoint(path)["model"])
    assert model.average is not None
    assert timeless(model.average.weights) == state(model)
    assert (model.facts, model.average.updates, model.optimizer.steps) == ({}, 0, 0)
    assert state(starting_model(config, threads=1)) == state(Model.from_config(config, threads=1)) != state(model)


def test_run_resumes_without_the_initial_checkpoint(leaves: Path, tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "a.pth", small_config(leaves))
    config = small_config(leaves, init=str(path))
    run, whole = new_run(tmp_path / "run"), new_run(tmp_path / "whole")
    list(train(config, whole))
    stopped_after(5, config, run)
    path.unlink()
    list(train(load_config(str(run.config)), run, resume=True))
    assert left_by(run) == left_by(whole)
    error = error_of(CheckpointError, lambda: list(train(config, new_run(tmp_path / "new"))))
    assert error.message == f"there is no checkpoint `{path}`"


def test_all_misfits_are_named(leaves: Path, tmp_path: Path) -> None:
    layers = [*LAYERS[:3], LAYERS[3] | {"bias": False}, {"type": "ReLU"}, LAYERS[3] | {"in_channels": 3}, LAYERS[4]]
    path = checkpoint(tmp_path / "a.pth", small_config(leaves))
    config = small_config(leaves, layers=layers, init=str(path))
    error = error_of(CheckpointError, lambda: starting_model(config, threads=1))
    for part in ("`5.weight` is missing", "`5.bias` is missing", "`3.bias` is unexpected", f"`{path}`"):
        assert part in error.message


def test_fine_tuning_keeps_the_configuration_without_its_warm_up(leaves: Path, tmp_path: Path) -> None:
    config = small_config(leaves, schedule={"name": "cosine", "warmup": 2, "floor": 0.1}, freeze=["0"])
    path = checkpoint(tmp_path / "a.pth", config)
    tuned = config_to_tune(str(path))
    assert tuned.schedule == replace(config.schedule, warmup=0)
    assert tuned.train == replace(config.train, seed=9, init=str(path), freeze=())
    assert (tuned.network, tuned.data) == (config.network, config.data)


def test_bundled_model_by_its_name() -> None:
    tuned = config_to_tune("photo")
    assert tuned.train.init == "photo"
    model = starting_model(tuned, threads=1)
    stored = read_checkpoint(choose_model("photo").path)["model"]
    assert state(model) == timeless({name: values.astype(np.float32) for name, values in stored.items()})


def test_weights_alone_need_a_configuration(leaves: Path, tmp_path: Path) -> None:
    path, config = tmp_path / "bare.pth", small_config(leaves)
    write_checkpoint(path, Model.from_config(config, threads=1).network.state_dict())
    error = error_of(CheckpointError, lambda: config_to_tune(str(path)))
    assert error.hint
    assert "--config" in error.hint
    assert starting_model(replace(config, train=replace(config.train, init=str(path)))).facts == {}
