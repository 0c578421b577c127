"""A picture from stdin, or to stdout."""

from __future__ import annotations

import sys
from typing import BinaryIO

from n2n_cli.errors import N2NError, UsageError


def open_stdin() -> BinaryIO:
    """Stdin, for a picture.

    Raises
    ------
    UsageError
        When it is a terminal: nobody types a picture.
    N2NError
        When it is closed.
    """
    hint = "`n2n denoise - out.png < in.png`"
    if sys.stdin is None:
        raise N2NError("stdin, which `-` stands for, is closed", hint=hint)
    if sys.stdin.isatty():
        raise UsageError("a picture is to be read from stdin, which is a terminal", hint=hint)
    return sys.stdin.buffer


def check_stdout() -> None:
    """Refuse, before the work, a stdout that cannot take a picture.

    Raises
    ------
    UsageError
        When it is a terminal, which would show a picture's bytes as rubbish, and may obey them.
    N2NError
        When it is closed.
    """
    hint = "send it to a file or a program: `n2n denoise in.png - > out.png`"
    if sys.stdout is None:
        raise N2NError("stdout, which `-` stands for, is closed", hint=hint)
    if sys.stdout.isatty():
        raise UsageError("a picture is to be written to stdout, which is a terminal", hint=hint)


def check_stdout_has_one_use(target: str, *, report: bool, manifest: str | None, dry_run: bool) -> None:
    """Refuse options that would send two things to stdout.

    Raises
    ------
    UsageError
        When it would get two.
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
