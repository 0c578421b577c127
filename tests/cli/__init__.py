"""Tiny inputs for tests of the command line, and ways to run a command."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import Signals
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from n2n_cli.cli.app import app
from n2n_cli.config import load_config
from n2n_cli.models.model import Model
from tests.signals import default_signals

N2N = (sys.executable, "-m", "n2n_cli")
TINY = """
[network]
channels = 3
layers = [
  { type = "Conv2d", in_channels = 3, out_channels = 3, kernel_size = 3, padding = 1 },
  { type = "Sigmoid" },
]

[data]
source = "photos"
size = 8
pairs = 20
validation_pairs = 4

[train]
epochs = 3
batch_size = 5
"""


class Answer(NamedTuple):
    """Exit code and outputs of a command."""

    code: int
    out: str
    err: str


def n2n(*words: str | Path) -> Answer:
    """Run a command in this process and return its exit code and outputs."""
    done = CliRunner().invoke(app, list(map(str, words)))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Answer(done.exit_code, done.stdout, done.stderr)


def failure(*words: str | Path) -> tuple[int, str, str]:
    """Exit code, message and hint of a command that fails and prints nothing else."""
    answer = n2n("--quiet", *words)
    assert answer.out == ""
    found = re.fullmatch(r"error: ([^\n]+)\n\nhint: ([^\n]+)\n", answer.err)
    assert found, answer.err
    return answer.code, found[1], found[2]


def environment(**changes: str) -> dict[str, str]:
    """Environment of a command in a separate process: one thread, a plain terminal."""
    kept = {
        k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS", "TTY_COMPATIBLE")
    }
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TERM": "xterm-256color", **changes}


def start(*words: str | Path, **streams: Any) -> subprocess.Popen[str]:
    """Start a command in a separate process."""
    piped: dict[str, Any] = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    piped |= {"stdin": subprocess.DEVNULL, "preexec_fn": default_signals, **streams}
    return subprocess.Popen([*N2N, *words], text=True, env=environment(), **piped)


@contextmanager
def running(*words: str | Path, ignored: Signals | None = None) -> Iterator[subprocess.Popen[str]]:
    """Context of a command in a separate process, which is killed at the end."""

    def ignore() -> None:
        default_signals()
        if ignored is not None:
            signal.signal(ignored, signal.SIG_IGN)

    process = start(*words, preexec_fn=ignore)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(begin: str, process: subprocess.Popen[str]) -> str:
    """Wait for a line on stderr with this beginning; return everything up to it."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith(begin):
            return "".join(lines)
    raise AssertionError("".join(lines))


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str, float]:
    """Exit code, stdout, the rest of stderr, and the seconds until the end."""
    began = time.monotonic()
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err, time.monotonic() - began


class Terminal(io.StringIO):
    """Stream in this process that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def on_a_terminal(*words: str, stdout: bool = False, **variables: str) -> tuple[str, str]:
    """Run a command whose stderr, and optionally stdout, is a terminal of 80 columns.

    Returns the piped stdout and the output on the terminal.
    """
    terminal, side = pty.openpty()
    env = environment(COLUMNS="80", **variables)
    with subprocess.Popen(
        [*N2N, *words], env=env, stdin=subprocess.DEVNULL, stdout=side if stdout else subprocess.PIPE, stderr=side
    ) as process:
        os.close(side)
        seen = b""
        with suppress(OSError):  # EIO when the process has closed its side
            while True:
                seen += os.read(terminal, 65536)
        os.close(terminal)
        out = process.stdout.read().decode() if process.stdout else ""
    assert process.returncode == 0, seen
    return out, seen.decode()


def lines_of(seen: str) -> list[str]:
    """Lines on a terminal, without control codes.

    A progress bar is one line for each time that it is drawn.
    """
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen))


def photo(path: Path, shape: tuple[int, ...] = (24, 20, 3), seed: int = 0) -> Path:
    """Write a smooth random 8-bit image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(60, 200, size=(-(-shape[0] // 4), -(-shape[1] // 4), *shape[2:]))
    pixels = coarse.repeat(4, axis=0).repeat(4, axis=1)[: shape[0], : shape[1]].astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def workplace(folder: Path) -> None:
    """Fill a folder with `photos/`, `tiny.toml`, and its untrained `tiny.pth`."""
    for i in range(3):
        photo(folder / "photos" / f"{i}.png", seed=i)
    (folder / "tiny.toml").write_text(TINY)
    Model.from_config(load_config(str(folder / "tiny.toml"))).save(folder / "tiny.pth")
