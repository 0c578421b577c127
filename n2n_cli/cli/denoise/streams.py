"""A picture from stdin, or to stdout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO, TextIO

from n2n_cli.errors import N2NError, UsageError
from n2n_cli.system.overwriting import identity


def open_stdin() -> BinaryIO:
    """Open stdin, for a picture.

    Raises
    ------
    UsageError
        When stdin is a terminal.
    N2NError
        When the stream is closed.
    """
    return _usable(sys.stdin, "stdin", "read from", "`n2n denoise - out.png < in.png`").buffer


def check_stdout(source: str) -> None:
    """Refuse, before the work, a stdout that cannot take a picture.

    Raises
    ------
    UsageError
        When stdout is a terminal, which may take a picture's bytes for control codes, or is the input file itself.
    N2NError
        When the stream is closed.
    """
    hint = "send it to a file or a program: `n2n denoise in.png - > out.png`"
    stream = _usable(sys.stdout, "stdout", "written to", hint)
    place = identity(stream.buffer)
    read = Path(source) if source != "-" else None if sys.stdin is None else sys.stdin.buffer
    if place is not None and read is not None and place == identity(read):
        raise UsageError(
            "stdout goes to the picture to denoise; `> FILE` empties a file before n2n begins",
            hint="take the picture from a copy, and send the output to another file",
        )


def _usable(stream: TextIO | None, name: str, used: str, hint: str) -> TextIO:
    if stream is None:
        raise N2NError(f"{name}, which `-` stands for, is closed", hint=hint)
    if stream.isatty():
        raise UsageError(f"a picture is to be {used} {name}, which is a terminal", hint=hint)
    return stream


def check_stdout_has_one_use(target: str, *, report: bool, manifest: str | None, dry_run: bool) -> None:
    """Refuse options that would send several results to stdout.

    Raises
    ------
    UsageError
        When stdout would receive more than one.
    """
    uses = {
        "the picture": target == "-" and not dry_run,
        "`--report`": report and not dry_run,
        "`--manifest -`": manifest == "-" and not dry_run,
    }
    used = [use for use, given in uses.items() if given]
    if len(used) > 1:
        raise UsageError(
            f"{' and '.join(used)} cannot both go to stdout", hint="give one of them a file, or leave out `--report`"
        )
