"""Checks of the values of configuration keys.

A check returns the value, converted to its type, or raises a ValueError whose text describes the allowed values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import PureWindowsPath
from typing import Any, TypeAlias

from n2n_cli.errors import ArgumentError
from n2n_cli.nn.spec import LayerSpec
from n2n_cli.noise import NOISE_MODELS, parse_noise
from n2n_cli.values.choice import MODES
from n2n_cli.values.transform import parse_values

DEAD_LEAVES = "dead-leaves"
"""Name of the built-in pictures as a data source."""

KINDS = ("pictures", "pairs", "bursts", "single", "movie")
"""Kinds of data sources: see `DataConfig`."""

_MOST_PATTERNS, _LONGEST_PATTERN = 100, 200

Check: TypeAlias = Callable[[Any], Any]


class UnknownNameError(ValueError):
    """Unknown name of a class, which a plugin may define."""


def whole(low: int, high: int) -> Check:
    """A whole number from `low` to `high`."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low:,} to {high:,}")
        return value

    return check


def odd(high: int) -> Check:
    """An odd number from 1 to `high`."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high or value % 2 == 0:
            raise ValueError(f"an odd number from 1 to {high}")
        return value

    return check


def positive(high: float) -> Check:
    """A number above 0 and at most `high`."""
    return _real(lambda value: 0 < value <= high, f"a number above 0 and at most {high:g}")


def from_0_to_below(high: float) -> Check:
    """A number of at least 0 and below `high`."""
    return _real(lambda value: 0 <= value < high, f"a number from 0 to below {high:g}")


def _real(fits: Callable[[float], bool], needed: str) -> Check:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not fits(value):
            raise ValueError(needed)
        return float(value)

    return check


def betas(value: Any) -> tuple[float, float]:
    """Adam's two decay rates."""
    needed = "two numbers, each from 0 to below 1"
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(needed)
    check = _real(lambda beta: 0 <= beta < 1, needed)
    return check(value[0]), check(value[1])


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def one_of(choices: Iterable[str]) -> Check:
    """One of the names `choices`."""
    names = list(choices)

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError("one of " + ", ".join(f'"{name}"' for name in names))
        return value

    return check


def registered(names: Mapping[str, object]) -> Check:
    """The name of a class in `names`, which plugins may extend before the check."""

    def check(value: Any) -> str:
        try:
            return one_of(names)(value)  # type: ignore[no-any-return]
        except ValueError as error:
            raise UnknownNameError(str(error)) from None

    return check


def source(value: Any) -> str:
    """A data source: the built-in pictures, or a path."""
    if not isinstance(value, str) or not value or "\0" in value or not _is_unicode(value):
        raise ValueError(f'"{DEAD_LEAVES}", or the path of a folder of pictures or of a pair file, as UTF-8 text')
    return value


def path(value: Any) -> str:
    """A path, or an empty text."""
    if not isinstance(value, str) or "\0" in value or not _is_unicode(value):
        raise ValueError("a path, as UTF-8 text, or empty")
    return value


def name_of(path: str) -> str:
    """Last component of a path, or the name of the built-in pictures."""
    if path in ("", DEAD_LEAVES):
        return path
    name = PureWindowsPath(path).name or "."  # Windows separates folders by both kinds of slashes
    return f"./{name}" if name == DEAD_LEAVES else name


def axes(value: Any) -> str:
    """Axes of a stack, such as "TZCYX" or "T20Z5YX", or an empty text."""
    if not isinstance(value, str) or not value.isascii() or not (value == "" or value.isalnum()) or len(value) > 50:
        raise ValueError('letters such as "TZCYX", or empty')
    return value


def patterns(value: Any) -> tuple[str, ...]:
    """A list of shell patterns."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) and item.isprintable() for item in value):
        raise ValueError('a list of patterns, such as ["0.*", "*.bias"]')
    if len(value) > _MOST_PATTERNS or any(len(item) > _LONGEST_PATTERN for item in value):
        raise ValueError(f"at most {_MOST_PATTERNS} patterns of at most {_LONGEST_PATTERN} characters")
    return tuple(value)


def _is_unicode(text: str) -> bool:
    # Bytes of a path that are not UTF-8 become lone surrogates, which a TOML file cannot hold.
    return not any("\ud800" <= character <= "\udfff" for character in text)


def noise(value: Any) -> str:
    """A noise model with its strength, such as "gaussian:25"."""
    try:
        parse_noise(value if isinstance(value, str) else repr(value))
    except ArgumentError as error:
        known = str(value).partition(":")[0] in NOISE_MODELS
        raise (ValueError if known else UnknownNameError)(error.needed) from None
    return str(value)


def noise_or_none(value: Any) -> str:
    """A noise model, or an empty text."""
    return "" if value == "" else noise(value)


def values(value: Any) -> str:
    """A mode of choosing the transform of a picture's values, or a transform."""
    if value not in MODES:
        try:
            parse_values(value)
        except (ValueError, AttributeError):
            modes = ", ".join(f'"{mode}"' for mode in MODES)
            raise ValueError(f'one of {modes}, or a transform such as "linear:0~4095"') from None
    return str(value)


def layers(value: Any) -> tuple[LayerSpec, ...]:
    """Tables of a network's layers, checked when the network is built."""
    if not isinstance(value, Sequence) or not value or not all(isinstance(spec, Mapping) for spec in value):
        raise ValueError("a list of tables, one per layer, each with a `type`")
    return tuple(dict(spec) for spec in value)


def key(check: Check, default: Any) -> Any:
    """A field of a configuration table, with its check and its default."""
    return field(default=default, metadata={"check": check})
