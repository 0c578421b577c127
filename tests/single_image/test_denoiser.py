"""The denoiser of a picture: a model, an own network or an adapted model; and pixel-shuffled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from n2n_cli.denoising.picture import denoise
from n2n_cli.denoising.picture_files import denoise_files
from n2n_cli.denoising.tasks import DenoiseOptions, DenoiseTask, Outcome
from n2n_cli.errors import ArgumentError
from n2n_cli.images import Picture, read_pages, write_pages
from n2n_cli.models.model import Model
from n2n_cli.models.predictor import Predictor
from n2n_cli.nn.functional import Array
from n2n_cli.single_image import denoiser, learner
from n2n_cli.single_image.blend import Blend
from n2n_cli.single_image.denoiser import learn_to_denoise
from n2n_cli.single_image.learner import Effort, Learned
from n2n_cli.system.progress import reported_to
from tests.denoising.test_picture import HALF_GRAY
from tests.single_image.test_neighbor2neighbor import model, noisy_picture


@pytest.fixture(autouse=True)
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("n2n_cli.single_image.zero_shot.EFFORT", Effort(steps=4, every=2))
    monkeypatch.setattr("n2n_cli.single_image.neighbor2neighbor.EFFORT", Effort(steps=2, every=1))


def gray(side: int = 40) -> Array:
    noise = np.random.default_rng(0).normal(0, 20, (side, side, 1))
    pixels: Array = np.clip(120 + noise, 0, 255).astype(np.uint8)
    return pixels


def run(*tasks: DenoiseTask, chosen: Model | None = HALF_GRAY, **options: Any) -> list[Outcome]:
    return list(denoise_files(chosen, tasks, DenoiseOptions(**options)))


def test_model_is_the_denoiser_without_a_method() -> None:
    denoiser = learn_to_denoise(None, [Picture(gray())], HALF_GRAY)
    assert (denoiser.model, denoiser.notes, denoiser.learned) == (HALF_GRAY, [], [])


@pytest.mark.parametrize("method", [None, "adapt"])
def test_missing_model_is_refused(method: Any) -> None:
    with pytest.raises(ArgumentError, match="`model` is None"):
        learn_to_denoise(method, [Picture(gray())], None)


def test_seconds_replace_the_limit_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Effort] = []

    def note(_: Any, effort: Effort, **__: Any) -> None:
        asked.append(effort)
        raise InterruptedError

    monkeypatch.setattr("n2n_cli.single_image.zero_shot.ZeroShotLearner.learn", note)
    for seconds in (None, 3.5):
        with pytest.raises(InterruptedError):
            learn_to_denoise("zs-n2n", [Picture(gray())], None, seconds=seconds, threads=1)
    assert asked[0] == Effort(steps=4, every=2)
    assert (asked[1].seconds, asked[1].every) == (3.5, 2)
    assert asked[1].steps > 10**5


@pytest.mark.parametrize(
    ("method", "side", "wanted"), [("zs-n2n", 9, "a side is shorter than 10 pixels"), ("adapt", 20, "too small to fit")]
)
def test_picture_too_small_to_learn_from_gets_a_note(method: Any, side: int, wanted: str) -> None:
    parts: list[float] = []
    with reported_to(parts.append):
        denoiser = learn_to_denoise(method, [Picture(gray(side))], HALF_GRAY, threads=1)
    assert wanted in denoiser.notes[0]
    assert parts == [1]
    assert denoiser.learned == []


def test_fit_that_was_no_better_gets_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, _ = noisy_picture()
    monkeypatch.setattr("n2n_cli.single_image.neighbor2neighbor.Adapter.step", lambda adapter: None)
    monkeypatch.setattr("n2n_cli.single_image.blend_weights.best_share", lambda *_, **__: 0.97)
    denoiser = learn_to_denoise("adapt", [picture], model())
    assert denoiser.notes == ["nothing learned from it lowered the held-out loss; the model stayed as it is"]
    assert [learned.share for learned in denoiser.learned] == [1]


@pytest.mark.parametrize(("own", "channels"), [(3, 3), (1, 3), (3, 1)])
def test_own_network_replaces_model_that_keeps_noise(own: int, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n2n_cli.single_image.zero_shot.EFFORT", Effort(steps=150, every=50))
    picture, clean = noisy_picture(own)
    parts: list[float] = []
    with reported_to(parts.append):
        adapted = learn_to_denoise("adapt", [picture], model(channels))
    alone = learn_to_denoise("zs-n2n", [picture], None, threads=1)
    errors = [
        np.mean((denoise(made.model, picture.as_float()).transpose(1, 2, 0) - clean) ** 2) for made in (adapted, alone)
    ]
    assert errors[0] < min(1.3 * errors[1], 0.1**2 / 4)
    assert adapted.notes == []
    assert sum(parts) == pytest.approx(1)


def test_blend_reports_the_share_of_each_denoiser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n2n_cli.single_image.blend_weights.best_share", lambda *_, **__: 0.3)
    picture, _ = noisy_picture(1)
    denoiser = learn_to_denoise("adapt", [picture], model())
    assert isinstance(denoiser.model, Predictor)
    assert isinstance(denoiser.model.executor.kernel, Blend)
    assert denoiser.model.channels == 1
    assert [learned.share for learned in denoiser.learned] == [0.3, 0.7]
    lines = [str(learned) for learned in denoiser.learned]
    assert lines[0].startswith("the model learned for 2 steps, held-out loss 0 before and")
    assert lines[0].endswith("; 30% of the result")
    assert lines[1].startswith("a network of its own learned for 4 steps, held-out loss ")
    assert lines[1].endswith("; 70% of the result")


@pytest.mark.parametrize(("share", "who"), [(0.04, "a network of its own"), (0.96, "the model")])
def test_denoiser_with_small_share_is_left_out(share: float, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n2n_cli.single_image.blend_weights.best_share", lambda *_, **__: share)
    better = Learned({}, 2, 0.0, -1.0, who="the model")
    monkeypatch.setattr("n2n_cli.single_image.neighbor2neighbor.Adapter.learn", lambda *_, **__: better)
    denoiser = learn_to_denoise("adapt", [noisy_picture()[0]], model())
    assert not isinstance(denoiser.model.executor.kernel, Blend)
    assert [(learned.who, learned.share) for learned in denoiser.learned] == [(who, 1)]
    assert denoiser.notes == []


def test_seconds_are_divided_between_both_learners(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    real = learner.learn

    def watched(step: Any, held_out: Any, average: Any, effort: Effort, **named: Any) -> Any:
        asked.append(effort.seconds)
        return real(step, held_out, average, effort, **named)

    monkeypatch.setattr("n2n_cli.single_image.neighbor2neighbor.learn", watched)
    monkeypatch.setattr("n2n_cli.single_image.zero_shot.learn", watched)
    left: list[float] = []

    def no_share(*_: Any, seconds: float, **__: Any) -> float:
        left.append(seconds)
        return 1

    monkeypatch.setattr("n2n_cli.single_image.blend_weights.best_share", no_share)
    learn_to_denoise("adapt", [noisy_picture()[0]], model(), seconds=0.4)
    assert 0 <= left[0] <= 0.4
    assert 0 < asked[0] <= 0.4 * 0.4
    assert 0 <= asked[1] <= 0.85 * 0.4


def test_model_is_kept_when_noise_is_correlated() -> None:
    noise = np.random.default_rng(0).normal(0, 15, (128, 128, 1))
    shared = noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)
    picture = Picture(np.clip(120 + shared, 0, 255).astype(np.uint8))
    denoiser = learn_to_denoise("adapt", [picture], HALF_GRAY)
    assert denoiser.model is HALF_GRAY
    assert denoiser.notes[0].startswith("what the model removes is correlated between neighbouring pixels; nothing was")
    assert denoiser.learned == []


def test_each_page_has_its_own_denoiser_and_keeps_its_depth() -> None:
    alpha = np.full((40, 40), 9, np.uint16)
    first = Picture(gray().astype(np.uint16) * 257, alpha)
    write_pages(Path("a.tif"), [first, Picture(gray(30).astype(np.uint16) * 100)])
    (outcome,) = run(DenoiseTask(Path("a.tif"), Path("b.tif")), chosen=None, learning="zs-n2n", threads=1)
    assert (outcome.status, outcome.pages, outcome.error) == ("done", 2, None)
    assert [learned.steps for learned in outcome.learned] == [4, 4]
    pages = list(read_pages(Path("b.tif")))
    assert [page.pixels.shape for page in pages] == [(40, 40, 1), (30, 30, 1)]
    assert pages[0].pixels.dtype == np.uint16
    np.testing.assert_array_equal(pages[0].alpha, alpha)
    assert (pages[0].pixels != first.pixels).mean() > 0.9


def test_strength_0_learns_nothing() -> None:
    Image.fromarray(gray()[..., 0]).save("a.png")
    (outcome,) = run(DenoiseTask(Path("a.png"), Path("b.png")), chosen=None, learning="zs-n2n", strength=0)
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
        (outcome,) = denoise_files(None, tasks, DenoiseOptions(learning="zs-n2n", threads=1, pd=pd))
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
    assert note.startswith("what was removed is correlated between neighbouring pixels (0.6")
    assert note.endswith("; look whether `--pd 2` is better")
    (apart,) = run(shared_task, pd=2)
    assert apart.notes[0].startswith("noise 2 pixels apart is still correlated (0.3")
    assert run(shared_task, pd=3)[0].notes == []
