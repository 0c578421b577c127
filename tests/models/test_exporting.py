"""Export of checkpoints without the state that only training needs."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.checkpoints.file import read_checkpoint, write_checkpoint
from n2n_cli.config import load_config
from n2n_cli.errors import CheckpointError
from n2n_cli.models.exporting import MODEL_CARD, export, export_onnx
from n2n_cli.models.model import Model
from n2n_cli.training.initial_model import config_to_tune
from tests.cli import failure, n2n, photo


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    config = load_config("ee559").override("train.optimizer", "Adam", "test").override("train.lr", 0.01, "test")
    model = Model.from_config(config, threads=1)
    model.save(tmp_path / "last.pth", epoch=3, psnr=25.5, noisy_psnr=20.5, progress={"step": 4})
    return tmp_path / "last.pth"


def test_weights_configuration_and_scores_are_exported(checkpoint: Path, tmp_path: Path) -> None:
    export(checkpoint, tmp_path / "out.pth")
    before, after = read_checkpoint(checkpoint), read_checkpoint(tmp_path / "out.pth")
    assert set(after) == {"model", "epoch", "psnr", "noisy_psnr", "config"}
    assert all(np.array_equal(before["model"][name], values) for name, values in after["model"].items())
    assert after["config"] == before["config"]
    assert (tmp_path / "out.pth").stat().st_size < checkpoint.stat().st_size / 2.5


@pytest.fixture
def trained_by_alice(tmp_path: Path) -> Path:
    paths = {
        "data.source": "/home/alice/first/",
        "data.second": "../alice/second",
        "train.init": "C:\\alice\\best.pth",
    }
    keys = {"data.kind": "pairs", **paths}
    config = load_config("ee559").override_all((name, value, "test") for name, value in keys.items())
    Model.from_config(config, threads=1).save(tmp_path / "run.pth")
    assert b"alice" in (tmp_path / "run.pth").read_bytes()
    return tmp_path / "run.pth"


@pytest.mark.parametrize("half", [False, True])
def test_paths_of_the_training_are_exported_as_names(half: bool, trained_by_alice: Path, tmp_path: Path) -> None:
    export(trained_by_alice, tmp_path / "out.pth", half=half)
    tables = read_checkpoint(tmp_path / "out.pth")["config"]
    assert [tables["data"][key] for key in ("source", "second")] == ["first", "second"]
    assert tables["train"]["init"] == "best.pth"
    assert b"alice" not in (tmp_path / "out.pth").read_bytes()
    assert n2n("info", tmp_path / "out.pth").code == 0
    assert config_to_tune(str(tmp_path / "out.pth")).data.source == "first"


@pytest.mark.onnx
@pytest.mark.usefixtures("onnxruntime")
def test_onnx_file_has_no_paths_of_the_training(trained_by_alice: Path, tmp_path: Path) -> None:
    export_onnx(trained_by_alice, tmp_path / "out.onnx")
    assert b"best.pth" in (tmp_path / "out.onnx").read_bytes()
    assert b"alice" not in (tmp_path / "out.onnx").read_bytes()


@pytest.mark.parametrize("source", [".", "/", "/pictures/dead-leaves"])
def test_exported_name_of_a_folder_is_a_path_again(source: str, tmp_path: Path) -> None:
    """A folder with the name of the built-in pictures does not become them."""
    values = {"data.kind": "bursts", "data.source": source}
    config = load_config("ee559").override_all((name, value, "test") for name, value in values.items())
    Model.from_config(config, threads=1).save(tmp_path / "run.pth")
    export(tmp_path / "run.pth", tmp_path / "out.pth")
    exported = Model.from_checkpoint(tmp_path / "out.pth", threads=1).config.data
    assert (exported.kind, exported.source) == ("bursts", "./dead-leaves" if "dead" in source else ".")


def test_half_precision_gives_nearly_the_same_output(
    checkpoint: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    export(checkpoint, tmp_path / "out.pth", half=True)
    assert {values.dtype for values in read_checkpoint(tmp_path / "out.pth")["model"].values()} == {np.dtype("f2")}
    x = rng.random((1, 3, 16, 16), dtype=np.float32)
    whole, half = (Model.from_checkpoint(path, threads=1).predict(x) for path in (checkpoint, tmp_path / "out.pth"))
    assert half.dtype == np.float32
    assert 0 < np.abs(whole - half).max() < 1e-3


def test_weight_too_large_for_half_precision_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    tree = read_checkpoint(checkpoint)
    tree["model"]["2.weight"][0, 0, 0, 0] = 70_000
    write_checkpoint(checkpoint, tree)
    export(checkpoint, tmp_path / "whole.pth")
    with pytest.raises(CheckpointError, match=r"weights in `2.weight` that are too large for float16") as caught:
        export(checkpoint, tmp_path / "half.pth", half=True)
    assert caught.value.hint == "leave out `--half`"
    assert not (tmp_path / "half.pth").exists()


def test_weights_that_do_not_fit_their_configuration_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    tree = read_checkpoint(checkpoint)
    del tree["model"]["0.weight"]
    write_checkpoint(checkpoint, tree)
    with pytest.raises(CheckpointError, match=r"last.pth`: the weights do not fit .* `0.weight` is missing") as caught:
        export(checkpoint, tmp_path / "out.pth")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("it is damaged")
    assert not (tmp_path / "out.pth").exists()


def scaled(source: Path, target: Path, factor: float) -> Path:
    """Write a checkpoint with the weights of another, times a factor."""
    tree = read_checkpoint(source)
    tree["model"] = {name: values * np.float32(factor) for name, values in tree["model"].items()}
    write_checkpoint(target, tree)
    return target


def test_average_of_checkpoints_has_no_scores(checkpoint: Path, tmp_path: Path) -> None:
    others = [scaled(checkpoint, tmp_path / f"{factor}.pth", factor) for factor in (0, 5)]
    export(checkpoint, tmp_path / "out.pth", average=others)
    before, after = read_checkpoint(checkpoint), read_checkpoint(tmp_path / "out.pth")
    assert set(after) == {"model", "config"}
    assert after["config"] == before["config"]
    for name, values in before["model"].items():
        np.testing.assert_allclose(after["model"][name], 2 * values, rtol=1e-6)
    answer = n2n("export", "--half", "--average", others[0], checkpoint, tmp_path / "half.pth")
    assert answer.code == 0
    for name, values in read_checkpoint(tmp_path / "half.pth")["model"].items():
        np.testing.assert_allclose(values, before["model"][name] / 2, rtol=2e-3, atol=1e-6)


def test_average_too_large_for_half_precision_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    large = scaled(checkpoint, tmp_path / "large.pth", 1e7)
    with pytest.raises(CheckpointError, match=r"^the mean has weights in `0.weight` that are too large"):
        export(checkpoint, tmp_path / "out.pth", average=[large], half=True)


def test_average_of_networks_with_other_activations_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    layers = [
        {"type": "LeakyReLU"} if layer["type"] == "ReLU" else layer for layer in load_config("ee559").network.layers
    ]
    config = load_config("ee559")
    config = replace(config, network=replace(config.network, layers=tuple(layers)))
    Model.from_config(config, threads=1).save(tmp_path / "leaky.pth")
    with pytest.raises(CheckpointError, match=r"leaky.pth`: it holds another network$") as caught:
        export(checkpoint, tmp_path / "out.pth", average=[tmp_path / "leaky.pth"])
    assert caught.value.hint == "average checkpoints of the same network; `n2n info FILE` shows a network"
    state_dict = read_checkpoint(tmp_path / "leaky.pth")["model"]  # does not name its activations
    write_checkpoint(tmp_path / "leaky.pth", state_dict)
    export(checkpoint, tmp_path / "out.pth", average=[tmp_path / "leaky.pth"])


def test_average_of_different_networks_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    answer = n2n("export", checkpoint, tmp_path / "out.pth", "--average", "photo")
    assert answer.code == 1
    assert re.match(r"error: `.*photo\.pth`: it holds another network\n", answer.err)
    assert "hint: average checkpoints of the same network" in answer.err
    for no_state_dict in (3.5, None):
        write_checkpoint(tmp_path / "odd.pth", no_state_dict)
        with pytest.raises(CheckpointError, match=r"odd.pth` holds no state dict"):
            export(checkpoint, tmp_path / "out.pth", average=[tmp_path / "odd.pth"])
    assert not (tmp_path / "out.pth").exists()


def test_export_and_models_commands_print_sizes(checkpoint: Path, tmp_path: Path) -> None:
    answer = n2n("export", "--half", checkpoint, tmp_path / "out.pth")
    size = (tmp_path / "out.pth").stat().st_size
    assert answer == (0, f"{tmp_path / 'out.pth'}: {size:,} bytes\n", "")
    assert n2n("export", tmp_path / "missing.pth", tmp_path / "out.pth").code == 1
    assert n2n("export", "--average", "photo", "photo", tmp_path / "photo.pth").code == 0
    photo_line, white_line = n2n("models").out.splitlines()
    assert photo_line.startswith("photo\tmix: 12 camera:")
    assert white_line.startswith("white\tgrain:0-50,0-1\t1,803,756 parameters\t3.6 MB\t")
    assert '"model": "photo"' in n2n("models", "--json").out


def test_bundled_model_by_name_in_info_and_eval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "photos" / "0.png", (32, 32, 3))
    assert "178x178 pixels" in n2n("info", "photo").out
    assert n2n("eval", "photo", "--data", "photos", "--noise", "gaussian:25").code == 0


def facts_of(onnxruntime: Any, path: Path) -> dict[str, str]:
    """Metadata of an ONNX file."""
    running = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    facts: dict[str, str] = running.get_modelmeta().custom_metadata_map
    return facts


@pytest.mark.onnx
def test_onnx_file_has_metadata(checkpoint: Path, tmp_path: Path, onnxruntime: Any) -> None:
    write_checkpoint(checkpoint, {**read_checkpoint(checkpoint), "license": "CC-BY-4.0"})
    export_onnx(checkpoint, tmp_path / "out.onnx")
    facts = facts_of(onnxruntime, tmp_path / "out.onnx")
    assert {name: facts.pop(name) for name in ("source", "channels", "value_range", "psnr", "license")} == {
        "source": "last.pth",
        "channels": "3",
        "value_range": "0 to 1",
        "psnr": "25.5",
        "license": "CC-BY-4.0",
    }
    assert (
        tomllib.loads(facts.pop("config"))
        == load_config("ee559").override_all([("train.optimizer", "Adam", ""), ("train.lr", 0.01, "")]).tables()
    )
    assert set(facts) == {"n2n_version", "epoch", "noisy_psnr"}


@pytest.mark.onnx
def test_onnx_file_of_the_bundled_model_has_its_card(tmp_path: Path, onnxruntime: Any) -> None:
    assert n2n("export", "--onnx", "--half", "photo", tmp_path / "half.onnx").code == 0
    facts = facts_of(onnxruntime, tmp_path / "half.onnx")
    assert facts["source"] == "photo"
    assert facts["model_card"] == MODEL_CARD.read_text(encoding="utf-8")
    assert (tmp_path / "half.onnx").stat().st_size < 3_700_000


@pytest.mark.onnx
def test_name_that_is_no_unicode_is_escaped(checkpoint: Path, tmp_path: Path, onnxruntime: Any) -> None:
    checkpoint = checkpoint.rename(tmp_path / "a\udcff.pth")
    export_onnx(checkpoint, tmp_path / "out.onnx")
    assert facts_of(onnxruntime, tmp_path / "out.onnx")["source"] == "a\\udcff.pth"


@pytest.mark.onnx
def test_average_as_onnx_equals_the_average_checkpoint(
    checkpoint: Path, tmp_path: Path, rng: np.random.Generator, onnxruntime: Any
) -> None:
    other = scaled(checkpoint, tmp_path / "other.pth", 3)
    export_onnx(checkpoint, tmp_path / "out.onnx", average=[other])
    export(checkpoint, tmp_path / "out.pth", average=[other])
    x = rng.random((1, 3, 9, 14), dtype=np.float32)
    running = onnxruntime.InferenceSession(str(tmp_path / "out.onnx"), providers=["CPUExecutionProvider"])
    (y,) = running.run(None, {"noisy": x})
    np.testing.assert_allclose(y, Model.from_checkpoint(tmp_path / "out.pth", threads=1).predict(x), rtol=0, atol=1e-5)
    facts = running.get_modelmeta().custom_metadata_map
    assert facts["source"] == "last.pth, other.pth"
    assert "psnr" not in facts


@pytest.mark.onnx
def test_transform_of_measured_values_is_stored_and_noted(checkpoint: Path, tmp_path: Path, onnxruntime: Any) -> None:
    tree = read_checkpoint(checkpoint)
    tree["config"]["data"]["values"] = "linear:91.0~185.0"
    write_checkpoint(checkpoint, tree)
    answer = n2n("export", "--onnx", checkpoint, tmp_path / "out.onnx")
    assert answer.code == 0
    assert len(answer.err.splitlines()) == 1
    assert "takes measured values after the transform linear:91.0~185.0: see docs/DEPLOY.md" in answer.err
    facts = facts_of(onnxruntime, tmp_path / "out.onnx")
    assert facts["values"] == "linear:91.0~185.0"
    transform = json.loads(facts["transform"])
    assert {name: transform[name] for name in ("kind", "low", "high", "start", "span")} == {
        "kind": "linear",
        "low": 91.0,
        "high": 185.0,
        "start": 0.0,
        "span": 1.0,
    }


@pytest.mark.onnx
def test_newest_checkpoint_is_exported_by_default(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, onnxruntime: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = n2n("export", "--onnx", "model.onnx")
    assert answer.err == "model: the bundled model photo; `n2n models` lists it\n"
    Path("runs", "a").mkdir(parents=True)
    checkpoint.rename(Path("runs", "a", "last.pth"))
    answer = n2n("export", "model.onnx", "--onnx")
    size = Path("model.onnx").stat().st_size
    assert answer == (0, f"model.onnx: {size:,} bytes\n", "model: runs/a/last.pth\n")


def test_suffix_must_fit_the_format(checkpoint: Path, tmp_path: Path) -> None:
    kept = checkpoint.read_bytes()
    hint = "`--onnx` writes `model.onnx`, and without it `model.pth` is written"
    out = tmp_path / "out.pth"
    assert failure("export", "--onnx", "photo", out) == (2, f"`{out}` does not end in .onnx", hint)
    out = tmp_path / "out.onnx"
    assert failure("export", "photo", out) == (2, f"`{out}` ends in .onnx", hint)
    for words in ((), (checkpoint,), ("--onnx", checkpoint)):
        code, message, hint = failure("export", *words)
        assert (code, message) == (2, "missing argument OUT: the file to write")
        assert hint == "for example `n2n export photo denoiser.pth`"
    assert [path.name for path in tmp_path.iterdir()] == ["last.pth"]
    assert checkpoint.read_bytes() == kept
