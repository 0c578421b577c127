"""Trainings in worker processes: messages and ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.config import Config
from n2n_cli.sweeps.workers import Ended, Message, Worker, ended_by
from n2n_cli.training.loop import train
from n2n_cli.training.records import Epoch, Started
from n2n_cli.training.run_folder import Run
from tests.trainings import left_by, new_run, small_config, write_leaves

BARE = [{"type": "Conv2d", "in_channels": 3, "out_channels": 3, "kernel_size": 1}]


@contextmanager
def working(config: Config, run: Run) -> Iterator[Worker]:
    worker = Worker(config, run, 1)
    try:
        yield worker
    finally:
        worker.end()


def messages_of(worker: Worker) -> list[Message]:
    messages = [worker.message()]
    while not isinstance(messages[-1], Ended):
        messages.append(worker.message())
    return messages


def until_epoch(worker: Worker, number: int) -> None:
    while not (isinstance(message := worker.message(), Epoch) and message.epoch == number):
        assert not isinstance(message, Ended), message


def test_worker_trains_as_this_process_and_reports(tmp_path: Path) -> None:
    config = small_config(write_leaves(tmp_path / "photos"))
    run, twin = new_run(tmp_path / "run"), new_run(tmp_path / "twin")
    with working(config, run) as worker:
        messages = messages_of(worker)
        assert worker.end(10) == 0
        list(train(config, twin))
        assert isinstance(messages[0], Started)
        assert [message.epoch for message in messages if isinstance(message, Epoch)] == [1, 2, 3]
        assert messages[-1] == Ended("done")
        assert left_by(run) == left_by(twin)


def test_worker_saves_when_closed_and_another_resumes(tmp_path: Path) -> None:
    config = small_config(write_leaves(tmp_path / "photos"), epochs=100_000)
    run = new_run(tmp_path / "run")
    with working(config, run) as worker:
        until_epoch(worker, 1)
        os.kill(worker.pid, signal.SIGINT)  # Ctrl-C sends it to all processes of a terminal
        os.kill(worker.pid, signal.SIGTERM)
        until_epoch(worker, 3)
        worker.hang_up()
        assert messages_of(worker)[-1] == Ended("unfinished")
        assert worker.end(10) == 0
    done = read_checkpoint(run.last)["progress"]["epoch"]
    with working(config, run) as worker:
        started = worker.message()
        assert isinstance(started, Started)
        assert started.done >= (done - 1) * started.steps > 0


def test_worker_saves_when_its_parent_is_gone(tmp_path: Path) -> None:
    config = small_config(write_leaves(tmp_path / "photos"), epochs=100_000)
    run = new_run(tmp_path / "run")
    with working(config, run) as worker:
        until_epoch(worker, 2)
        assert worker.end(10) == 0  # messages are lost, as if this process had ended
    assert read_checkpoint(run.last)["progress"]["epoch"] > 2
    assert not run.lock.exists()


def test_infinite_loss_ends_as_diverged(tmp_path: Path) -> None:
    config = small_config(write_leaves(tmp_path / "photos"), layers=BARE, lr=1000, batch_size=1)
    with working(config, new_run(tmp_path / "run")) as worker:
        last = messages_of(worker)[-1]
    assert isinstance(last, Ended)
    assert last.status == "diverged"
    assert "training stopped at step " in (last.reason or "")


def test_failure_has_reason_hint_and_traceback(tmp_path: Path) -> None:
    with working(small_config(tmp_path / "missing"), new_run(tmp_path / "run")) as worker:
        last = messages_of(worker)[-1]
    assert isinstance(last, Ended)
    assert last.status == "failed"
    assert last.reason == f"there is no folder `{tmp_path / 'missing'}`"
    assert last.hint
    assert "Traceback" in last.trace


def test_killed_worker_ends_as_failed(tmp_path: Path) -> None:
    config = small_config(write_leaves(tmp_path / "photos"), epochs=100_000)
    with working(config, new_run(tmp_path / "run")) as worker:
        until_epoch(worker, 1)
        os.kill(worker.pid, signal.SIGKILL)
        last = messages_of(worker)[-1]
    hint = "if memory is short: fewer `--jobs`"
    assert last == Ended("failed", "its process was ended by SIGKILL", hint)


@pytest.mark.parametrize(("error", "reason"), [(MemoryError(), "out of memory"), (KeyError("x"), "KeyError: 'x'")])
def test_unexpected_errors_end_as_failed(error: Exception, reason: str) -> None:
    assert (ended_by(error).status, ended_by(error).reason) == ("failed", reason)
