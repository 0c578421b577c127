"""The model that learns from many single noisy pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.config import Config
from n2n_cli.data.neighbour_sampling import neighbours
from n2n_cli.data.single_pairs import SinglePairs, drawn_in
from n2n_cli.errors import ConfigError
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.single_image.many_pictures import SingleImageModel
from n2n_cli.training.initial_model import starting_model
from n2n_cli.training.loop import train
from n2n_cli.training.records import Finished
from tests.pictures import colour
from tests.shots import in_memory, noisy, scene, write_burst
from tests.trainings import new_run, small_config, write_leaves


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_leaves(tmp_path_factory.mktemp("leaves"))


def learned(config: Config, folder: Path) -> Finished:
    *_, last = train(config, new_run(folder))
    assert isinstance(last, Finished)
    return last


def test_network_learns_to_denoise_from_single_noisy_pictures(tmp_path: Path) -> None:
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


def batch(config: Config) -> tuple[Array, Array]:
    pictures = [in_memory([colour(20, 20, seed)], []) for seed in range(3)]
    return SinglePairs(pictures, 6, 8, 3, seed=1).batch(range(6))


def single_config(leaves: Path, **keys: Any) -> Config:
    config = small_config(leaves, lr=0.1, **keys)
    return replace(config, data=replace(config.data, kind="single", source=str(leaves)))


@pytest.mark.torch
def test_step_equals_that_of_the_paper_in_pytorch(leaves: Path, torch: Any) -> None:
    """Compare a step with the paper's loss in PyTorch.

    The loss is |f(g1) - g2|^2 + |f(g1) - g2 - (g1(f(y)) - g2(f(y)))|^2, with f(y) constant.
    """
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


def test_other_losses_are_refused_for_single_pictures(leaves: Path) -> None:
    with pytest.raises(ConfigError, match="training on single noisy pictures has its own loss"):
        Config.from_tables(single_config(leaves).tables(), "x").override("train.loss", "L1", "--set train.loss=L1")
