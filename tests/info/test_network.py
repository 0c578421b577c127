"""Facts about networks, compared with values computed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.checkpoints.file import write_checkpoint
from n2n_cli.config import Config, load_config
from n2n_cli.errors import CheckpointError, ConfigError
from n2n_cli.info.network import (
    Layer,
    describe_network,
    describe_source,
    is_checkpoint,
    receptive_field,
)
from n2n_cli.models.model import Model
from n2n_cli.nn import Conv2d, NearestUpsampling, ReLU, Sequential
from n2n_cli.nn.functional import Pair
from tests.nn.unet import UNET

LAYERS: list[dict[str, Any]] = [
    {"type": "Conv2d", "in_channels": 3, "out_channels": 5, "kernel_size": [3, 1], "stride": 2, "padding": [1, 0]},
    {"type": "ReLU"},
    {"type": "NearestUpsampling"},
    {"type": "Conv2d", "in_channels": 5, "out_channels": 3, "kernel_size": 1, "bias": False},
]


def small_config() -> Config:
    return Config.from_tables({"network": {"channels": 3, "layers": LAYERS}, "data": {"size": 8}}, "test")


# Networks


def test_network_is_described_layer_by_layer() -> None:
    config = small_config()
    network = describe_network(config.network.build(), config, "here")
    assert network.layers == (
        Layer("0", "Conv2d(3, 5, kernel_size=(3, 1), stride=(2, 2), padding=(1, 0))", (5, 4, 4), 50, 3 * 15 / 4),
        Layer("1", "ReLU()", (5, 4, 4), 0, 0),
        Layer("2", "NearestUpsampling(scale_factor=(2, 2))", (5, 8, 8), 0, 0),
        Layer("3", "Conv2d(5, 3, kernel_size=(1, 1), stride=(1, 1), bias=False)", (3, 8, 8), 15, 15),
    )
    assert (network.source, network.picture) == ("here", (3, 8, 8))
    assert (network.parameters, network.macs_per_pixel) == (65, 26.25)
    assert (network.receptive_field, network.period) == ((3, 1), (2, 2))
    assert (network.pictures, network.noise) == ("dead-leaves", "gaussian:25")
    assert (network.epochs, network.seed) == (10, 0)
    assert (network.epoch, network.validation_psnr, network.noisy_validation_psnr) == (None, None, None)


def test_training_data_is_that_of_the_configuration(tmp_path: Path) -> None:
    config = small_config().override("data.noise", "pixelate:4", "").override("train.seed", 7, "")
    config = config.override("train.epochs", 3, "").override("data.source", "photos", "")
    network = describe_network(config.network.build(), config, "here")
    assert (network.pictures, network.noise, network.epochs, network.seed) == ("photos", "pixelate:4", 3, 7)
    (tmp_path / "train_data.pkl").touch()
    for source in ("a.pkl", str(tmp_path)):
        config = config.override("data.source", source, "")
        assert describe_network(config.network.build(), config, "here").noise == "the pairs' own"


def test_founding_network_has_known_size_and_cost() -> None:
    network = describe_source("ee559")
    assert network.parameters == 71_475
    assert network.macs_per_pixel * 32 * 32 == 24_219_648
    assert network.period == (4, 4)


@pytest.mark.parametrize(
    ("layers", "size"),
    [
        ([ReLU()], (1, 1)),
        ([Conv2d(1, 1, (3, 5), padding=(1, 2))], (3, 5)),
        ([Conv2d(1, 1, 3, padding=2, dilation=2)], (5, 5)),
        ([Conv2d(1, 1, 3, padding=1), Conv2d(1, 1, (3, 1), padding=(1, 0))], (5, 3)),
        ([NearestUpsampling((1, 2)), Conv2d(1, 1, (3, 2), (1, 2), (1, 0))], (3, 1)),
        ([Conv2d(1, 1, 2, 2), NearestUpsampling(2), Conv2d(1, 1, 3, 1, 1)], (4, 4)),
        # Of two upsampled pixels, the second also depends on the next one.
        ([Conv2d(1, 1, 2, 2), NearestUpsampling(2), Conv2d(1, 1, 2)], (4, 4)),
    ],
)  # fmt: skip
def test_receptive_field_is_computed(layers: list[Any], size: Pair) -> None:
    network = Sequential(*layers)
    assert (receptive_field(network, 0), receptive_field(network, 1)) == size


def test_receptive_field_is_the_extent_of_the_gradient(rng: np.random.Generator) -> None:
    network = load_config("ee559").network.build(rng=rng)
    for _, parameter in network.named_parameters():
        parameter.data[...] = np.abs(parameter.data)  # no path is blocked by a ReLU or cancels another
    sizes = []
    for i in range(24, 28):
        y = Sequential(*list(network)[:-1])
        grad = np.zeros_like(y(np.ones((1, 3, 48, 48), np.float32)))
        grad[0, 0, i, 24] = 1
        rows = np.flatnonzero(y.backward(grad).any(axis=(0, 1, 3)))
        sizes.append(rows[-1] - rows[0] + 1)
    assert max(sizes) == receptive_field(network, 0)


# Sources


def test_checkpoint_states_epoch_and_scores(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    Model.from_config(small_config()).save(path, epoch=4, psnr=21.5, noisy_psnr=20.0)
    network = describe_source(str(path))
    assert (network.source, network.epoch, network.validation_psnr) == (str(path), 4, 21.5)
    assert network.noisy_validation_psnr == 20
    assert network.layers == describe_network(small_config().network.build(), small_config(), "").layers


def test_invalid_facts_are_omitted(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    Model.from_config(small_config()).save(path, epoch="four", psnr=[1], noisy_psnr="x")
    network = describe_source(str(path))
    assert (network.epoch, network.validation_psnr, network.noisy_validation_psnr) == (None, None, None)


def test_weights_alone_need_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    write_checkpoint(path, Model.from_config(small_config()).network.state_dict())
    with pytest.raises(CheckpointError, match="holds weights but not the network"):
        describe_source(str(path))
    assert describe_source(str(path), small_config()).parameters == 65
    with pytest.raises(CheckpointError, match="do not fit the network"):
        describe_source(str(path), load_config("ee559"))


def test_checkpoints_are_recognised_by_content_or_suffix(tmp_path: Path) -> None:
    checkpoint, text = tmp_path / "weights", tmp_path / "config"
    Model.from_config(small_config()).save(tmp_path / "a.pth")
    checkpoint.write_bytes((tmp_path / "a.pth").read_bytes())
    text.write_text(small_config().to_toml())
    assert is_checkpoint(str(checkpoint))
    assert is_checkpoint("missing.pth")
    assert is_checkpoint("missing.pt")
    assert not any(is_checkpoint(str(path)) for path in (text, tmp_path, "default", "missing.toml"))
    assert describe_source(str(text)).layers == describe_source(str(checkpoint)).layers
    with pytest.raises(CheckpointError, match="no checkpoint"):
        describe_source("missing.pth")
    with pytest.raises(ConfigError, match="no configuration `missing`"):
        describe_source("missing")


def test_layers_of_containers_are_listed_and_counted() -> None:
    config = Config.from_tables({"network": {"channels": 3, "layers": UNET}, "data": {"size": 16}}, "test")
    network = config.network.build()
    described = describe_network(network, config, "")
    assert described.parameters == sum(parameter.size for parameter, _ in network.param())
    rows = {layer.name: layer for layer in described.layers}
    assert list(rows)[3:8] == ["3", "3.0", "3.1", "3.2", "3.3"]
    assert (rows["3"].module, rows["3"].output, rows["3"].parameters) == ("SkipConcat", (12, 8, 8), 0)
    assert (rows["3.1"].output, rows["3.1"].macs_per_pixel) == ((7, 4, 4), 6 * 7 * 9 / 16)
    assert rows["3.3.3"].macs_per_pixel == 8 * 5 * 4 / 64  # transposed convolution: per input pixel
    assert described.macs_per_pixel == sum(layer.macs_per_pixel for layer in described.layers)
