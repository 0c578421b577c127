"""`n2n denoise --self`: its rules and its messages."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from n2n_cli.nn.functional import Array
from n2n_cli.single_image.learner import Effort
from tests.cli import failure, n2n, photo


@pytest.fixture(autouse=True)
def short(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n2n_cli.single_image.zero_shot.EFFORT", Effort(steps=4, every=2))


def pixels(name: str) -> Array:
    with Image.open(name) as image:
        return np.asarray(image)


@pytest.mark.parametrize(
    "words",
    [
        ("--self", "photos/0.png", "out.png"),
        ("photos/0.png", "--self", "out.png"),
        ("photos/0.png", "out.png", "--self"),
    ],
)
def test_self_stands_anywhere(words: tuple[str, ...]) -> None:
    assert n2n("denoise", *words) == (0, "", "")
    assert pixels("out.png").shape == pixels("photos/0.png").shape


def test_self_behind_two_hyphens_is_a_picture() -> None:
    photo(Path("--self.png"))
    Path("--self.png").rename("--self")
    assert n2n("denoise", "--model", "tiny.pth", "--format", "png", "--", "--self", "out.png").code == 0


def test_self_gives_the_same_output_each_time_and_for_any_threads() -> None:
    photo(Path("in.png"), (96, 80, 3))
    for name, threads in (("a.png", 1), ("b.png", 1), ("c.png", 2)):
        assert n2n("denoise", "--self", "--threads", str(threads), "in.png", name).code == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes() == Path("c.png").read_bytes()


def test_too_small_pictures_of_a_folder_are_copied_with_a_note() -> None:
    photo(Path("photos/small.png"), (8, 30, 3))
    Path("out").mkdir()
    answer = n2n("denoise", "--self", "photos", "out")
    assert answer.code == 0
    assert (
        "photos/small.png: too small to learn from, a side is shorter than 10 pixels; it stays as it is" in answer.err
    )
    assert sorted(path.name for path in Path("out").iterdir()) == ["0.png", "1.png", "2.png", "small.png"]
    np.testing.assert_array_equal(pixels("out/small.png"), pixels("photos/small.png"))


def test_seconds_replace_the_number_of_steps() -> None:
    photo(Path("in.png"), (96, 80, 3))
    steps = []
    for words in ([], ["--seconds", "1"]):
        answer = n2n("-v", "denoise", "--self", *words, "in.png", "out.png")
        found = re.search(r"a network of its own learned for (\d+) steps", answer.err)
        assert found, answer
        steps.append(int(found[1]))
    assert steps[0] == 4 < steps[1]


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("--self", "--model", "tiny.pth"), "`--self` and `--model` cannot be used together", "leave out all"),
        (("--self", "--config", "ee559"), "`--self` and `--config` cannot be used together", "leave out all"),
        (("--self", "--effort", "best"), "`--effort best` and `--self` cannot be used together", "leave out all"),
        (("--seconds", "5"), "`--seconds` requires `--self`", "add `--self`, or leave out `--seconds`"),
        (("--pd", "5"), "`--pd` is '5', it must be a whole number from 1 to 4", "for example"),
    ],
)
def test_invalid_options_and_combinations_are_refused(words: tuple[str, ...], message: str, hint: str) -> None:
    code, got, got_hint = failure("denoise", *words, "photos/0.png", "out.png")
    assert (code, got) == (2, message)
    assert got_hint.startswith(hint)
    assert not Path("out.png").exists()


def test_pixel_shuffle_works_with_model_and_self() -> None:
    for i, words in enumerate((("--model", "tiny.pth"), ("--self",))):
        assert n2n("denoise", *words, "--pd", "2", "photos/0.png", f"{i}.png").code == 0
        assert pixels(f"{i}.png").shape == pixels("photos/0.png").shape
