"""The errors a user may meet: each says what is wrong and, where there is a way out, a hint. And helpers for texts."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

_LISTED = 8


def printable(text: str) -> str:
    """The text on one line: a file's name may hold line breaks, terminal codes, or bytes that are no text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(number: int, what: str) -> str:
    """A number of things: "1 picture", "2,000 pictures"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def listed(problems: Sequence[str]) -> str:
    """What is wrong with one file, on one line: the first eight problems, if there are more."""
    more = len(problems) - _LISTED
    return "; ".join([*problems[:_LISTED], *([f"and {more:,} more"] if more > 0 else [])])


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown word: the nearest known one, small and capital letters alike, or all."""
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(names), n=1, cutoff=0.5)
    return f"did you mean `{names[close[0]]}`?" if close else "known: " + ", ".join(f"`{name}`" for name in known)


class N2NError(Exception):
    """What the command line prints as `error: ...`, followed by `hint: ...`.

    Parameters
    ----------
    message : str
        What went wrong, where, and what was needed instead; one line.
    hint : str, optional
        How to mend it; one line, with the command where there is one.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = printable(message)
        self.hint = None if hint is None else printable(hint)
        super().__init__(self.message)


class ShapeError(N2NError, ValueError):
    """An array does not have the shape that a layer, a loss or a model needs."""


class MemoryLimitError(N2NError):
    """What was asked for does not fit into the memory that it may take.

    Attributes
    ----------
    needed : int
        Megabytes that it takes at least.
    """

    def __init__(self, message: str, needed: int, *, hint: str | None = None) -> None:
        super().__init__(f"{message}; it takes {needed} MB at least", hint=hint)
        self.needed = needed


class ArgumentError(N2NError, ValueError):
    """A function was given an argument outside its range.

    Attributes
    ----------
    name : str
        The argument's name, so that a caller can say where it came from (a key of a TOML file).
    value : object
        What was given.
    needed : str
        What it must be, as the end of a sentence.
    """

    exit_code = 2

    def __init__(self, name: str, value: object, needed: str) -> None:
        super().__init__(f"`{name}` is {value!r}, it must be {needed}")
        self.name = name
        self.value = value
        self.needed = needed


class UsageError(N2NError):
    """The command's words do not fit together."""

    exit_code = 2


class ConfigError(N2NError):
    """A configuration file or an override of one of its keys is wrong."""

    exit_code = 2


class CheckpointError(N2NError):
    """A checkpoint cannot be read, is not safe to read, or does not fit the network."""


class ImageError(N2NError):
    """A picture cannot be read or written."""


class DataError(N2NError):
    """A data set is missing, empty or unfit for what was asked."""


class TrainingError(N2NError):
    """Training cannot go on."""


class DivergenceError(TrainingError):
    """The loss, the weights or what the network gives are not finite any more."""
