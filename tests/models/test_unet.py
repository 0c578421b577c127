"""A U-Net with configurations, checkpoints, tiles and threads."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from n2n_cli import Model, engine
from n2n_cli.config import Config
from n2n_cli.engine.tiling import apply
from n2n_cli.errors import ConfigError
from n2n_cli.nn.functional import Pair
from n2n_cli.nn.spec import MAX_NESTED
from tests.nn.cases import pairs, some_examples
from tests.nn.unet import PERIOD, TOML, UNET, unet

TABLES: dict[str, Any] = {
    "network": {"channels": 3, "layers": UNET},
    "data": {"size": 16, "pairs": 8, "validation_pairs": 2},
    "train": {"epochs": 1, "batch_size": 4},
}


def test_configuration_from_tables_equals_that_from_toml() -> None:
    config = Config.from_tables(TABLES, "test")
    tables = config.tables()
    assert tables["network"]["layers"] == UNET
    assert Config.from_tables(tables, "again") == config
    assert Config.from_tables(tomllib.loads(config.to_toml()), "file") == config
    assert tomllib.loads(TOML)["layers"] == UNET


def test_checkpoint_round_trip(tmp_path: Path, rng: np.random.Generator) -> None:
    model = Model.from_config(Config.from_tables(TABLES, "test"), threads=1)
    path = tmp_path / "unet.pth"
    model.save(path)
    again = Model.from_checkpoint(path, threads=1)
    assert repr(again.network) == repr(model.network)
    x = rng.uniform(size=(1, 3, 17, 9)).astype(np.float32)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


@pytest.mark.torch
def test_checkpoint_is_a_torch_state_dict(torch: Any, tmp_path: Path) -> None:
    model = Model.from_config(Config.from_tables(TABLES, "test"), threads=1)
    model.save(tmp_path / "unet.pth")
    state = torch.load(tmp_path / "unet.pth", weights_only=True)["model"]
    for name, values in model.network.state_dict().items():
        np.testing.assert_array_equal(state.pop(name).numpy(), values)
    assert not state


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [{"type": "SkipConcat", "layers": [{"type": "ReLU"}, {"type": "Sigmoyd"}]}],
            "`network.layers[0].layers[1].type`: there is no layer of type 'Sigmoyd'",
        ),
        (
            [{"type": "ReLU"}, {"type": "Residual", "layers": [{"type": "MaxPool2d", "kernel_size": 2}]}],
            "`network.layers` do not fit together: layer 1: Residual got an input of shape",
        ),
    ],
)
def test_error_names_the_place_of_a_nested_layer(layers: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_tables(TABLES | {"network": {"layers": layers}}, "my.toml")
    assert caught.value.message.startswith(f"`my.toml`: {message}")


def test_maximum_nesting_round_trips_through_a_checkpoint(tmp_path: Path) -> None:
    spec: dict[str, Any] = {"type": "Conv2d", "in_channels": 3, "out_channels": 3, "kernel_size": 1}
    for _ in range(MAX_NESTED):
        spec = {"type": "Residual", "layers": [spec]}
    config = Config.from_tables(TABLES | {"network": {"layers": [spec]}}, "test")
    assert Config.from_tables(tomllib.loads(config.to_toml()), "file") == config
    model = Model.from_config(config, threads=2)
    model.save(tmp_path / "deep.pth")
    again = Model.from_checkpoint(tmp_path / "deep.pth", threads=2)
    x = np.ones((1, 3, 5, 4), np.float32)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


@some_examples
@given(pairs(1, 3 * PERIOD), st.integers(1, 2 * PERIOD), st.integers(1, 2))
def test_tiles_are_seamless_for_pictures_of_any_size(size: Pair, tile: int, threads: int) -> None:
    network = unet(np.random.default_rng(4)).eval()
    x = np.random.default_rng(0).uniform(size=(1, 3, *size))
    whole = apply(engine.compile(network), x, tile=10**6)
    assert whole.shape == x.shape
    np.testing.assert_allclose(apply(engine.compile(network, threads=threads), x, tile=tile), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-12)])
def test_tiles_are_seamless_far_from_the_border(dtype: DTypeLike, tolerance: float, rng: np.random.Generator) -> None:
    network, x = unet(rng, dtype).eval(), rng.uniform(size=(1, 3, 137, 131)).astype(dtype)
    whole, tiled = apply(engine.compile(network), x, tile=10**6), apply(engine.compile(network), x, tile=24)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=tolerance)


def test_u_net_learns(rng: np.random.Generator) -> None:
    clean = np.broadcast_to(rng.uniform(0.2, 0.8, size=(16, 3, 1, 1)), (16, 3, 16, 16))
    noisy, other = (clean + rng.normal(scale=0.1, size=(2, *clean.shape))).astype(np.float32)
    model = Model.from_config(Config.from_tables(TABLES, "test"), threads=2)
    before = float(np.square(model.predict(noisy) - clean).mean())
    model.train(noisy, other, num_epochs=120, batch_size=8, rng=rng)
    after = float(np.square(model.predict(noisy) - clean).mean())
    assert after < before / 2
