"""Python environments, filled by pip and measured, and commands with a time limit."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

UNWANTED = ("PYTHONPATH", "VIRTUAL_ENV", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Environment variables that would add packages to a command's own, or choose its BLAS kernels."""


class FailedError(Exception):
    """A command failed or exceeded its time limit; the message is one line."""


class Installed(NamedTuple):
    """Packages that pip installed.

    Attributes
    ----------
    versions : dict
        Versions of the requested packages, and of PyTorch if it was a dependency.
    archives, from_disk : float
        Megabytes (10^6 bytes) that pip read, and the part of them from local files.
    """

    versions: dict[str, str]
    archives: float
    from_disk: float


def new_environment(folder: Path) -> Path:
    """Create a virtual environment in `folder`, with this Python and pip."""
    run([sys.executable, "-m", "venv", str(folder)])
    return folder


def python_of(environment: Path) -> str:
    return str(environment / "bin" / "python")


def install(environment: Path, packages: Sequence[str]) -> Installed:
    """Run `pip install`, as configured on this machine but without its cache.

    Raises
    ------
    FailedError
        When pip fails or exceeds the time limit.
    """
    report = environment / "installed.json"
    words = ("-m", "pip", "install", "--no-cache-dir", "--progress-bar", "off", "--report", str(report), *packages)
    downloads = downloads_of(run([python_of(environment), *words]))
    items = json.loads(report.read_text())["install"]
    report.unlink()
    versions = {
        item["metadata"]["name"]: item["metadata"]["version"]
        for item in items
        if item["requested"] or item["metadata"]["name"] == "torch"
    }
    from_disk = sum(_bytes_on_disk(item["download_info"]["url"]) for item in items) / 1e6
    return Installed(versions, downloads + from_disk, from_disk)


@dataclass(frozen=True)
class Installer:
    """Functions that create an environment and install packages in it."""

    new_environment: Callable[[Path], Path] = new_environment
    install: Callable[[Path, Sequence[str]], Installed] = install


PIP = Installer()


def downloads_of(output: str) -> float:
    """Sum the downloads in pip's output, in megabytes, installed or not."""
    units = {"bytes": 1e-6, "kB": 1e-3, "MB": 1.0, "GB": 1e3}
    total = 0.0
    for words in (line.split() for line in output.splitlines()):
        if len(words) == 4 and words[0] == "Downloading" and words[3][:-1] in units:
            total += float(words[2][1:]) * units[words[3][:-1]]
    return total


def _bytes_on_disk(url: str) -> int:
    address = urlsplit(url)
    return Path(unquote(address.path)).stat().st_size if address.scheme == "file" else 0


def megabytes(folder: Path) -> float:
    """Size of all files below a folder, in megabytes (10^6 bytes), without links."""
    found = (path.lstat() for path in folder.rglob("*"))
    return sum(status.st_size for status in found if stat.S_ISREG(status.st_mode)) / 1e6


def run(words: Sequence[str], *, limit: float = 660.0, variables: Mapping[str, str] | None = None) -> str:
    """Run a command and return its output, stdout and stderr together.

    Parameters
    ----------
    limit : float
        Time limit, in seconds, after which the command and its child processes are killed.
    variables : mapping of str to str, optional
        Environment variables to add to those of this process, without UNWANTED.

    Raises
    ------
    FailedError
        When the command does not exist, fails, or exceeds the time limit.
    """
    name = Path(words[0]).name
    kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    try:
        process = subprocess.Popen(
            list(words),
            cwd=Path(__file__).parents[2],  # outside the checkout, from which Python would import
            env=kept | dict(variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise FailedError(f"`{name}` cannot be started: {error.strerror}") from None
    try:
        output, _ = process.communicate(timeout=limit)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        raise FailedError(f"`{name}` did not end in {limit:g} s") from None
    if process.returncode:
        raise FailedError(f"`{name}` ended with {process.returncode}: {last_line(output)}")
    return output


def last_line(output: str, length: int = 200) -> str:
    """Last line that is not empty, up to `length` characters."""
    return next((text.strip()[:length] for text in reversed(output.splitlines()) if text.strip()), "")
