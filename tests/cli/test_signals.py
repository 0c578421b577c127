"""Commands in processes of their own, and the signals that end them."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, Signals
from typing import TypeAlias

import numpy as np
import pytest
from PIL import Image

from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.cli.signals import StopSignals
from n2n_cli.models.model import Model
from n2n_cli.training.run_folder import Run
from tests.cli import environment, failure, n2n, workplace
from tests.trainings import left_by, metrics_of

PACES = {
    "plain": "",
    "slow epochs": """
from n2n_cli.training.records import Epoch
from n2n_cli.cli import train_progress
line = train_progress._line
train_progress._line = lambda record: (time.sleep(0.3), line(record))[1]
""",
    # Each step has five parts, one a picture.
    "slow steps": """
from n2n_cli.engine.replica import Replica
accumulate = Replica.accumulate
def slow(*words):
    print("in a step", file=sys.stderr, flush=True)
    time.sleep(0.7)
    return accumulate(*words)
Replica.accumulate = slow
""",
    "a step that never ends": """
from n2n_cli.engine.replica import Replica
def slow(*words):
    print("in a step", file=sys.stderr, flush=True)
    time.sleep(60)
Replica.accumulate = slow
""",
    "slow writing": """
import os
def slow(descriptor):
    print("writing", file=sys.stderr, flush=True)
    time.sleep(60)
os.fsync = slow
""",
    **{
        f"a bar that stops at its {when}": f"""
import contextlib, os, signal
from n2n_cli.cli import denoise_results
@contextlib.contextmanager
def stopping(count):
    if "{when}" == "enter":
        os.kill(os.getpid(), signal.SIGTERM)
    yield None
    os.kill(os.getpid(), signal.SIGTERM)
denoise_results.bar = stopping
"""
        for when in ("enter", "exit")
    },
    "slow second picture": """
import os
fsync, seen = os.fsync, []
def slow(descriptor):
    seen.append(descriptor)
    if len(seen) == 3:  # each picture has two: the file's and its folder's
        print("second", file=sys.stderr, flush=True)
        time.sleep(60)
    fsync(descriptor)
os.fsync = slow
""",
    "slow measuring": """
from n2n_cli.evaluation.held_out import HeldOut
errors = HeldOut.errors
def slow(*words):
    for error in errors(*words):
        print("measured one", file=sys.stderr, flush=True)
        time.sleep(0.5)
        yield error
HeldOut.errors = slow
""",
}
PROGRAM = """
import sys, time
{pace}
from n2n_cli.cli.app import main
sys.argv[0] = "n2n"
main()
"""
Started: TypeAlias = AbstractContextManager[subprocess.Popen[str]]
SECONDS = 5.0
"""In which a training ends that was asked to."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    workplace(tmp_path)
    return tmp_path


def training(*words: str, pace: str = "plain", ignored: Signals | None = None) -> Started:
    """A training in a process of its own, which is no more after the block."""
    return started("train", *words, "--threads", "1", pace=pace, ignored=ignored)


@contextmanager
def started(*words: str, pace: str = "plain", ignored: Signals | None = None) -> Iterator[subprocess.Popen[str]]:
    """A command in a process of its own, which is no more after the block."""

    def ignore() -> None:
        if ignored is not None:
            signal.signal(ignored, signal.SIG_IGN)

    command = [sys.executable, "-c", PROGRAM.format(pace=PACES[pace]), *words]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(  # type: ignore[call-overload]
        command, text=True, env=environment(), preexec_fn=ignore, **streams
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(start: str, process: subprocess.Popen[str]) -> str:
    """Everything on stderr up to a line that starts so."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith(start):
            return "".join(lines)
    raise AssertionError("".join(lines))


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str, float]:
    """Exit code, stdout, the rest of stderr, and the seconds that it took to end."""
    start = time.monotonic()
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err, time.monotonic() - start


LONG = ("--config", "tiny.toml", "--epochs", "100000", "--out", "run")
SAVED = r"step \d of epoch \d+ is saved: `n2n train --resume run` goes on"


@pytest.mark.parametrize(
    ("number", "message"),
    [(SIGINT, "interrupted"), (SIGTERM, "stopped by SIGTERM"), (SIGHUP, "stopped by SIGHUP")],
)
def test_a_signal_lets_it_save_and_end(number: Signals, message: str) -> None:
    with training(*LONG) as process:
        wait_for("epoch 2/", process)
        process.send_signal(number)
        code, out, err, seconds = ended(process)
    assert (code, out) == (128 + number, "")
    assert seconds < SECONDS
    lines = [line for line in err.splitlines() if not line.startswith("epoch ")]
    assert lines[:3] == [
        f"{number.name}: the step is finished and saved; once more ends at once",
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
    assert n2n("train", "--resume", "run", "--epochs", "1").code == 0


def test_a_run_that_a_signal_ended_goes_on_to_the_same_bytes() -> None:
    words = ("--config", "tiny.toml", "--epochs", "8", "--set", "train.optimizer=Adam", "--set", "train.lr=0.01")
    n2n("train", *words, "--out", "whole")
    with training(*words, "--out", "run", pace="slow epochs") as process:
        wait_for("epoch 2/8", process)
        process.send_signal(SIGTERM)
        assert ended(process)[0] == 128 + SIGTERM
    assert 2 <= len(metrics_of(Run(Path("run")))) < 8
    assert n2n("train", "--resume", "run").code == 0
    assert left_by(Run(Path("run"))) == left_by(Run(Path("whole")))


def test_what_nohup_ignores_does_not_end_it() -> None:
    with training(*LONG, ignored=SIGHUP) as process:
        wait_for("epoch 1/", process)
        process.send_signal(SIGHUP)
        wait_for("epoch 9/", process)
        process.send_signal(SIGTERM)
        code, _, err, _ = ended(process)
    assert code == 128 + SIGTERM
    assert "SIGHUP" not in err


@pytest.mark.parametrize(
    ("pace", "line", "progress"),
    [("slow steps", "in a step", (1, 0)), ("slow measuring", "measured one", (1, 4))],
)
def test_it_ends_in_time_whatever_it_is_at(pace: str, line: str, progress: tuple[int, int]) -> None:
    with training(*LONG, pace=pace) as process:
        wait_for(line, process)
        process.send_signal(SIGTERM)
        code, out, err, seconds = ended(process)
    assert (code, out) == (128 + SIGTERM, "")
    assert seconds < SECONDS
    epoch, step = progress
    assert f"\n\nhint: step {step} of epoch {epoch} is saved: `n2n train --resume run` goes on\n" in err
    found = read_checkpoint("run/last.pth")["progress"]
    assert (found["epoch"], found["step"]) == progress
    assert not list(Path("run").glob(".*"))


def test_it_ends_while_the_built_in_pictures_are_made() -> None:
    with training("--epochs", "1") as process:
        wait_for("pictures: dead-leaves", process)
        time.sleep(0.5)
        process.send_signal(SIGTERM)
        code, out, err, seconds = ended(process)
    assert (code, out) == (128 + SIGTERM, "")
    assert seconds < SECONDS
    assert err.endswith(
        "error: stopped by SIGTERM\n\nhint: nothing was saved yet: `runs/default-1` holds no checkpoint\n"
    )
    assert not list(Path("runs").iterdir())
    assert not Path("cache").exists()


@pytest.mark.parametrize(("first", "second"), [(SIGINT, SIGINT), (SIGTERM, SIGINT)])
def test_a_second_signal_ends_it_at_once(first: Signals, second: Signals) -> None:
    n2n("train", "--config", "tiny.toml", "--epochs", "1", "--out", "run")
    before = {path: path.read_bytes() for path in Path("run").iterdir() if path.name != "config.toml"}
    with training("--resume", "run", "--epochs", "2", pace="a step that never ends") as process:
        wait_for("in a step", process)
        process.send_signal(first)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(second)
        code, out, err, seconds = ended(process)
    assert (code, out) == (128 + first, "")
    assert seconds < 2
    assert err.endswith("hint: what was saved before is kept: `n2n train --resume run` goes on\n")
    assert {path: path.read_bytes() for path in Path("run").iterdir() if path.name != "config.toml"} == before


def test_a_terminal_that_is_closed_loses_nothing() -> None:
    """The process has a terminal of its own, as one that ssh started."""
    process, terminal = pty.fork()
    if process == 0:
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


# In this process


def takes_everything_for_damage() -> None:
    """As the checkpoint's reader does with what a damaged file makes of the library below it."""
    try:
        os.kill(os.getpid(), SIGTERM)
        time.sleep(5)
    except Exception as error:
        raise AssertionError from error


def test_a_signal_is_no_error_that_is_taken_for_another() -> None:
    before = signal.getsignal(SIGTERM)
    with StopSignals() as signals, pytest.raises(KeyboardInterrupt):
        takes_everything_for_damage()
    assert signals.received is SIGTERM
    ending = signals.interruption("go on")
    assert (ending.exit_code, ending.message, ending.hint) == (143, "stopped by SIGTERM", "go on")
    assert signal.getsignal(SIGTERM) is before


def test_a_signal_that_waits_is_told_of_once_and_by_whoever_asks(capsys: pytest.CaptureFixture[str]) -> None:
    with StopSignals() as signals:
        signals.saves = True
        assert not signals()
        os.kill(os.getpid(), SIGHUP)
        time.sleep(0.01)
        assert capsys.readouterr().err == ""  # it may have interrupted another print
        assert signals()
        assert signals()
    assert capsys.readouterr().err == "SIGHUP: the step is finished and saved; once more ends at once\n"
    assert signals.interruption("").exit_code == 129


def test_two_trainings_on_one_folder() -> None:
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
def test_a_full_disk_leaves_what_was_there(room: int) -> None:
    n2n("train", "--config", "tiny.toml", "--epochs", "1", "--out", "run")
    sizes = {path.name: path.stat().st_size for path in Path("run").iterdir()}
    assert room < sizes["last.pth"]
    before = {path: path.read_bytes() for path in Path("run").iterdir() if path.suffix == ".pth"}
    words = ("--quiet", "train", "--resume", "run", "--epochs", "3", "--checkpoint-minutes", "1e-9")
    command = [sys.executable, "-c", LIMITED, str(room), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    told = (
        r"error: `run/(last.pth|config.toml)` cannot be written: File too large\n\nhint: see that its folder exists, "
    )
    assert re.match(told, done.stderr), done.stderr
    assert len(done.stderr.splitlines()) == 3
    assert {path.name for path in Path("run").iterdir()} == set(sizes)
    assert {path: path.read_bytes() for path in Path("run").iterdir() if path.suffix == ".pth"} == before
    assert len(metrics_of(Run(Path("run")))) == 1
    assert n2n("train", "--resume", "run", "--epochs", "3").code == 0


@pytest.mark.parametrize(
    ("number", "message"),
    [(SIGINT, "interrupted"), (SIGTERM, "stopped by SIGTERM"), (SIGHUP, "stopped by SIGHUP")],
)
def test_a_signal_to_denoise_leaves_no_part_of_a_file(number: Signals, message: str, here: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(picture).save("in.png")
    (here / "out.png").write_bytes(b"as it was")
    before = sorted(here.iterdir())
    with started("denoise", "in.png", "out.png", pace="slow writing") as process:
        wait_for("writing", process)
        process.send_signal(number)
        code, out, err, seconds = ended(process)
    assert (code, out) == (128 + number, "")
    assert seconds < SECONDS
    assert err == f"error: {message}\n\nhint: no file is left half written\n"
    assert sorted(here.iterdir()) == before
    assert (here / "out.png").read_bytes() == b"as it was"


@pytest.mark.parametrize("when", ["enter", "exit"])
def test_a_signal_while_the_bar_comes_or_goes_ends_denoise_too(when: str, here: Path) -> None:
    Image.new("RGB", (8, 8)).save("in.png")
    with started("denoise", "in.png", "out.png", pace=f"a bar that stops at its {when}") as process:
        code, _, err, _ = ended(process)
    assert code == 143
    assert err.endswith("error: stopped by SIGTERM\n\nhint: no file is left half written\n")


def test_a_signal_tells_how_many_pictures_are_done(here: Path) -> None:
    for folder in ("in", "out"):
        (here / folder).mkdir()
    for name in ("a", "b", "c"):
        Image.new("RGB", (8, 8)).save(here / "in" / f"{name}.png")
    with started("denoise", "in", "out", pace="slow second picture") as process:
        wait_for("second", process)
        process.send_signal(SIGTERM)
        code, _, err, _ = ended(process)
    assert code == 143
    assert "error: stopped by SIGTERM: 1 of 3 pictures are done\n\nhint: no file is left half written; " in err
    assert sorted(path.name for path in (here / "out").iterdir()) == ["a.png"]
