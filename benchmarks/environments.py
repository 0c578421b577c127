"""Environments of Python that are made empty, filled by pip and measured, and commands that end in time."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

UNWANTED = ("PYTHONPATH", "VIRTUAL_ENV", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Variables that would let a command find other packages than its own, or choose NumPy's kernels for it."""


class FailedError(Exception):
    """A command failed or did not end in time; the text is one line."""


class Installed(NamedTuple):
    """What pip did.

    Attributes
    ----------
    versions : dict
        Name and version of what was asked for, and of PyTorch where it came along.
    archives, from_disk : float
        Megabytes (10^6 bytes) that pip read, and the part of them that lay on this machine.
    """

    versions: dict[str, str]
    archives: float
    from_disk: float


def new_environment(folder: Path) -> Path:
    """An environment with this Python and nothing but pip, in `folder`."""
    run([sys.executable, "-m", "venv", str(folder)])
    return folder


def python_of(environment: Path) -> str:
    return str(environment / "bin" / "python")


def install(environment: Path, packages: Sequence[str]) -> Installed:
    """`pip install` as this machine has pip set up, but for its cache, which is not used.

    Raises
    ------
    FailedError
        When pip fails or takes too long.
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


def downloads_of(told: str) -> float:
    """Megabytes that pip says it downloads, also those that it then does not install."""
    units = {"bytes": 1e-6, "kB": 1e-3, "MB": 1.0, "GB": 1e3}
    total = 0.0
    for words in (line.split() for line in told.splitlines()):
        if len(words) == 4 and words[0] == "Downloading" and words[3][:-1] in units:
            total += float(words[2][1:]) * units[words[3][:-1]]
    return total


def _bytes_on_disk(url: str) -> int:
    address = urlsplit(url)
    return Path(unquote(address.path)).stat().st_size if address.scheme == "file" else 0


def megabytes(folder: Path) -> float:
    """Megabytes (10^6 bytes) of the files in a folder and those below; links are not followed."""
    found = (path.lstat() for path in folder.rglob("*"))
    return sum(status.st_size for status in found if stat.S_ISREG(status.st_mode)) / 1e6


def run(words: Sequence[str], *, limit: float = 660.0, variables: Mapping[str, str] | None = None) -> str:
    """Run a command to its end; all that it says, on either stream.

    Parameters
    ----------
    limit : float
        Seconds; what runs longer is ended, with all that it started.
    variables : mapping of str to str, optional
        Set beside those of this process; UNWANTED ones are not handed on.

    Raises
    ------
    FailedError
        When the command is not there, fails, or does not end in time.
    """
    name = Path(words[0]).name
    kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    try:
        process = subprocess.Popen(
            list(words),
            cwd=Path(__file__).parents[2],  # not the checkout, which Python would import from
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
        told, _ = process.communicate(timeout=limit)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        raise FailedError(f"`{name}` did not end in {limit:g} s") from None
    if process.returncode:
        raise FailedError(f"`{name}` ended with {process.returncode}: {last_line(told)}")
    return told


def last_line(told: str, length: int = 200) -> str:
    """The last line that is not empty, or the start of it."""
    return next((text.strip()[:length] for text in reversed(told.splitlines()) if text.strip()), "")
