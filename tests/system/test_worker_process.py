"""Worker processes: what they get, what they answer, and how they end."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from n2n_cli.system.worker_process import Connection, WorkerProcess


@contextmanager
def working(*words: Any, **options: Any) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(*words, **options)
    try:
        yield worker
    finally:
        worker.end()


def echo(parent: Connection, *arguments: Any) -> None:
    """Report the arguments, then repeat each line until the parent is gone."""
    parent.send(json.dumps(arguments).encode())
    while (line := parent.receive()) is not None:
        parent.send(line)


def test_arguments_and_lines_arrive_as_they_were() -> None:
    arguments = [1, 2.5, float("inf"), 'a\n"\udcff', None, [True, {"b": []}], "x" * 1_000_000]
    with working(echo, *arguments) as worker:
        assert json.loads(worker.receive() or b"") == arguments
        for line in (b"", b"a", b"\x00\xff", b"x" * 10_000):
            worker.send(line)
            assert worker.receive() == line


def test_news_are_waited_for_no_longer_than_asked() -> None:
    with working(echo) as worker:
        assert worker.has_news(60)
        assert worker.receive() == b"[]"
        began = time.monotonic()
        assert not worker.has_news()
        assert not worker.has_news(0.05, spinning=0.05)
        assert 0.1 <= time.monotonic() - began < 10
        worker.send(b"a")
        assert worker.has_news(None, spinning=0.01)


def test_a_worker_ends_when_its_parent_is_gone() -> None:
    with working(echo) as worker:
        assert worker.end(patience=60) == 0


def test_a_worker_that_does_not_end_is_killed() -> None:
    with working(sleep) as worker:
        assert worker.receive() == b"asleep"
        assert worker.end(patience=0.1) == -signal.SIGKILL


def sleep(parent: Connection) -> None:
    parent.send(b"asleep")
    time.sleep(600)


def test_the_end_of_a_worker_is_noticed_also_within_a_line() -> None:
    with working(leave_a_piece) as worker:
        assert worker.receive() == b"whole"
        assert worker.receive() is None
        worker.send(b"to nobody")
        assert worker.receive() is None
        assert worker.end(patience=60) == 3


def leave_a_piece(parent: Connection) -> None:
    os.write(1, b"whole\npiece")
    os._exit(3)


def test_signals_for_all_do_not_reach_a_worker_but_its_parent() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with working(echo) as worker:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # also while it starts
            os.kill(worker.pid, number)
        assert worker.receive() == b"[]"
        assert os.getsid(worker.pid) == worker.pid != os.getsid(0)


@pytest.mark.parametrize("quiet", [False, True])
def test_errors_are_printed_unless_it_is_quiet(quiet: bool, capfd: pytest.CaptureFixture[str]) -> None:
    with working(fail, quiet=quiet) as worker:
        assert worker.receive() is None
        assert worker.end(patience=60) == 1
    assert capfd.readouterr().err.endswith("ZeroDivisionError: of a worker\n" if not quiet else "")
    assert (capfd.readouterr().err == "") or not quiet


def fail(parent: Connection) -> None:
    raise ZeroDivisionError("of a worker")


def test_a_worker_finds_what_its_parent_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, "/here 'and' there"])
    with working(report_path) as worker:
        assert json.loads(worker.receive() or b"") == sys.path


def report_path(parent: Connection) -> None:
    parent.send(json.dumps(sys.path).encode())


def test_files_are_inherited() -> None:
    read, write = os.pipe()
    with working(write_to, write, files=[write]) as worker:
        os.close(write)
        assert os.read(read, 10) == b"written"
        assert worker.end(patience=60) == 0
    os.close(read)


def write_to(parent: Connection, file: int) -> None:
    os.write(file, b"written")
