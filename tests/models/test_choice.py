"""Bundled model, and choice of the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from n2n_cli.data.dead_leaves import dead_leaves
from n2n_cli.denoising.picture import denoise, denoise_picture
from n2n_cli.errors import CheckpointError
from n2n_cli.evaluation.metrics import psnr
from n2n_cli.images import Picture
from n2n_cli.models.choice import DEFAULT, bundled_models, choose_model
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array

PHOTO = bundled_models()[DEFAULT]


@pytest.fixture(scope="module")
def photo() -> Model:
    return Model.from_checkpoint(PHOTO, threads=1)


@pytest.mark.parametrize(("name", "noise"), [("photo", "mix: 12 camera:"), ("white", "grain:0-50,0-1")])
def test_bundled_models_are_small_and_state_their_training_noise(name: str, noise: str) -> None:
    path = bundled_models()[name]
    assert path.stat().st_size < 4_000_000
    assert Model.from_checkpoint(path, threads=1).config.data.noise.startswith(noise)
    assert (path.parent / "MODEL_CARD.md").is_file()


@pytest.mark.parametrize(("sigma_255", "gain"), [(10, 2), (25, 5), (50, 7)])
def test_white_removes_noise_of_unknown_strength(sigma_255: int, gain: float) -> None:
    white = Model.from_checkpoint(bundled_models()["white"], threads=1)
    clean = np.moveaxis(dead_leaves(1, 128, seed=5, threads=1)[0] / np.float32(255), -1, 0)
    noise = np.random.default_rng(0).normal(0, sigma_255 / 255, clean.shape).astype(np.float32)
    denoised = denoise(white, clean + noise)
    assert psnr(denoised, clean) > psnr(clean + noise, clean) + gain


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("channels", [1, 3])
def test_bundled_model_keeps_constant_pictures(photo: Model, level: int, channels: int) -> None:
    picture = Picture(np.full((80, 90, channels), level, np.uint8))
    change: Array = np.abs(denoise_picture(photo, picture).pixels.astype(int) - level)
    assert change[24:-24, 24:-24].max() <= 1
    assert change.max() <= 8  # at the edges, where layers read zero padding
    assert change.mean() < 0.5


def test_model_by_name_file_newest_run_or_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert choose_model("photo").path == PHOTO
    assert choose_model("other.pth").path == Path("other.pth")
    assert choose_model(None).path == PHOTO
    assert choose_model(None).note == ""
    run = Path("runs/mine")
    run.mkdir(parents=True)
    (run / "last.pth").touch()
    assert choose_model(None).path == run / "last.pth"
    Path("photo").touch()
    assert choose_model("photo").path == Path("photo"), "a file of the name is meant first"


def test_missing_bundled_model_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("n2n_cli.models.choice.FOLDER", tmp_path)
    with pytest.raises(CheckpointError, match="there is no model"):
        choose_model(None)
