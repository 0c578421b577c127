"""Trainings stopped by signals, other trainings and full disks."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, Signals

import pytest

from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.models.model import Model
from n2n_cli.training.run_folder import Run
from tests.cli import TINY, ended, environment, failure, n2n, running, wait_for
from tests.signals import default_signals
from tests.trainings import left_by, metrics_of

SECONDS = 5.0
"""Maximum time for a training to end after a signal, in seconds."""
WIDE = """\
layers = [
  { type = "Conv2d", in_channels = 3, out_channels = 128, kernel_size = 3, padding = 1 },
  { type = "Conv2d", in_channels = 128, out_channels = 128, kernel_size = 3, padding = 1 },
  { type = "Conv2d", in_channels = 128, out_channels = 3, kernel_size = 3, padding = 1 },
]
"""
STARTED = "154,627 parameters"
SLOW_STEP = ("data.pairs=3000", "train.batch_size=3000")


pytestmark = [pytest.mark.usefixtures("here"), pytest.mark.slow]


def training(*words: str, ignored: Signals | None = None) -> AbstractContextManager[subprocess.Popen[str]]:
    """Context of a training in a separate process, which is killed at the end."""
    return running("train", *words, "--threads", "1", ignored=ignored)


@contextmanager
def slow_training(*keys: str) -> Iterator[subprocess.Popen[str]]:
    """Context of a started training of a wide network, with these keys set."""
    Path("wide.toml").write_text(re.sub(r"layers = \[.*?\n\]\n", WIDE, TINY, flags=re.DOTALL))
    words = [word for key in ("data.size=16", "train.lr=1e-3", *keys) for word in ("--set", key)]
    with training("--config", "wide.toml", *words, "--out", "run") as process:
        wait_for(STARTED, process)
        time.sleep(1)
        yield process


LONG = ("--config", "tiny.toml", "--epochs", "100000", "--out", "run")
SAVED = r"step \d of epoch \d+ is saved: `n2n train --resume run` continues it"


@pytest.mark.parametrize(
    ("number", "message"),
    [(SIGINT, "interrupted"), (SIGTERM, "stopped by SIGTERM"), (SIGHUP, "stopped by SIGHUP")],
)
def test_signal_saves_and_ends_a_training(number: Signals, message: str) -> None:
    with training(*LONG) as process:
        wait_for("epoch 2/", process)
        process.send_signal(number)
        code, out, err, seconds = ended(process)
    assert (code, out) == (128 + number, "")
    assert seconds < SECONDS
    lines = [line for line in err.splitlines() if not line.startswith("epoch ")]
    assert lines[:3] == [
        f"{number.name}: the step is finished and saved; a second signal ends at once",
        f"error: {message}",
        "",
    ]
    assert re.fullmatch(f"hint: {SAVED}", lines[3])
    assert len(lines) == 4
    run = Run(Path("run"))
    progress = read_checkpoint(run.last)["progress"]
    assert f"step {progress['step']} of epoch {progress['epoch']} " in lines[3]
    assert len(metrics_of(run)) == progress["epoch"] - 1
    assert {path.name for path in run.folder.iterdir()} == {"last.pth", "best.pth", "config.toml", "metrics.jsonl"}
    assert n2n("-q", "eval", "run/last.pth").code == 0
    assert n2n("train", "--resume", "run", "--epochs", "1").code == 0


def test_run_ended_by_a_signal_resumes_to_the_same_bytes() -> None:
    keys = ("data.pairs=1000", "train.optimizer=Adam", "train.lr=0.01")
    words = ("--config", "tiny.toml", "--epochs", "8", *(word for key in keys for word in ("--set", key)))
    n2n("train", *words, "--out", "whole")
    with training(*words, "--out", "run") as process:
        wait_for("epoch 2/8", process)
        process.send_signal(SIGTERM)
        assert ended(process)[0] == 128 + SIGTERM
    assert 2 <= len(metrics_of(Run(Path("run")))) < 8
    assert n2n("train", "--resume", "run").code == 0
    assert left_by(Run(Path("run"))) == left_by(Run(Path("whole")))


def test_signal_ignored_by_nohup_does_not_end_a_training() -> None:
    with training(*LONG, ignored=SIGHUP) as process:
        wait_for("epoch 1/", process)
        process.send_signal(SIGHUP)
        wait_for("epoch 9/", process)
        process.send_signal(SIGTERM)
        code, _, err, _ = ended(process)
    assert code == 128 + SIGTERM
    assert "SIGHUP" not in err


@pytest.mark.parametrize(
    ("keys", "progress"),
    [
        (SLOW_STEP, (1, 0)),  # in a step
        (("data.validation_pairs=6000",), (1, 4)),  # during validation
    ],
)
def test_training_ends_in_time_during_any_work(keys: tuple[str, ...], progress: tuple[int, int]) -> None:
    with slow_training(*keys) as process:
        process.send_signal(SIGTERM)
        code, out, err, seconds = ended(process)
    assert (code, out) == (128 + SIGTERM, "")
    assert seconds < SECONDS
    epoch, step = progress
    assert f"\n\nhint: step {step} of epoch {epoch} is saved: `n2n train --resume run` continues it\n" in err
    found = read_checkpoint("run/last.pth")["progress"]
    assert (found["epoch"], found["step"]) == progress
    assert not list(Path("run").glob(".*"))


@pytest.mark.parametrize(("number", "message"), [(SIGINT, "interrupted"), (SIGTERM, "stopped by SIGTERM")])
def test_training_ends_while_built_in_pictures_are_generated(number: Signals, message: str) -> None:
    with training("--epochs", "1") as process:
        before = wait_for("pictures: ", process)
        assert before.endswith("pictures: dead-leaves (generated on first use, which takes some seconds)\n")
        time.sleep(0.5)
        process.send_signal(number)
        code, out, err, seconds = ended(process)
    assert (code, out) == (128 + number, "")
    assert seconds < SECONDS
    assert err.endswith(f"error: {message}\n\nhint: nothing was saved yet: `runs/default-1` holds no checkpoint\n")
    assert not list(Path("runs").iterdir())
    assert not Path("cache").exists()


@pytest.mark.parametrize(("first", "second"), [(SIGINT, SIGINT), (SIGTERM, SIGINT)])
def test_second_signal_ends_a_training_at_once(first: Signals, second: Signals) -> None:
    with slow_training(*SLOW_STEP) as process:
        process.send_signal(SIGTERM)
        assert ended(process)[0] == 128 + SIGTERM
    before = {path: path.read_bytes() for path in Path("run").iterdir() if path.name != "config.toml"}
    with training("--resume", "run") as process:
        wait_for(STARTED, process)
        time.sleep(0.5)
        process.send_signal(first)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(second)
        code, out, err, seconds = ended(process)
    assert (code, out) == (128 + first, "")
    assert seconds < 2
    assert err.endswith("hint: the last checkpoint is kept: `n2n train --resume run` continues it\n")
    assert {path: path.read_bytes() for path in Path("run").iterdir() if path.name != "config.toml"} == before


def test_closed_terminal_loses_nothing() -> None:
    """The process has its own terminal, like one that ssh opens."""
    process, terminal = pty.fork()
    if process == 0:
        default_signals()
        os.environ.update(environment())
        os.execv(sys.executable, [sys.executable, "-m", "n2n_cli", "train", *LONG, "--threads", "1"])
    seen = b""
    while b"epoch 2/" not in seen:
        seen += os.read(terminal, 65536)
    os.close(terminal)
    start = time.monotonic()
    while (status := os.waitpid(process, os.WNOHANG))[0] == 0:
        assert time.monotonic() < start + SECONDS
        time.sleep(0.02)
    assert os.waitstatus_to_exitcode(status[1]) == 128 + SIGHUP
    progress = read_checkpoint("run/last.pth")["progress"]
    assert (progress["epoch"], progress["step"]) > (2, 0)
    assert not Path("run/lock").exists()


def test_second_training_in_one_folder_is_refused() -> None:
    with training(*LONG) as process:
        wait_for("epoch 1/", process)
        code, message, hint = failure("train", "--resume", "run")
        assert (code, message) == (
            2,
            f"another training writes to `run`: process {process.pid} on {os.uname().nodename}",
        )
        assert hint == "wait for it to end, or take another folder: `--out FOLDER`"
        assert failure("train", "--config", "tiny.toml", "--out", "run", "--force")[:2] == (code, message)
        process.kill()
    assert Path("run/lock").exists()
    assert n2n("train", "--resume", "run", "--epochs", "1").code == 0
    assert not Path("run/lock").exists()
    Model.from_checkpoint("run/best.pth")


# A full disk


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
from n2n_cli.cli.app import main
main()
"""


@pytest.mark.parametrize("room", [0, 100, 2000, 2700])
def test_full_disk_keeps_the_old_files(room: int) -> None:
    n2n("train", "--config", "tiny.toml", "--epochs", "1", "--out", "run")
    sizes = {path.name: path.stat().st_size for path in Path("run").iterdir()}
    assert room < sizes["last.pth"]
    before = {path: path.read_bytes() for path in Path("run").iterdir() if path.suffix == ".pth"}
    words = ("--quiet", "train", "--resume", "run", "--epochs", "3", "--checkpoint-minutes", "1e-9")
    command = [sys.executable, "-c", LIMITED, str(room), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    text = (
        r"error: `run/(last.pth|config.toml)` cannot be written: File too large\n\nhint: check that its folder exists, "
    )
    assert re.match(text, done.stderr), done.stderr
    assert len(done.stderr.splitlines()) == 3
    assert {path.name for path in Path("run").iterdir()} == set(sizes)
    assert {path: path.read_bytes() for path in Path("run").iterdir() if path.suffix == ".pth"} == before
    assert len(metrics_of(Run(Path("run")))) == 1
    assert n2n("train", "--resume", "run", "--epochs", "3").code == 0
