"""Checks of what a layer or an optimiser is constructed with; one wording for all of them."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from typing import TypeAlias

from n2n_cli.errors import ArgumentError

IntOrPair: TypeAlias = "int | tuple[int, int] | list[int]"


def integer(name: str, value: object, low: int) -> int:
    """`value` as an int that is at least `low`; `ArgumentError` otherwise. True and False are not numbers here."""
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
    """`value` as (rows, columns), each at least `low`: a single number stands for both."""
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ArgumentError(name, value, "one whole number, or two: rows and columns")
        return integer(name, value[0], low), integer(name, value[1], low)
    number = integer(name, value, low)
    return number, number


def flag(name: str, value: object) -> bool:
    """`value` if it is True or False; `ArgumentError` otherwise."""
    if not isinstance(value, bool):
        raise ArgumentError(name, value, "true or false")
    return value


def positive(name: str, value: object) -> float:
    """`value` as a finite float above zero; `ArgumentError` otherwise."""
    return number(name, value, "a finite number above 0", lambda value: value > 0)


def number(name: str, value: object, needed: str, fits: Callable[[float], bool]) -> float:
    """`value` as a float, if it is a finite number that fits; `ArgumentError`, which says what is needed, otherwise."""
    largest = sys.float_info.max  # a whole number may be larger still
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= largest or not fits(value):
        raise ArgumentError(name, value, needed)
    return float(value)
