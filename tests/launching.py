"""Commands that mpiexec starts several times, for the test files that need some."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli import environment
from tests.signals import default_signals

PROGRAM = """
import os, sys, time
RANK = int(os.environ.get("PMI_RANK") or os.environ.get("OMPI_COMM_WORLD_RANK") or 0)
{patch}
from n2n_cli.cli.app import main
sys.argv[0] = "n2n"
main()
"""
SECONDS = 60.0


class Ended(NamedTuple):
    """What the processes wrote, and how their launcher ended."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> list[str]:
        """The lines that are ours: launchers have theirs, too, on either stream."""
        return [line for line in self.err.splitlines() if line.startswith(("error: ", "hint: "))]


@functools.cache
def launcher() -> tuple[str, ...]:
    """mpiexec, beside this Python or on the path; a test is skipped without, or fails where it is required."""
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None or importlib.util.find_spec("mpi4py") is None:
        if os.environ.get("N2N_REQUIRE_MPI"):
            pytest.fail("N2N_REQUIRE_MPI is set, and there is no mpiexec or no mpi4py")
        pytest.skip("MPI is not installed: pip install mpi4py mpich")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    return (found, "--oversubscribe", "--allow-run-as-root") if "Open MPI" in version else (found,)


def command(*words: str, patch: str = "") -> list[str]:
    """`n2n` with these words, after Python has run `patch`, where RANK is the process's number."""
    return [sys.executable, "-c", PROGRAM.format(patch=patch), *words]


@contextmanager
def launched(ranks: int, *words: str, patch: str = "") -> Iterator[subprocess.Popen[str]]:
    """A job of so many ranks, which is no more after the block."""
    process = subprocess.Popen(
        [*launcher(), "-n", str(ranks), *command(*words, patch=patch)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=default_signals,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> Ended:
    out, err = process.communicate(timeout=SECONDS)
    return Ended(process.returncode, out, err)


def launch(ranks: int, *words: str, patch: str = "") -> Ended:
    """Run a job of so many ranks to its end."""
    with launched(ranks, *words, patch=patch) as process:
        return ended(process)


def wait_for(*starts: str, process: subprocess.Popen[str]) -> str:
    """Wait until stderr has had a line for each of these starts, in any order; gives the last."""
    assert process.stderr is not None
    seen, missing = "", set(starts)
    for line in process.stderr:
        seen += line
        missing -= {start for start in missing if line.startswith(start)}
        if not missing:
            return line
    raise AssertionError(seen)
