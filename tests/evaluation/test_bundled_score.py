"""Scores of the bundled models on held-out pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.data.pairs import ArrayPairs, Dataset
from n2n_cli.evaluation import bundled_score as module
from n2n_cli.evaluation.bundled_score import BundledScore, bundled_score
from n2n_cli.models.choice import bundled_models
from n2n_cli.models.model import Model
from n2n_cli.nn import MSE, SGD, Conv2d, Sequential
from n2n_cli.training.loop import train
from n2n_cli.training.records import Finished
from n2n_cli.values.transform import parse_values
from tests.trainings import new_run, small_config, write_leaves


def data(channels: int = 3, size: int = 16, values: str | None = None) -> Dataset:
    rng = np.random.default_rng(0)
    clean = np.full((6, channels, size, size), 128, np.uint8)
    noisy = np.clip(clean + rng.normal(0, 20, clean.shape), 0, 255).astype(np.uint8)
    pairs = ArrayPairs(noisy, clean)
    return Dataset(pairs, pairs, (), None if values is None else parse_values(values))


def unused() -> Model:
    raise AssertionError("the trained network is not needed")


@pytest.mark.parametrize("channels", [1, 3])
def test_few_pictures_are_all_denoised(channels: int) -> None:
    score = bundled_score(data(channels), 25.0, unused, threads=1, between=lambda: None)
    assert isinstance(score, BundledScore)
    assert (score.own_psnr, score.pictures) == (25.0, 6)
    assert score.psnr > 28  # the noisy images have 22 dB


def test_the_best_model_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    both = bundled_score(data(), 25.0, unused, threads=1, between=lambda: None)
    assert isinstance(both, BundledScore)
    for name, path in bundled_models().items():
        monkeypatch.setattr(module, "bundled_models", lambda name=name, path=path: {name: path})
        alone = bundled_score(data(), 25.0, unused, threads=1, between=lambda: None)
        assert isinstance(alone, BundledScore)
        assert alone.psnr == both.psnr if name == both.name else alone.psnr <= both.psnr


def test_of_many_pictures_both_models_denoise_the_same_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_PIXELS", 3 * 16 * 16)
    identity = Sequential(Conv2d(3, 3, 1))
    identity.load_state_dict({"0.weight": np.eye(3, dtype=np.float32)[:, :, None, None], "0.bias": np.zeros(3, "f4")})
    own = Model(identity, SGD(identity.param()), MSE(), threads=1)
    own.predictor = own.predictor.of(identity, 3, threads=1)
    score = bundled_score(data(), 99.0, lambda: own, threads=1, between=lambda: None)
    assert isinstance(score, BundledScore)
    assert score.pictures == 3
    assert score.own_psnr == pytest.approx(22.1, abs=0.3)


@pytest.mark.parametrize(
    ("channels", "values", "reason"),
    [
        (4, None, "the held-out pictures have 4 channels"),
        (1, "linear:0~1000", "the held-out pictures hold measured values"),
    ],
)
def test_unsuitable_pictures_get_a_reason_instead_of_a_score(channels: int, values: str | None, reason: str) -> None:
    assert bundled_score(data(channels, values=values), 25.0, unused, threads=1, between=lambda: None) == reason


def test_training_records_the_score_on_request(tmp_path: Path) -> None:
    config = small_config(write_leaves(tmp_path / "leaves"), epochs=1)
    plain, asked = new_run(tmp_path / "plain"), new_run(tmp_path / "asked")
    *_, last = train(config, plain, 1)
    assert isinstance(last, Finished)
    assert last.bundled is None
    *_, last = train(config, asked, 1, bundled=True)
    assert isinstance(last, Finished)
    assert isinstance(last.bundled, BundledScore)
    assert last.bundled.own_psnr == last.psnr
    assert not last.denoises
    before, after = read_checkpoint(plain.best), read_checkpoint(asked.best)
    score = last.bundled
    assert after.pop("bundled") == {"name": score.name, "psnr": score.psnr, "own_psnr": last.psnr, "pictures": 12}
    assert [*before] == [*after]
