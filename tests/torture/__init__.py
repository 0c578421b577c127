"""Stress tests: `python -m tests.torture kill --count 200`, or all with `--short`.

Every module of this package may have

- `TRIALS`: functions by name; `function(count)` runs that many trials, yields a line for each failure, and may yield a
  `Note` about them;
- `COUNTS`: by the same names, the usual and the short number of trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias


class Note(str):
    """Fact about a kind of trials, which is not a failure."""

    __slots__ = ()


Trial: TypeAlias = Callable[[int], Iterator[str]]
