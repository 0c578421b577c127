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
    """Options that stand before the command or behind it.

    Attributes
    ----------
    quiet : bool
        Only errors, and results that the command is for.
    verbose : bool
        A line for each of several pictures, and how each was learned from.
    debug : bool
        Errors come with their traceback.
    command : str
        As the user called it, for hints: "n2n train".
    """

    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    command: str = "n2n"

    def reset(self) -> None:
        """Set all to their defaults."""
        for option in fields(self):
            setattr(self, option.name, option.default)


settings = Settings()


class InterruptionError(N2NError):
    """A signal has stopped the command: Ctrl-C, SIGTERM or SIGHUP."""

    exit_code = 130


def stderr() -> Console:
    """Make a rich console on stderr: plain text off a terminal, honours NO_COLOR."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def shows_progress() -> bool:
    """True on a terminal that can move its cursor, unless `--quiet`."""
    if settings.quiet or sys.stderr is None or not sys.stderr.isatty():
        return False
    return not stderr().is_dumb_terminal


def tell(message: str) -> None:
    """Print a message of one line on stderr, unless `--quiet`."""
    if not settings.quiet and sys.stderr is not None:  # None where the caller has closed it
        with suppress(OSError):  # a terminal that was closed, a full disk: no reason to stop the work
            print(f"{printable(message)}\n", end="", file=sys.stderr, flush=True)  # whole: others may write there


def result(line: str) -> None:
    """Print a result of one line on stdout, at once: a reader of a pipe need not wait.

    Raises
    ------
    N2NError
        When it cannot be written.
    BrokenPipeError
        When the reader has gone.
    """
    with _writing():
        print(line, flush=True)


def confirm(line: str) -> None:
    """Print on stdout what was written, in one line, unless `--quiet`: cron mails all that a command prints.

    Raises as `result` does.
    """
    if not settings.quiet:
        result(line)


def result_bytes(data: bytes | memoryview) -> None:
    """Write a result that is not text to stdout.

    Raises
    ------
    N2NError
        When it cannot be written.
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
    """Discard what stdout still holds: Python would try again at exit, and fail."""
    with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def explain(error: Exception) -> tuple[str, str | None]:
    """Message and hint of an error."""
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
    """Print an error on stderr: one line, a blank one, and the hint."""
    if sys.stderr is None:
        return
    with suppress(OSError):  # nobody is left to tell
        print(f"error: {printable(message)}", file=sys.stderr)
        if hint:
            print(f"\nhint: {printable(hint)}", file=sys.stderr)
        sys.stderr.flush()
