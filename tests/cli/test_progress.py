"""Lines with the remaining time, printed by long commands without a terminal."""

from __future__ import annotations

import pytest

from n2n_cli.cli.console import settings
from n2n_cli.cli.progress import LongWork, duration
from tests.cli.clock import Clock


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.1, "5 s"),
        (12, "10 s"),
        (89, "90 s"),
        (91, "2 min"),
        (1800, "30 min"),
        (5399, "90 min"),
        (5401, "1 h 30 min"),
        (7190, "2 h"),
        (7800, "2 h 10 min"),
        (360_000, "100 h"),
    ],
)
def test_durations_are_rounded(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_estimate_after_the_first_steps_and_every_30_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    with LongWork("step {step}", tuple, 100, step=0) as work:
        for step in range(1, 101):
            clock.seconds += 2
            work.update(step, step=step)
    assert lines(capsys) == [
        "step 3, about 3 min left",
        "step 18, about 3 min left",
        "step 33, about 2 min left",
        "step 48, about 2 min left",
        "step 63, about 75 s left",
        "step 78, about 45 s left",
        "step 93, about 15 s left",
    ]


def test_parts_of_work_and_whole_work_are_not_counted_twice(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    with LongWork("{done}", tuple, 4, done=0) as work:
        for done in (1, 2):
            for _ in range(4):
                clock.seconds += 10
                work.advance(0.25)
            work.update(done, done=done)
    assert lines(capsys) == ["0, about 2 min left", "0, about 2 min left", "1, about 2 min left"]


def test_short_work_prints_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with LongWork("", tuple, 10) as work:
        for step in range(10):
            clock.seconds += 1
            work.update(step)
    assert lines(capsys) == []


def test_resumed_work_is_estimated_from_its_own_steps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    with LongWork("{x}", tuple, x="-") as work:
        clock.seconds += 1000
        work.update(x="y")  # before the total is known
        work.start(100, completed=90)
        clock.seconds += 30
        work.update(91)
    assert lines(capsys) == ["y, about 4 min left"]


def test_estimate_is_appended_to_other_messages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    with LongWork("progress", tuple, 100) as work:
        for step in range(1, 11):
            clock.seconds += 10
            work.update(step)
            work.log(f"epoch {step}")
    printed = lines(capsys)
    assert printed[:3] == ["progress, about 16 min left", "epoch 1, about 16 min left", "epoch 2, about 16 min left"]
    assert printed.count("progress, about 16 min left") == 1


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(settings, "quiet", True)
    with LongWork("", tuple, 10) as work:
        clock.seconds += 100
        work.update(1)
        work.log("epoch 1")
    assert lines(capsys) == []
