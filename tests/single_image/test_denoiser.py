"""Denoisers that learn from one picture, and pixel-shuffle downsampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from n2n_cli.denoising.picture_files import denoise_files
from n2n_cli.denoising.tasks import DenoiseOptions, DenoiseTask, Outcome
from n2n_cli.images import Picture, read_pages, write_pages
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.single_image import denoiser
from n2n_cli.single_image.denoiser import learn_to_denoise
from n2n_cli.single_image.learner import Effort
from n2n_cli.system.progress import reported_to
from tests.denoising.test_picture import HALF_GRAY


@pytest.fixture(autouse=True)
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("n2n_cli.single_image.zero_shot.EFFORT", Effort(steps=4, every=2))


def gray(side: int = 40) -> Array:
    noise = np.random.default_rng(0).normal(0, 20, (side, side, 1))
    pixels: Array = np.clip(120 + noise, 0, 255).astype(np.uint8)
    return pixels


def run(*tasks: DenoiseTask, chosen: Model | None = HALF_GRAY, **options: Any) -> list[Outcome]:
    return list(denoise_files(chosen, tasks, DenoiseOptions(**options)))


def test_seconds_take_the_place_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Effort] = []

    def note(_: Any, effort: Effort, **__: Any) -> None:
        asked.append(effort)
        raise InterruptedError

    monkeypatch.setattr("n2n_cli.single_image.zero_shot.ZeroShotLearner.learn", note)
    for seconds in (None, 3.5):
        with pytest.raises(InterruptedError):
            learn_to_denoise([Picture(gray())], seconds=seconds, threads=1)
    assert asked[0] == Effort(steps=4, every=2)
    assert (asked[1].seconds, asked[1].every) == (3.5, 2)
    assert asked[1].steps > 10**5


def test_a_picture_too_small_to_learn_from_stays_and_is_reported() -> None:
    parts: list[float] = []
    with reported_to(parts.append):
        denoiser = learn_to_denoise([Picture(gray(9))], threads=1)
    assert denoiser.notes == ["too small to learn from, a side is shorter than 10 pixels; it stays as it is"]
    assert parts == [1]
    assert denoiser.learned == []


def test_each_page_has_its_own_denoiser_and_keeps_its_depth() -> None:
    alpha = np.full((40, 40), 9, np.uint16)
    first = Picture(gray().astype(np.uint16) * 257, alpha)
    write_pages(Path("a.tif"), [first, Picture(gray(30).astype(np.uint16) * 100)])
    (outcome,) = run(DenoiseTask(Path("a.tif"), Path("b.tif")), chosen=None, learn=True, threads=1)
    assert (outcome.status, outcome.pages, outcome.error) == ("done", 2, None)
    assert [learned.steps for learned in outcome.learned] == [4, 4]
    pages = list(read_pages(Path("b.tif")))
    assert [page.pixels.shape for page in pages] == [(40, 40, 1), (30, 30, 1)]
    assert pages[0].pixels.dtype == np.uint16
    np.testing.assert_array_equal(pages[0].alpha, alpha)
    assert (pages[0].pixels != first.pixels).mean() > 0.9


def test_strength_0_learns_nothing() -> None:
    Image.fromarray(gray()[..., 0]).save("a.png")
    (outcome,) = run(DenoiseTask(Path("a.png"), Path("b.png")), chosen=None, learn=True, strength=0)
    assert (outcome.status, outcome.learned) == ("done", [])
    np.testing.assert_array_equal(np.asarray(Image.open("b.png")), gray()[..., 0])


@pytest.mark.parametrize("pd", [1, 2, 3])
def test_pixel_shuffle_denoises_every_pixel_once(pd: int) -> None:
    pixels = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7) * 2
    Image.fromarray(pixels).save("a.png")
    parts: list[float] = []
    tasks = [DenoiseTask(Path("a.png"), Path("b.png"))]
    with reported_to(parts.append):
        (outcome,) = denoise_files(HALF_GRAY, tasks, DenoiseOptions(pd=pd))
    assert outcome.status == "done"
    np.testing.assert_array_equal(np.asarray(Image.open("b.png")), pixels // 2)
    assert sum(parts) == pytest.approx(1)


@pytest.mark.parametrize("pd", [1, 2])
def test_reported_progress_adds_up_to_1(pd: int) -> None:
    Image.fromarray(gray()[..., 0]).save("a.png")
    parts: list[float] = []
    tasks = [DenoiseTask(Path("a.png"), Path("b.png"))]
    with reported_to(parts.append):
        (outcome,) = denoise_files(None, tasks, DenoiseOptions(learn=True, threads=1, pd=pd))
    assert outcome.status == "done"
    assert parts[0] == denoiser.LEARNING / 4
    assert sum(parts) == pytest.approx(1)


def test_correlated_noise_is_noted_with_estimates_or_pixel_shuffle() -> None:
    white = np.random.default_rng(0).normal(0, 20, (160, 160))
    for name, noise in (("white", white), ("shared", white + np.roll(white, 1, 0) + np.roll(white, 2, 0))):
        Image.fromarray(np.clip(120 + noise, 0, 255).astype(np.uint8)).save(f"{name}.png")
    white_task, shared_task = (DenoiseTask(Path(f"{name}.png"), Path("b.png")) for name in ("white", "shared"))
    assert [outcome.notes for outcome in run(white_task, shared_task)] == [[], []]
    without, noted = run(white_task, shared_task, estimates=True)
    assert without.notes == []
    (note,) = noted.notes
    assert note.startswith("the removed noise is correlated between neighbouring pixels (0.6")
    assert note.endswith("; try `--pd 2`")
    (apart,) = run(shared_task, pd=2)
    assert apart.notes[0].startswith("noise 2 pixels apart is still correlated (0.3")
    assert run(shared_task, pd=3)[0].notes == []
