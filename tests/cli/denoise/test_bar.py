"""The progress bar of `n2n denoise`."""

from __future__ import annotations

import io
import sys
import time
from contextlib import redirect_stderr
from pathlib import Path

import pytest

from n2n_cli.cli.denoise.bar import Bar
from tests.cli import Terminal, lines_of, on_a_terminal, photo, workplace
from tests.cli.clock import Clock

REDRAWN = 0.25
"""Seconds within which a bar is drawn again: it is drawn ten times a second."""


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")


def test_bar_counts_pictures_and_parts() -> None:
    with redirect_stderr(Terminal()) as terminal, Bar(4, delay=0) as shown:
        shown.begin("a.png")
        shown.advance(1)
        shown.end()
        shown.begin("in/b\n.png")
        shown.advance(0.25)
        shown.advance(0.25)
        time.sleep(REDRAWN)
    text = terminal.getvalue()
    assert "2/4" in text
    assert "in/b\\n.png" in text
    assert "38%" in text  # 1.5 of 4


def test_work_shorter_than_the_delay_shows_no_bar() -> None:
    with redirect_stderr(Terminal()) as terminal, Bar(1, delay=1000) as shown:
        shown.begin("a.png")
        shown.advance(1)
        shown.end()
    assert terminal.getvalue() == ""


def test_stdout_is_not_redirected_through_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with redirect_stderr(Terminal()) as terminal, Bar(4, delay=0) as shown:
        shown.begin("a.png")
        shown.advance(0.5)
        print("result")
        print("news", file=sys.stderr)
    assert capsys.readouterr().out == "result\n"
    assert "result" not in terminal.getvalue()
    assert "news" in terminal.getvalue()


def test_lines_replace_the_bar_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with redirect_stderr(io.StringIO()) as log, Bar(4) as shown:
        for i in range(4):
            shown.begin(f"in/{i}.png")
            for _ in range(2):
                clock.seconds += 10
                shown.advance(0.5)
            shown.end()
    assert log.getvalue().splitlines() == [
        "1/4: in/0.png, about 70 s left",
        "2/4: in/1.png, about 40 s left",
        "4/4: in/3.png, about 10 s left",
    ]


def test_bar_ends_after_an_error() -> None:
    def work() -> None:
        with Bar(4, delay=0) as shown:
            shown.begin("a.png")
            shown.advance(0.5)
            raise KeyboardInterrupt

    with redirect_stderr(Terminal()) as terminal, pytest.raises(KeyboardInterrupt):
        work()
    before = terminal.getvalue()
    time.sleep(REDRAWN)
    assert terminal.getvalue() == before
    assert before.rindex("\x1b[?25h") > before.rindex("a.png")  # the cursor is back


def test_bar_shows_all_pictures_of_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workplace(tmp_path)
    Path("out").mkdir()
    for i in range(3):
        photo(Path(f"photos/{i}.png"), (2400, 2000, 3), seed=i)  # several times the delay of the bar
    out, seen = on_a_terminal("denoise", "--model", "tiny.pth", "photos", "out")
    assert out == ""
    bars = [line for line in lines_of(seen) if line.endswith(" left")]
    assert all(len(line) <= 80 for line in bars)
    assert "3/3 photos/2.png" in bars[-1]
    parts = [int(line.split("%")[0].split()[-1]) for line in bars]
    assert parts == sorted(parts)
    assert parts[-1] > 66
