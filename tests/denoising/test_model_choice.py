"""Choice of the bundled model by the noise of a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from n2n_cli.data.dead_leaves import dead_leaves
from n2n_cli.denoising.model_choice import BundledModels, Effort, FileModel, models_for
from n2n_cli.denoising.page import denoise_page
from n2n_cli.denoising.picture import denoise
from n2n_cli.denoising.picture_files import denoise_files
from n2n_cli.denoising.tasks import DenoiseOptions, DenoiseTask
from n2n_cli.denoising.transforms import Transforms
from n2n_cli.images import Picture, write_picture
from n2n_cli.models.choice import bundled_models
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.noise import parse_noise
from n2n_cli.noise.analysis import NoiseAnalysis, analyse_noise
from n2n_cli.system.notes import noted_to


@pytest.fixture(scope="module")
def leaves() -> Array:
    """Clean picture, (C, H, W) floats in [0, 1]."""
    clean: Array = np.moveaxis(dead_leaves(1, 256, seed=0)[0], -1, 0) / np.float32(255)
    return clean


def noisy(clean: Array, noise: str, *, gray: bool = False) -> Picture:
    x = parse_noise(noise).draw(np.moveaxis(clean, 0, -1), rng=np.random.default_rng(1))
    if gray:
        x = x[..., :1]
    return Picture(np.rint(255 * np.clip(x, 0, 1)).astype(np.uint8))


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize(
    ("noise", "name"),
    [
        ("gaussian:10", "white"),
        ("gaussian:40", "white"),
        ("poisson:30", "white"),
        ("impulse:0.05", "photo"),
        ("grain:20,0.8", "photo"),
        ("blurred:30,1", "photo"),
    ],
)
def test_correlated_or_outlying_noise_gets_photo_and_other_noise_white(
    leaves: Array, noise: str, name: str, gray: bool
) -> None:
    chosen = BundledModels().choose(noisy(leaves, noise, gray=gray))
    assert chosen.name == name
    assert chosen.reason.startswith("for noise ")


def test_noise_of_a_camera_gets_photo(leaves: Array) -> None:
    assert BundledModels().choose(noisy(leaves, "camera:0.003")).name == "photo"


def test_a_picture_too_small_to_measure_gets_photo() -> None:
    chosen = BundledModels().choose(Picture(np.zeros((4, 4, 3), np.uint8)))
    assert (chosen.name, chosen.reason) == ("photo", "for a picture that is too small to measure its noise")


def test_fast_is_photo_for_all_pictures() -> None:
    fast = models_for("fast", threads=1)
    assert isinstance(fast, Model)
    photo, rng = Model.from_checkpoint(bundled_models()["photo"], threads=1), np.random.default_rng(0)
    x = rng.random((3, 32, 32), dtype=np.float32)
    np.testing.assert_array_equal(denoise(fast, x), denoise(photo, x))


@pytest.mark.parametrize(("effort", "ensemble"), [("best", False), ("normal", True)])
def test_best_and_ensemble_average_over_flips_and_rotations(leaves: Array, effort: Effort, ensemble: bool) -> None:
    picture = noisy(leaves[:, :64, :64], "gaussian:25")
    both = models_for(effort, threads=1, ensemble=ensemble), models_for("normal", threads=1)
    assert all(isinstance(models, BundledModels) for models in both)
    best, normal = (models.choose(picture) for models in both if isinstance(models, BundledModels))
    assert best.name == normal.name == "white"
    assert isinstance(best.model, Model)
    assert isinstance(normal.model, Model)
    x = np.moveaxis(picture.pixels, -1, 0).astype(np.float32) / 255
    normal.model.predict_as_ensemble()
    np.testing.assert_array_equal(denoise(best.model, x), denoise(normal.model, x))


def test_ensemble_says_how_long_if_it_takes_long(leaves: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n2n_cli.denoising.model_choice._LONG", 0)
    reason = BundledModels(threads=1, ensemble=True).choose(noisy(leaves[:, :64, :64], "gaussian:25")).reason
    assert reason.startswith("for noise that is independent from pixel to pixel; about ")
    assert reason.endswith(" s")


def test_noise_of_a_picture_is_analysed_once_before_and_once_after(
    leaves: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report and the choice of the model share the analysis of a display picture."""
    analysed = []

    def analyse(pixels: Array) -> NoiseAnalysis:
        analysed.append(pixels)
        return analyse_noise(pixels)

    for user in ("denoising.model_choice", "values.transform"):
        monkeypatch.setattr(f"n2n_cli.{user}.analyse_noise", analyse)
    picture, transforms = noisy(leaves[:, :64, :64], "gaussian:25"), Transforms(lambda most, channel: (), "auto")
    page = denoise_page(FileModel(BundledModels(threads=1)), picture, transforms, DenoiseOptions(estimates=True))
    assert page.noise_before is not None
    assert page.noise_after is not None
    assert page.noise_after.sigma < page.noise_before.sigma / 3
    assert len(analysed) == 2


def test_the_first_page_decides_for_all_pages_of_its_channels(leaves: Array) -> None:
    model, notes = FileModel(BundledModels(threads=1)), list[str]()
    with noted_to(notes.append):
        first = model.of(noisy(leaves, "gaussian:25"))
        later = model.of(noisy(leaves, "grain:20,0.8"))
        gray = model.of(noisy(leaves, "grain:20,0.8", gray=True))
    assert later is first
    assert (first.name, gray.name) == ("white", "photo")
    assert notes == [
        "model: white, for noise that is independent from pixel to pixel",
        "model: photo, for noise that is correlated between neighbouring pixels",
    ]


def test_the_outcome_and_its_record_name_the_model(
    leaves: Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tasks = []
    for noise in ("gaussian:25", "grain:20,0.8"):
        path = Path(f"{noise[:5]}.png")
        write_picture(path, noisy(leaves, noise))
        tasks.append(DenoiseTask(path, Path(f"out-{path.name}")))
    outcomes = list(denoise_files(BundledModels(threads=1), tasks, DenoiseOptions()))
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert [outcome.record()["model"] for outcome in outcomes] == ["white", "photo"]
