"""Locks that keep a second training out of a folder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from n2n_cli.errors import UsageError
from n2n_cli.system.locks import locked

HOLDER = """
import sys, time
from pathlib import Path
from n2n_cli.system.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_lock_file_names_its_holder_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("process 1 on an older machine with a long name\n")
    with locked(path):
        assert path.read_text() == f"process {os.getpid()} on {os.uname().nodename}\n"
    assert not path.exists()
    with pytest.raises(ZeroDivisionError), locked(path):
        1 / 0  # noqa: B018
    assert not path.exists()


def test_error_names_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path):
        with pytest.raises(UsageError) as caught, locked(path):
            pass
        holder = f"process {os.getpid()} on {os.uname().nodename}"
        assert caught.value.message == f"another training writes to `{tmp_path}`: {holder}"
        assert caught.value.hint == "wait for it to end, or take another folder: `--out FOLDER`"
        for content, told in ((b"", ""), (b"\xff\n", ": \N{REPLACEMENT CHARACTER}"), (b"x" * 5000, ": " + 200 * "x")):
            path.write_bytes(content)
            with pytest.raises(UsageError) as caught, locked(path):
                pass
            assert caught.value.message == f"another training writes to `{tmp_path}`{told}"
    with locked(path):
        pass


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"process {process.pid} on "), locked(path):
            pass
        process.kill()
    assert path.exists()
    with locked(path):
        assert str(os.getpid()) in path.read_text()
    assert not path.exists()


def test_lock_file_removed_before_locking_is_created_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, made = tmp_path / "lock", []
    flock = pytest.importorskip("fcntl").flock

    def late(descriptor: int, operation: int) -> None:
        made.append(descriptor)
        if len(made) == 1:
            path.unlink()  # by the process that held it until now
        if len(made) == 2:
            path.unlink()
            path.touch()  # by another process
        flock(descriptor, operation)

    monkeypatch.setattr("fcntl.flock", late)
    with locked(path):
        assert len(made) == 3
        assert os.path.samestat(os.fstat(made[-1]), path.stat())


def test_one_thread_holds_the_lock_at_a_time(tmp_path: Path) -> None:
    path, inside, most, entered = tmp_path / "lock", 0, 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most, entered
        for _ in range(200):
            try:
                with locked(path):
                    with guard:
                        inside, entered = inside + 1, entered + 1
                        most = max(most, inside)
                    with guard:
                        inside -= 1
            except UsageError:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert entered > 20
    assert not path.exists()


@pytest.mark.parametrize(("number", "free"), [(errno.ENOLCK, True), (errno.EACCES, False), (errno.EAGAIN, False)])
def test_file_system_without_locks_grants_all(
    number: int, free: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    entered = False
    try:
        with locked(tmp_path / "lock"):
            entered = True
    except UsageError:
        pass
    assert entered is free


def test_lock_on_a_full_disk_has_no_holder_s_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with locked(tmp_path / "lock"), pytest.raises(UsageError) as caught, locked(tmp_path / "lock"):
        pass
    assert caught.value.message == f"another training writes to `{tmp_path}`"


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught, locked(tmp_path / "nowhere" / "lock"):
        pass
    assert caught.value.message == f"`{tmp_path}/nowhere/lock` cannot be written: No such file or directory"
    assert caught.value.hint == "another folder: `--out FOLDER`"
