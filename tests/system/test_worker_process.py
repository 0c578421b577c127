"""Worker processes: arguments, lines in both directions, and their end."""

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


def test_arguments_and_lines_arrive_unchanged() -> None:
    arguments = [1, 2.5, float("inf"), 'a\n"\udcff', None, [True, {"b": []}], "x" * 1_000_000]
    with working(echo, *arguments) as worker:
        assert json.loads(worker.receive() or b"") == arguments
        for line in (b"", b"a", b"\x00\xff", b"x" * 10_000):
            worker.send(line)
            assert worker.receive() == line


def test_has_news_waits_no_longer_than_its_timeout() -> None:
    with working(echo) as worker:
        assert worker.has_news(60)
        assert worker.receive() == b"[]"
        began = time.monotonic()
        assert not worker.has_news()
        assert not worker.has_news(0.05, spinning=0.05)
        assert 0.1 <= time.monotonic() - began < 10
        worker.send(b"a")
        assert worker.has_news(None, spinning=0.01)


def test_worker_ends_when_its_parent_is_gone() -> None:
    with working(echo) as worker:
        assert worker.end(patience=60) == 0


def test_worker_that_does_not_end_is_killed() -> None:
    with working(sleep) as worker:
        assert worker.receive() == b"asleep"
        assert worker.end(patience=0.1) == -signal.SIGKILL


def sleep(parent: Connection) -> None:
    parent.send(b"asleep")
    time.sleep(600)


def test_end_of_a_worker_is_detected() -> None:
    with working(leave) as worker:
        assert worker.receive() == b"leaving"
        assert worker.receive() is None
        worker.send(b"to nobody")
        assert worker.receive() is None
        assert worker.end(patience=60) == 3


def leave(parent: Connection) -> None:
    parent.send(b"leaving")
    sys.exit(3)


def test_an_incomplete_line_is_not_received() -> None:
    ends = os.pipe()
    with os.fdopen(ends[0], "rb", buffering=0) as read, os.fdopen(ends[1], "wb", buffering=0) as write:
        write.write(b"whole\npiece")
        write.close()
        connection = Connection(read, write)
        assert connection.receive() == b"whole"
        assert connection.receive() is None


def test_printed_text_of_a_worker_is_no_message(capfd: pytest.CaptureFixture[str]) -> None:
    with working(print_and_answer) as worker:
        assert worker.receive() == b"answer"
        assert worker.end(patience=60) == 0
    assert capfd.readouterr() == ("", "printed\n")


def print_and_answer(parent: Connection) -> None:
    print("printed", flush=True)
    parent.send(b"answer")


def test_worker_ignores_stopping_signals() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with working(echo) as worker:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # also during its start
            os.kill(worker.pid, number)
        assert worker.receive() == b"[]"
        assert os.getsid(worker.pid) == worker.pid != os.getsid(0)


@pytest.mark.parametrize("quiet", [False, True])
def test_errors_of_a_worker_are_printed_unless_quiet(quiet: bool, capfd: pytest.CaptureFixture[str]) -> None:
    with working(fail, quiet=quiet) as worker:
        assert worker.receive() is None
        assert worker.end(patience=60) == 1
    assert capfd.readouterr().err[-31:] == ("" if quiet else "ZeroDivisionError: of a worker\n")


def fail(parent: Connection) -> None:
    raise ZeroDivisionError("of a worker")


def test_worker_has_the_import_path_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
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
