"""Commands that mpiexec starts on several ranks, shared by several test files."""

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
    """Output of the processes and exit code of their launcher."""

    code: int
    out: str
    err: str

    @property
    def error_lines(self) -> list[str]:
        """Lines that n2n wrote: launchers write their own to both streams."""
        return [line for line in self.err.splitlines() if line.startswith(("error: ", "hint: "))]


@functools.cache
def launcher() -> tuple[str, ...]:
    """Command of mpiexec.

    Without it a test is skipped, or fails if N2N_REQUIRE_MPI is set.
    """
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None or importlib.util.find_spec("mpi4py") is None:
        if os.environ.get("N2N_REQUIRE_MPI"):
            pytest.fail("N2N_REQUIRE_MPI is set, and there is no mpiexec or no mpi4py")
        pytest.skip("MPI is not installed: pip install mpi4py mpich")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    return (found, "--oversubscribe", "--allow-run-as-root") if "Open MPI" in version else (found,)


def command(*words: str, patch: str = "") -> list[str]:
    """Command that runs `patch`, and then `n2n` with these arguments.

    In `patch`, RANK is the rank of the process.
    """
    return [sys.executable, "-c", PROGRAM.format(patch=patch), *words]


@contextmanager
def launched(ranks: int, *words: str, patch: str = "") -> Iterator[subprocess.Popen[str]]:
    """Context of a running job, which ends with the block."""
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
    """Run a job to its end."""
    with launched(ranks, *words, patch=patch) as process:
        return ended(process)


def wait_for(*starts: str, process: subprocess.Popen[str]) -> str:
    """Wait until stderr has a line with each of these beginnings.

    They may come in any order; the last of these lines is returned.
    """
    assert process.stderr is not None
    seen, missing = "", set(starts)
    for line in process.stderr:
        seen += line
        missing -= {start for start in missing if line.startswith(start)}
        if not missing:
            return line
    raise AssertionError(seen)
