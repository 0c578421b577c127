"""Trainings that start from weights, and the model that learns from single noisy pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.bundled import choose_model
from n2n_cli.checkpoint import read_checkpoint, write_checkpoint
from n2n_cli.config import Config, load_config
from n2n_cli.data.single_pairs import SinglePairs, drawn_in
from n2n_cli.errors import CheckpointError, ConfigError
from n2n_cli.fine_tuning import SingleImageModel, config_to_tune, starting_model
from n2n_cli.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.records import Finished
from n2n_cli.single_image.neighbors import neighbours
from n2n_cli.training import train
from tests.pictures import colour, told
from tests.shots import in_memory, noisy, scene, write_burst, write_bursts
from tests.test_resuming import stopped_after
from tests.trainings import LAYERS, left_by, new_run, small_config, timeless, write_leaves


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_leaves(tmp_path_factory.mktemp("leaves"))


def checkpoint(path: Path, config: Config) -> Path:
    """Weights of another seed, with a training's state."""
    other = replace(config, train=replace(config.train, seed=9))
    model = Model.from_config(other, threads=1)
    model.save(path, epoch=7, psnr=30.0)
    return path


def state(model: Model) -> Any:
    return timeless(model.network.state_dict())


def test_a_training_starts_from_the_weights_and_nothing_else(leaves: Path, tmp_path: Path) -> None:
    config = small_config(leaves, average=0.9, momentum=0.5)
    path = checkpoint(tmp_path / "a.pth", config)
    model = starting_model(replace(config, train=replace(config.train, init=str(path))), threads=1)
    assert state(model) == timeless(read_checkpoint(path)["model"])
    assert model.average is not None
    assert timeless(model.average.weights) == state(model)
    assert (model.facts, model.average.updates, model.optimizer.steps) == ({}, 0, 0)
    assert state(starting_model(config, threads=1)) == state(Model.from_config(config, threads=1)) != state(model)


def test_a_run_goes_on_where_the_weights_that_it_began_with_are_gone(leaves: Path, tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "a.pth", small_config(leaves))
    config = small_config(leaves, init=str(path))
    run, whole = new_run(tmp_path / "run"), new_run(tmp_path / "whole")
    list(train(config, whole))
    stopped_after(5, config, run)
    path.unlink()
    list(train(load_config(str(run.config)), run, resume=True))
    assert left_by(run) == left_by(whole)
    error = told(CheckpointError, lambda: list(train(config, new_run(tmp_path / "new"))))
    assert error.message == f"there is no checkpoint `{path}`"


def test_all_misfits_are_told(leaves: Path, tmp_path: Path) -> None:
    layers = [*LAYERS[:3], LAYERS[3] | {"bias": False}, {"type": "ReLU"}, LAYERS[3] | {"in_channels": 3}, LAYERS[4]]
    path = checkpoint(tmp_path / "a.pth", small_config(leaves))
    config = small_config(leaves, layers=layers, init=str(path))
    error = told(CheckpointError, lambda: starting_model(config, threads=1))
    for part in ("`5.weight` is missing", "`5.bias` is missing", "`3.bias` is unexpected", f"`{path}`"):
        assert part in error.message


def test_a_checkpoint_is_tuned_as_it_was_trained_but_for_the_warm_up(leaves: Path, tmp_path: Path) -> None:
    config = small_config(leaves, schedule={"name": "cosine", "warmup": 2, "floor": 0.1}, freeze=["0"])
    path = checkpoint(tmp_path / "a.pth", config)
    tuned = config_to_tune(str(path))
    assert tuned.schedule == replace(config.schedule, warmup=0)
    assert tuned.train == replace(config.train, seed=9, init=str(path), freeze=())
    assert (tuned.network, tuned.data) == (config.network, config.data)


def test_the_bundled_model_is_known_by_its_name() -> None:
    tuned = config_to_tune("photo")
    assert tuned.train.init == "photo"
    model = starting_model(tuned, threads=1)
    stored = read_checkpoint(choose_model("photo").path)["model"]
    assert state(model) == timeless({name: values.astype(np.float32) for name, values in stored.items()})


def test_weights_without_a_network_need_a_configuration(leaves: Path, tmp_path: Path) -> None:
    path, config = tmp_path / "bare.pth", small_config(leaves)
    write_checkpoint(path, Model.from_config(config, threads=1).network.state_dict())
    error = told(CheckpointError, lambda: config_to_tune(str(path)))
    assert error.hint
    assert "--config" in error.hint
    assert starting_model(replace(config, train=replace(config.train, init=str(path)))).facts == {}


# Shots


@pytest.mark.parametrize("kind", ["bursts", "single"])
def test_a_training_on_shots_denoises_and_goes_on_to_the_same_bytes(kind: str, tmp_path: Path) -> None:
    write_bursts(tmp_path / "a", scenes=4, shots=2)
    source = tmp_path / "a"
    if kind == "single":
        source = write_burst(tmp_path / "b", [noisy(scene(40, 48, seed=i), 25, seed=i) for i in range(6)])
    config = small_config(source, optimizer="Adam", lr=0.01, average=0.9)
    config = replace(config, data=replace(config.data, kind=kind, size=16, recrop=True, augment=True))
    run, whole = new_run(tmp_path / "run"), new_run(tmp_path / "whole")
    list(train(config, whole))
    stopped_after(6, config, run)
    list(train(load_config(str(run.config)), run, resume=True, threads=2))
    assert left_by(run) == left_by(whole)


def learned(config: Config, folder: Path) -> Finished:
    *_, last = train(config, new_run(folder))
    assert isinstance(last, Finished)
    return last


def test_a_network_learns_to_denoise_from_single_noisy_pictures(tmp_path: Path) -> None:
    source = write_burst(tmp_path / "a", [noisy(scene(64, 64, seed=i), 40, seed=i) for i in range(6)])
    layers = [{"type": "Conv2d", "in_channels": 3, "out_channels": 3, "kernel_size": 5, "padding": 2}]
    config = small_config(source, layers=layers, optimizer="Adam", lr=0.01, size=16, pairs=210, augment=True)
    config = replace(config, data=replace(config.data, kind="single", recrop=True))
    run = learned(config, tmp_path / "run")
    model = Model.from_checkpoint(run.checkpoint, threads=1)
    clean = scene(64, 64, seed=20)
    shot = noisy(clean, 40, seed=20).astype(np.float32) / 255
    errors = [float(np.square(view - clean).mean()) for view in (shot, denoised(model, shot))]
    assert errors[1] < 0.5 * errors[0]


def denoised(model: Model, picture: Array) -> Array:
    return np.moveaxis(model.predict(np.moveaxis(picture, -1, 0)[None])[0], 0, -1)


# Neighbor2Neighbor's loss


def batch(config: Config) -> tuple[Array, Array]:
    pictures = [in_memory([colour(20, 20, seed)], []) for seed in range(3)]
    return SinglePairs(pictures, 6, 8, 3, seed=1).batch(range(6))


def single_config(leaves: Path, **keys: Any) -> Config:
    config = small_config(leaves, lr=0.1, **keys)
    return replace(config, data=replace(config.data, kind="single", source=str(leaves)))


@pytest.mark.torch
def test_a_step_is_that_of_the_paper(leaves: Path, torch: Any) -> None:
    """Against PyTorch: |f(g1) - g2|^2 + |f(g1) - g2 - (g1(f(y)) - g2(f(y)))|^2, f(y) without a gradient."""
    model = starting_model(single_config(leaves), threads=1)
    assert isinstance(model, SingleImageModel)
    x, target = batch(model.config)
    before = model.network.state_dict()
    twin = torch.nn.Sequential(
        torch.nn.Conv2d(3, 12, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.Upsample(scale_factor=2),
        torch.nn.Conv2d(12, 3, 3, padding=1),
        torch.nn.Sigmoid(),
    )
    twin.load_state_dict({name: torch.from_numpy(values) for name, values in before.items()})
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    g1, g2 = (torch.from_numpy(part) for part in neighbours(x, drawn_in(target)))
    with torch.no_grad():
        y1, y2 = (torch.from_numpy(part) for part in neighbours(twin(torch.from_numpy(x)).numpy(), drawn_in(target)))
    output = twin(g1)
    loss = ((output - g2) ** 2).mean() + ((output - g2 - (y1 - y2)) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    assert model.step(x, target) == pytest.approx(loss.item(), rel=1e-5)
    for name, values in model.network.state_dict().items():
        np.testing.assert_allclose(values, twin.state_dict()[name].numpy(), rtol=1e-4, atol=1e-6)


def test_single_pictures_have_a_loss_of_their_own(leaves: Path) -> None:
    with pytest.raises(ConfigError, match="single noisy pictures have a loss of their own"):
        Config.from_tables(single_config(leaves).tables(), "x").override("train.loss", "L1", "--set train.loss=L1")
