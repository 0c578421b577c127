"""Messages on stderr, results on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from n2n_cli.errors import N2NError, printable
from n2n_cli.system.plugins import loaded_plugins

if TYPE_CHECKING:
    from rich.console import Console

_LESS_MEMORY = {
    "train": "a smaller `--batch-size`, or fewer `--threads`",
    "denoise": "`--max-memory 500MB`, fewer `--threads`, or a smaller picture",
}
"""Hints for a command that runs out of memory."""


@dataclass
class Settings:
    """Options accepted before and after the command.

    Attributes
    ----------
    quiet : bool
        Print only errors and requested results.
    verbose : bool
        Print a line for each of several pictures, and the log of `--self`.
    debug : bool
        Print the traceback of an error.
    command : str
        Command as the user called it, for hints: "n2n train".
    """

    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    command: str = "n2n"

    def reset(self) -> None:
        """Set all options to their defaults."""
        for option in fields(self):
            setattr(self, option.name, option.default)


settings = Settings()


class InterruptionError(N2NError):
    """Interruption of the command by Ctrl-C, SIGTERM or SIGHUP."""

    exit_code = 130


def stderr() -> Console:
    """Make a rich console on stderr, which prints plain text if it is no terminal."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def shows_progress() -> bool:
    """True if stderr is a terminal that can move its cursor, unless `--quiet`."""
    if settings.quiet or sys.stderr is None or not sys.stderr.isatty():
        return False
    return not stderr().is_dumb_terminal


def log(message: str) -> None:
    """Print a one-line message on stderr, unless `--quiet`."""
    if not settings.quiet and sys.stderr is not None:  # None if the caller has closed it
        with suppress(OSError):  # a closed terminal or a full disk must not stop the work
            # One write for the line and its end, so that lines of other processes cannot come between.
            print(f"{printable(message)}\n", end="", file=sys.stderr, flush=True)


def result(line: str) -> None:
    """Print a one-line result on stdout and flush it, for readers of a pipe.

    Raises
    ------
    N2NError
        When the line cannot be written.
    BrokenPipeError
        When the reader has gone.
    """
    with _writing():
        print(line, flush=True)


def confirm(line: str) -> None:
    """Print one line on stdout about a written file, unless `--quiet`.

    `--quiet` silences it because cron mails all output. Raises as `result` does.
    """
    if not settings.quiet:
        result(line)


def result_bytes(data: bytes | memoryview) -> None:
    """Write a binary result to stdout.

    Raises
    ------
    N2NError
        When the data cannot be written.
    BrokenPipeError
        When the reader has gone.
    """
    with _writing():
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard_stdout()
        raise N2NError(
            f"the result cannot be written to stdout: {error.strerror}", hint="see that its disk has space"
        ) from None


def _discard_stdout() -> None:
    """Discard unwritten output; Python would try to write it again at exit, and fail."""
    with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def explain(error: Exception) -> tuple[str, str | None]:
    """Return the message and the hint that a user reads for an error."""
    if isinstance(error, N2NError):
        return error.message, error.hint
    if isinstance(error, MemoryError):
        hint = _LESS_MEMORY.get(settings.command.split()[-1], "end other programs, or take smaller pictures")
        return "out of memory", hint
    if isinstance(error, OSError):
        place = "" if error.filename is None else f"`{error.filename}`: "
        return f"{place}{error.strerror or error}", "`n2n --debug ...` shows where"
    whose = "n2n or of a plugin" if loaded_plugins() else "n2n"
    return f"{type(error).__name__}: {error}", f"this is a fault of {whose}; `n2n --debug ...` shows where"


def complain(message: str, hint: str | None = None) -> None:
    """Print an error on stderr: one line, a blank line and the hint."""
    if sys.stderr is None:
        return
    with suppress(OSError):  # stderr itself cannot be written
        print(f"error: {printable(message)}", file=sys.stderr)
        if hint:
            print(f"\nhint: {printable(hint)}", file=sys.stderr)
        sys.stderr.flush()
