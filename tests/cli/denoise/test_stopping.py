"""Signals that end `n2n denoise`: whole files, and a count of what is done."""

from __future__ import annotations

import os
import time
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, Signals
from typing import Any, Self

import numpy as np
import pytest
from PIL import Image

from n2n_cli.cli.denoise.bar import Bar
from tests.cli import ended, n2n, photo, running, wait_for

SECONDS = 5.0
"""Seconds within which a command ends after a signal."""


pytestmark = pytest.mark.usefixtures("here", "usual_signals")


def large(path: Path) -> None:
    """Write a picture that takes seconds to write: noise, of 12 million pixels."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8)).save(path, compress_level=0)


@pytest.mark.parametrize(
    ("number", "message"),
    [(SIGINT, "interrupted"), (SIGTERM, "stopped by SIGTERM"), (SIGHUP, "stopped by SIGHUP")],
)
def test_signal_leaves_no_partial_file(number: Signals, message: str, here: Path) -> None:
    large(here / "in.png")
    (here / "out.png").write_bytes(b"as it was")
    before = sorted(here.iterdir())
    with running("-q", "denoise", "--model", "tiny.pth", "--strength", "0", "in.png", "out.png") as process:
        while sorted(here.iterdir()) == before:  # until a temporary file is there
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        code, out, err, seconds = ended(process)
    assert (code, out) == (128 + number, "")
    assert seconds < SECONDS
    assert err == f"error: {message}\n\nhint: no file is left half written\n"
    assert sorted(here.iterdir()) == before
    assert (here / "out.png").read_bytes() == b"as it was"


@pytest.mark.parametrize("when", ["enter", "exit"])
def test_signal_at_start_or_end_of_the_bar_is_reported(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopping(Bar):
        def __enter__(self) -> Self:
            if when == "enter":
                os.kill(os.getpid(), SIGTERM)
            return super().__enter__()

        def __exit__(self, *error: Any) -> None:
            super().__exit__(*error)
            if error[0] is None:
                os.kill(os.getpid(), SIGTERM)

    monkeypatch.setattr("n2n_cli.cli.denoise.results.Bar", Stopping)
    answer = n2n("-q", "denoise", "--model", "tiny.pth", "photos/0.png", "out.png")
    assert answer == (143, "", "error: stopped by SIGTERM\n\nhint: no file is left half written\n")


def test_signal_counts_finished_pictures(here: Path) -> None:
    (here / "out").mkdir()
    for name in "ac":
        photo(here / "in" / f"{name}.png")
    large(here / "in" / "b.png")
    with running("-v", "denoise", "--model", "tiny.pth", "--strength", "0", "in", "out") as process:
        wait_for("in/a.png: ", process)
        process.send_signal(SIGTERM)
        code, _, err, _ = ended(process)
    assert code == 143
    assert "error: stopped by SIGTERM: 1 of 3 pictures are done\n\nhint: no file is left half written; " in err
    assert sorted(path.name for path in (here / "out").iterdir()) == ["a.png"]
