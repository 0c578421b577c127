"""What the options of several commands share."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from n2n_cli.errors import ImageError, UsageError

if TYPE_CHECKING:
    from n2n_cli.config import Config

Assignments: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Any key of the configuration, as data.pairs=4000. May be repeated."
    ),
]

NETWORK_HELP = (
    "The configuration whose network fits the checkpoint, for weights that were saved by PyTorch alone. "
    "Default: as the checkpoint says."
)

NOISES = (
    "gaussian:25 (standard deviation in grey levels of 255), poisson:30 (photons on white), pixelate:8 (side of a "
    "block in pixels), grain:0-50,0-1, poisson-gaussian:30,5, bernoulli:0.5, impulse:0.3 or text:0.25; a strength may "
    "be a range, as gaussian:0-50."
)
ENSEMBLE_HELP = (
    "Ask the model eight times, of the picture turned and mirrored, and take the mean: a little better, eight times as "
    "slow."
)
THREADS_HELP = (
    "Threads to compute with; results do not depend on it but for rounding. Default: every core that this process may "
    "use."
)

_MOST_THREADS = 1024
_MOST_MEMORY = 1e15


def number(text: str) -> int | float | str:
    """The number that `text` is; other text as it is, for the configuration to refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def overridden(config: Config, given: Mapping[str, tuple[str, Any]], assignments: list[str] | None) -> Config:
    """A configuration with the keys that `--set` and other options give.

    Parameters
    ----------
    given : mapping of str to (option, value)
        By the key's dotted name; a value of None is none that was given.
    assignments : list of str, optional
        What `--set` was given.
    """
    from n2n_cli.config import parse_assignment

    changes = [(*parse_assignment(text), f"--set {text}") for text in assignments or []]
    changes += [(name, value, flag) for name, (flag, value) in given.items() if value is not None]
    return config.override_all(changes)


def whole_number(text: str, option: str, least: int, most: int | None = None, *, hint: str | None = None) -> int:
    """The whole number that an option was given; typer's own message does not say what it got.

    Raises
    ------
    UsageError
        When it is none, less than `least`, or more than `most`.
    """
    value = number(text)
    if not isinstance(value, int) or value < least or (most is not None and value > most):
        needed = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise UsageError(
            f"`{option}` is {text!r}, it must be a whole number {needed}",
            hint=hint or f"for example `{option} {most or 100}`",
        )
    return value


def positive(text: str, option: str, needed: str, *, hint: str) -> float:
    """The finite number above 0 that an option was given; `needed` says what it must be.

    Raises
    ------
    UsageError
        When it is none.
    """
    value = number(text)
    if isinstance(value, str) or not 0 < value <= sys.float_info.max:
        raise UsageError(f"`{option}` is {text!r}, it must be {needed}", hint=hint)
    return float(value)


def fraction(text: str, option: str) -> float:
    """The number from 0 to 1 that an option was given.

    Raises
    ------
    UsageError
        When it is none.
    """
    value = number(text)
    if isinstance(value, str) or not 0 <= value <= 1:
        raise UsageError(f"`{option}` is {text!r}, it must be a number from 0 to 1", hint=f"for example `{option} 0.5`")
    return float(value)


def memory_size(text: str, option: str) -> int:
    """The bytes that an option was given, as 500MB, 1.5GB or 2GiB.

    Raises
    ------
    UsageError
        When it is no such size.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(i?)B?", text.strip(), re.IGNORECASE)
    if found is None or not 0 < float(found[1]) < _MOST_MEMORY or (found[3] and not found[2]):
        raise UsageError(f"`{option}` is {text!r}, it must be a size in memory", hint=f"for example `{option} 500MB`")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** " KMGT".index(found[2].upper() or " "))


def format_option(text: str) -> str:
    """The image format that `--format` names.

    Raises
    ------
    UsageError
        When there is no such format.
    """
    from n2n_cli.images import format_named

    try:
        return format_named(text)
    except ImageError as error:
        raise UsageError(f"`--format` is {text!r}: {error.message}", hint=error.hint) from None


def thread_count(text: str | None) -> int | None:
    """What `--threads` was given, or None for the default.

    Raises
    ------
    UsageError
        When it is no number of threads.
    """
    if text is None:
        return None
    hint = "without it, every core that this process may use has a thread"
    return whole_number(text, "--threads", 1, _MOST_THREADS, hint=hint)
