"""Folders for the trials of `n2n train`, and checks of every trial."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from n2n_cli.errors import N2NError
from n2n_cli.models.model import Model
from n2n_cli.training.run_folder import Run
from tests.cli import environment, photo
from tests.signals import default_signals
from tests.trainings import left_by, metrics_of

_CONFIG = """
[network]
channels = 3
layers = [
  { type = "Conv2d", in_channels = 3, out_channels = 12, kernel_size = 3, stride = 2, padding = 1 },
  { type = "LeakyReLU" },
  { type = "NearestUpsampling", scale_factor = 2 },
  { type = "Conv2d", in_channels = 12, out_channels = 3, kernel_size = 3, padding = 1 },
]

[data]
source = "photos"
size = 16
pairs = 60
validation_pairs = 20
augment = true

[train]
epochs = 8
batch_size = 13
optimizer = "Adam"
lr = 0.003
average = 0.9
clip_norm = 1.0

[schedule]
name = "cosine"
warmup = 5
"""


class FailedError(Exception):
    """A trial failed."""


class Place:
    """A folder to train in, with the result of an uninterrupted training.

    Attributes
    ----------
    left : dict
        Files of the uninterrupted training, by `left_by`.
    listening, ready, end : float
        Seconds after its start until it handled signals, had its data, and ended.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for i in range(4):
            photo(folder / "photos" / f"{i}.png", (40, 48, 3), seed=i)
        (folder / "small.toml").write_text(_CONFIG)
        self.start("--config", "small.toml", "--out", "warm-up").communicate()
        began = time.monotonic()
        process = self.start("--config", "small.toml", "--out", "whole")
        assert process.stderr is not None
        while "pictures: " not in process.stderr.readline():
            pass
        self.listening = time.monotonic() - began
        while "parameters" not in process.stderr.readline():
            pass
        self.ready = time.monotonic() - began
        out, _ = process.communicate()
        self.end = time.monotonic() - began
        self.result = out
        self.left = left_by(Run(folder / "whole"))

    @property
    def run(self) -> Run:
        """Run of the trial."""
        return Run(self.folder / "run")

    def start(self, *words: str, program: tuple[str, ...] = ("-m", "n2n_cli")) -> subprocess.Popen[str]:
        """Start a training in a new process, which saves after every step."""
        return subprocess.Popen(
            [sys.executable, *program, "train", *words, "--threads", "1", "--checkpoint-minutes", "1e-9"],
            cwd=self.folder,
            env=environment(PYTHONDONTWRITEBYTECODE="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=default_signals,
            text=True,
        )

    def begin(self) -> subprocess.Popen[str]:
        """Start the training of the trial."""
        return self.start("--config", "small.toml", "--out", "run")

    def half_way(self, rng: random.Random) -> None:
        """Make a run that was stopped at a random moment."""
        process = self.begin()
        try:
            process.communicate(timeout=rng.uniform(self.ready, self.end))
        except subprocess.TimeoutExpired:
            process.terminate()
            process.communicate()

    def check_end(self) -> None:
        """Resume or start the run; check that it ends as the uninterrupted one."""
        run = self.run
        begun = run.last.exists() or run.config.exists()
        process = self.start("--resume", "run") if begun else self.begin()
        out, err = process.communicate(timeout=120)
        check(process.returncode == 0, f"the resumed training ended with {process.returncode}: {err}")
        check(out == self.result.replace("whole/", "run/"), f"the resumed training printed {out!r}")
        check(left_by(run) == self.left, "the resumed training left something else than the uninterrupted one")

    def check_files(self, *, whole: bool) -> None:
        """Check that all files can be read; if `whole`, that there are no other files."""
        run = self.run
        for path in (run.last, run.best):
            if path.exists():
                Model.from_checkpoint(path, threads=1)
        if run.metrics.exists():
            metrics_of(run)
        if whole and run.folder.exists():
            others = {path.name for path in run.folder.iterdir()} - {p.name for p in (run.last, run.best)}
            others -= {run.config.name, run.metrics.name}
            check(not others, f"it left {', '.join(sorted(others))}")

    def clear(self) -> None:
        """Remove the run of the trial."""
        if self.run.folder.exists():
            for path in self.run.folder.iterdir():
                path.unlink()
            self.run.folder.rmdir()


def check(condition: bool, message: str) -> None:
    """Fail the trial if the condition is false."""
    if not condition:
        raise FailedError(message)


@contextmanager
def place() -> Iterator[Place]:
    """Provide a place in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="n2n-torture-") as name:
        yield Place(Path(name))


def summary_of(seen: Counter[str]) -> str:
    """Format how often each case occurred."""
    return ", ".join(f"{times} {case}" for case, times in seen.items() if times)


def numbered(count: int) -> Iterator[tuple[int, random.Random]]:
    """Number the trials, and give each its own random numbers."""
    for i in range(count):
        yield i, random.Random(i)


@contextmanager
def failing(number: int, at: str) -> Iterator[list[str]]:
    """Collect the failure of the trial in the block."""
    failures: list[str] = []
    try:
        yield failures
    except (FailedError, AssertionError, N2NError, OSError, ValueError, subprocess.TimeoutExpired) as error:
        failures.append(f"trial {number} ({at}): {type(error).__name__}: {error}")
