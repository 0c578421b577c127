"""Progress of `n2n train`: lines in a log, and a bar on a terminal."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr
from pathlib import Path

import pytest

from n2n_cli.cli.train.progress import show
from n2n_cli.evaluation.bundled_score import BundledScore
from n2n_cli.training.records import Epoch, Finished, Record, Started, Step
from tests.cli import Terminal, lines_of, on_a_terminal

RESULT = r"{run}/best\.pth: noisy \d+\.\d\d dB, denoised \d+\.\d\d dB\n"
TRAIN = ("train", "--config", "tiny.toml")


pytestmark = pytest.mark.usefixtures("here")


def epoch(number: int = 1, of: int = 2, *, rate: float = 9.0, loading: float = 0.0) -> Epoch:
    return Epoch(number, of, 0.4, 20.0, 21.0, 20.0, 21.0, True, 1.0, rate, loading, 1.0)


@pytest.mark.parametrize("denoises", [True, False])
def test_network_that_does_not_denoise_is_reported(denoises: bool, capsys: pytest.CaptureFixture[str]) -> None:
    show([Finished(Path("a/best.pth"), 20.0, 20.9, denoises)])
    shown = capsys.readouterr()
    assert shown.out == "a/best.pth: noisy 20.00 dB, denoised 20.90 dB\n"
    assert ("does not denoise yet" in shown.err) != denoises


@pytest.mark.parametrize(
    ("bundled", "line"),
    [
        (None, ""),
        (
            BundledScore("photo", 30.0, 25.0, 1000),
            "the bundled model photo reaches 30.00 dB on the same 1,000 held-out pictures, this network 25.00 dB: "
            "`n2n denoise --model photo` is better for them\n",
        ),
        (
            BundledScore("photo", 25.05, 25.0, 1),
            "the bundled model photo reaches 25.05 dB on the same 1 held-out picture\n",
        ),
        (
            "the held-out pictures have 4 channels",
            "the bundled models are not compared: the held-out pictures have 4 channels\n",
        ),
    ],
)
def test_comparison_with_the_bundled_model_is_one_line(
    bundled: BundledScore | str | None, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show([Finished(Path("a/best.pth"), 20.0, 25.0, True, bundled)])
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("done", "shown"),
    [
        (0, None),
        (3, "continues after step 3 of epoch 1"),
        (4, "continues after epoch 1"),
        (20, "all epochs are done: `--epochs` with a larger number continues"),
        (24, "all epochs are done: `--epochs` with a larger number continues"),
    ],
)
def test_resumed_run_reports_its_starting_point(
    done: int, shown: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    show([Started(5, 4, done, 9, 20.0, ())])
    assert capsys.readouterr().err.splitlines()[1:] == ([] if shown is None else [shown])


@pytest.mark.parametrize(
    ("noisy", "shown"), [(20, "20.00 dB"), (math.inf, "inf dB, because one of them equals its target")]
)
def test_noise_of_validation_pictures_is_reported(noisy: float, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    show([Started(5, 4, 0, 9, noisy, ())])
    assert capsys.readouterr().err.endswith(f"noisy validation pictures at {shown}\n")


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        (epoch(), "(best so far), 9 images/s, 1 s"),
        (epoch(loading=0.099), "(best so far), 9 images/s, 1 s"),
        (epoch(loading=0.125), "(best so far), 9 images/s (12% of the time waiting for pictures), 1 s"),
        (epoch(rate=0.0), "(best so far), 1 s"),  # all steps were taken before resuming
    ],
)
def test_slow_loading_is_reported(record: Epoch, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    show([record])
    assert capsys.readouterr().err == f"epoch 1/2: loss 0.40000, validation PSNR 21.00 dB {shown}\n"


# On a terminal


def test_terminal_shows_one_bar_and_a_line_per_epoch() -> None:
    out, seen = on_a_terminal(*TRAIN)
    assert re.fullmatch(RESULT.format(run="runs/tiny-1"), out)
    assert "\x1b[" in seen
    lines = lines_of(seen)
    bars = [line for line in lines if line.endswith(" left")]
    last = r"epoch 3/3 ━+ loss \d\.\d{5} PSNR \d+\.\d\d dB \d+ images/s 0:00:00 left"
    assert re.fullmatch(last, bars[-1]), bars
    assert all(len(bar) <= 80 for bar in bars)
    epochs = [line for line in lines if re.match(r"epoch \d/3: ", line)]
    assert [line[:10] for line in epochs] == ["epoch 1/3:", "epoch 2/3:", "epoch 3/3:"]
    shown = re.search(r"PSNR (\S+ dB)", bars[-1])
    assert shown
    assert f"validation PSNR {shown[1]}" in epochs[-1]


def test_terminal_without_colours_dumb_terminal_and_quiet() -> None:
    _, seen = on_a_terminal(*TRAIN, NO_COLOR="1")
    assert " left" in seen
    assert not re.search(r"\x1b\[[0-9;]*[34]\d", seen)
    out, seen = on_a_terminal(*TRAIN, TERM="dumb")
    assert "\x1b" not in seen
    assert len(re.findall(r"^epoch \d/3: ", seen, re.MULTILINE)) == 3
    assert re.fullmatch(RESULT.format(run="runs/tiny-2"), out)
    assert on_a_terminal("--quiet", *TRAIN)[1] == ""


def drawn(records: Iterable[Record], monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[tuple[str, float, str]]]:
    """Lines and bars on a terminal of 100 columns, drawn after each record."""

    def slowly() -> Iterator[Record]:
        for record in records:
            yield record
            time.sleep(0.25)  # the bar is drawn ten times per second

    for name, value in (("TERM", "xterm"), ("COLUMNS", "100"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    with redirect_stderr(Terminal()) as terminal:
        show(slowly())
    lines = lines_of(terminal.getvalue())
    _, *bars = dict.fromkeys(parts(line) for line in lines if line.startswith("epoch") and " left" in line)
    return lines, bars  # without the bar of unknown length before the first record


def parts(line: str) -> tuple[str, float, str]:
    """Text before a bar, its filled fraction, and text after it up to the rate."""
    found = re.fullmatch(r"(epoch \S+) ([━╸ ]*) (loss \S+ PSNR \S+ dB \S+ images/s).*", line)
    assert found, line
    return found[1], (found[2].count("━") + found[2].count("╸") / 2) / len(found[2]), found[3]


def test_bar_grows_with_every_step(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first: list[Record] = [Step(1, 1, 0.5, 100.0), Step(1, 2, 0.4, 110.0), epoch()]
    rest: list[Record] = [Step(2, 1, 0.3, 120.0), Finished(Path("best.pth"), 20.0, 21.0)]
    lines, bars = drawn([Started(2, 2, 0, 9, 20.0, ("`a\nb`",)), *first, *rest], monkeypatch)
    assert [(left, right) for left, _, right in bars] == [
        ("epoch -", "loss - PSNR - dB - images/s"),
        ("epoch 1/2", "loss 0.50000 PSNR - dB 100 images/s"),
        ("epoch 1/2", "loss 0.40000 PSNR - dB 110 images/s"),
        ("epoch 1/2", "loss 0.40000 PSNR 21.00 dB 110 images/s"),
        ("epoch 2/2", "loss 0.30000 PSNR 21.00 dB 120 images/s"),
    ]
    assert [part for _, part, _ in bars] == pytest.approx([0, 0.25, 0.5, 0.5, 0.75], abs=0.05)
    assert capsys.readouterr().out == "best.pth: noisy 20.00 dB, denoised 21.00 dB\n"
    assert "`a\\nb`" in lines


def test_bar_of_a_resumed_run_starts_at_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, bars = drawn([Started(5, 4, 7, 9, 20.0, ()), Step(2, 4, 0.5, 100.0)], monkeypatch)
    assert [bars[0][1], bars[-1][1]] == pytest.approx([7 / 20, 8 / 20], abs=0.05)
    assert bars[-1][0] == "epoch 2/5"
    assert "continues after step 3 of epoch 2" in lines
