"""Errors for the user, and functions that format their messages."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

_LISTED = 8


def printable(text: str) -> str:
    """Escape unprintable characters, so that the text fits on one line.

    A file name may hold line breaks, terminal codes or undecodable bytes.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(number: int, noun: str) -> str:
    """Format a number with its noun: "1 picture", "2,000 pictures"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(problems: Sequence[str]) -> str:
    """Join problems into one line: at most eight, then the number left out."""
    more = len(problems) - _LISTED
    return "; ".join([*problems[:_LISTED], *([f"and {more:,} more"] if more > 0 else [])])


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Hint for an unknown word: the most similar known word, or all known words."""
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(names), n=1, cutoff=0.5)
    return f"did you mean `{names[close[0]]}`?" if close else "known: " + ", ".join(f"`{name}`" for name in known)


class N2NError(Exception):
    """Error that the command line prints as `error: ...`, followed by `hint: ...`.

    Parameters
    ----------
    message : str
        One line: what went wrong, where, and what was expected.
    hint : str, optional
        One line: how to solve the problem, with a command if possible.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = printable(message)
        self.hint = None if hint is None else printable(hint)
        super().__init__(self.message)


class ShapeError(N2NError, ValueError):
    """An array does not have the shape that a layer, a loss or a model needs."""


class MemoryLimitError(N2NError):
    """The work does not fit into the memory limit.

    Attributes
    ----------
    needed : int
        Memory that the work needs at least, in megabytes.
    """

    def __init__(self, message: str, needed: int, *, hint: str | None = None) -> None:
        super().__init__(f"{message}; at least {needed} MB are needed", hint=hint)
        self.needed = needed


class ArgumentError(N2NError, ValueError):
    """A function was given an argument outside its range.

    Attributes
    ----------
    name : str
        Name of the argument. A caller may replace it by the name that the user knows, such as a key of a TOML file.
    value : object
        Value of the argument.
    needed : str
        Allowed values, worded to follow "it must be".
    """

    exit_code = 2

    def __init__(self, name: str, value: object, needed: str) -> None:
        super().__init__(f"`{name}` is {value!r}, it must be {needed}")
        self.name = name
        self.value = value
        self.needed = needed


class UsageError(N2NError):
    """The options and arguments of a command do not fit together."""

    exit_code = 2


class ConfigError(N2NError):
    """A configuration file or an override of one of its keys is wrong."""

    exit_code = 2


class CheckpointError(N2NError):
    """A checkpoint cannot be read, is not safe to read, or does not fit the network."""


class ImageError(N2NError):
    """A picture cannot be read or written."""


class DataError(N2NError):
    """A data set is missing, empty or unsuitable."""


class TrainingError(N2NError):
    """Training cannot continue."""


class DivergenceError(TrainingError):
    """The loss, the weights or the network's output are no longer finite."""
