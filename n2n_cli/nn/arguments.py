"""Checks of constructor arguments, with one wording for all layers."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from typing import TypeAlias

from n2n_cli.errors import ArgumentError

IntOrPair: TypeAlias = "int | tuple[int, int] | list[int]"


def integer(name: str, value: object, low: int) -> int:
    """Return `value` as an int of at least `low`, or raise `ArgumentError`.

    Booleans are rejected.
    """
    needed = f"a whole number of at least {low}"
    if isinstance(value, bool):
        raise ArgumentError(name, value, needed)
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ArgumentError(name, value, needed) from None
    if number < low:
        raise ArgumentError(name, value, needed)
    return number


def pair(name: str, value: object, low: int) -> tuple[int, int]:
    """Return `value`, one int or two, as (rows, columns), each at least `low`."""
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ArgumentError(name, value, "one whole number, or two: rows and columns")
        return integer(name, value[0], low), integer(name, value[1], low)
    number = integer(name, value, low)
    return number, number


def flag(name: str, value: object) -> bool:
    """Return `value` if it is a bool, or raise `ArgumentError`."""
    if not isinstance(value, bool):
        raise ArgumentError(name, value, "true or false")
    return value


def positive(name: str, value: object) -> float:
    """Return `value` as a finite float above 0, or raise `ArgumentError`."""
    return number(name, value, "a finite number above 0", lambda value: value > 0)


def below_1(name: str, value: object) -> float:
    """Return `value` as a float in [0, 1); raise `ArgumentError` otherwise."""
    return number(name, value, "a number of at least 0 and below 1", lambda value: 0 <= value < 1)


def number(name: str, value: object, needed: str, fits: Callable[[float], bool]) -> float:
    """Return `value` as a float if it is finite and `fits(value)` is true.

    Otherwise raise `ArgumentError`, with `needed` as the description of a valid value.
    """
    largest = sys.float_info.max  # an int may be larger than any float
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= largest or not fits(value):
        raise ArgumentError(name, value, needed)
    return float(value)
