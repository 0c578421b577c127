"""Trials of what must not fail: `python -m tests.torture kill --count 200`, or all of them in short: `--short`.

Every module of this package may have

- `TRIALS`, of functions by name: function(count) makes so many trials and yields a line for each that failed, and a
  `Note` for what is worth to be told of them beside that;
- `COUNTS`, by the same names: how many trials are made where no number is asked for, and how many in short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias


class Note(str):
    """A fact about a kind of trials that is no failure."""

    __slots__ = ()


Trial: TypeAlias = Callable[[int], Iterator[str]]
