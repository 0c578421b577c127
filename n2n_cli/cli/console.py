"""What the user sees: messages on stderr, results on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
"""Hints of a command where the memory is out."""


@dataclass
class Settings:
    """What the words before the command's own say.

    Attributes
    ----------
    quiet : bool
        Only errors and results.
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


settings = Settings()


class InterruptionError(N2NError):
    """A signal has stopped the command: Ctrl-C, SIGTERM or SIGHUP."""

    exit_code = 130


def stderr() -> Console:
    """A rich console on stderr; it keeps to plain text where that is no terminal, and honours NO_COLOR."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def shows_progress() -> bool:
    """Whether progress is drawn: on a terminal that can move its cursor, and that was not asked to be quiet."""
    if settings.quiet or sys.stderr is None or not sys.stderr.isatty():
        return False
    return not stderr().is_dumb_terminal


def tell(message: str) -> None:
    """One line of news on stderr, unless `--quiet`."""
    if not settings.quiet and sys.stderr is not None:  # None where the caller has closed it
        with suppress(OSError):  # a terminal that was closed, a full disk: no reason to stop the work
            print(f"{printable(message)}\n", end="", file=sys.stderr, flush=True)  # whole: others may write there


def result(line: str) -> None:
    """One line of results on stdout, at once: a reader at the other end of a pipe need not wait for the last.

    Raises
    ------
    N2NError
        When it cannot be written.
    BrokenPipeError
        When the reader has gone.
    """
    with _writing():
        print(line, flush=True)


def result_bytes(data: bytes | memoryview) -> None:
    """A result that is no text, on stdout.

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
        _forget_what_is_left()
        raise N2NError(
            f"the result cannot be written to stdout: {error.strerror}", hint="see that its disk has space"
        ) from None


def _forget_what_is_left() -> None:
    """Let what stdout still holds go nowhere: Python tries it again at its end, and fails with a code of its own."""
    with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def explain(error: Exception) -> tuple[str, str | None]:
    """What an error says to the user, and its hint."""
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
    """An error on stderr: one line, a blank one, and the hint."""
    if sys.stderr is None:
        return
    with suppress(OSError):  # nobody is left to tell
        print(f"error: {printable(message)}", file=sys.stderr)
        if hint:
            print(f"\nhint: {printable(hint)}", file=sys.stderr)
        sys.stderr.flush()
