"""Points of a sweep: a configuration with combinations of values of its keys."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from n2n_cli.config import Config
from n2n_cli.config.toml_text import shown
from n2n_cli.errors import UsageError

MOST_POINTS = 10_000
_MOST_KEYS = 2
_LONGEST = 60
"""Maximum length of a value in a folder name, in characters."""


@dataclass(frozen=True)
class Point:
    """One training of a sweep.

    Attributes
    ----------
    values : dict
        Values of the varied keys, by dotted name.
    name : str
        These values in one line, for the user.
    folder : str
        Name of the run folder.
    config : Config
        Configuration with these values.
    """

    values: Mapping[str, Any]
    name: str
    folder: str
    config: Config


def points_of(config: Config, grid: Sequence[tuple[str, Sequence[Any]]]) -> list[Point]:
    """List the points of a grid: all combinations of the keys' values.

    Parameters
    ----------
    grid : one or two of (name, values)
        Dotted name, and values of the types that a TOML parser returns.

    Raises
    ------
    ConfigError
        When a value is not valid in the configuration.
    UsageError
        When a key or a value occurs twice, or there are too many points.
    """
    names = [name for name, _ in grid]
    if not 1 <= len(names) <= _MOST_KEYS or len({*names}) < len(names):
        raise UsageError(
            f"a sweep is over one key or two different ones, not over {', '.join(names) or 'none'}",
            hint="for example `--param train.lr --values 1e-4,1e-3`",
        )
    if math.prod(len(values) for _, values in grid) > MOST_POINTS:
        raise UsageError(f"a sweep has at most {MOST_POINTS:,} trainings", hint="fewer values")
    points: dict[str, Point] = {}
    for values in product(*(values for _, values in grid)):
        given = dict(zip(names, values, strict=True))
        one = config.override_all((name, value, f"--param {name} --values") for name, value in given.items())
        flat = one.flat()
        settings = {name: flat.get(name, value) for name, value in given.items()}  # as parsed: 1e-3 is 0.001
        folder = ",".join(f"{name}={_in_a_name(value)}" for name, value in settings.items())
        if folder in points:
            raise UsageError(f"`{points[folder].name}` occurs twice among the values", hint="name each value once")
        points[folder] = Point(settings, " ".join(f"{k}={text(v)}" for k, v in settings.items()), folder, one)
    return list(points.values())


def text(value: Any) -> str:
    """Format a value in the shortest form that `--set` accepts."""
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return value if isinstance(value, str) else shown(value)


def _in_a_name(value: Any) -> str:
    """Format a value as part of a file name; a checksum replaces omitted characters."""
    whole = text(value)
    name = re.sub(r"[^\w.+-]+", "-", whole)
    if name != whole.replace(":", "-") or len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{hashlib.sha256(whole.encode(errors='surrogateescape')).hexdigest()[:8]}"
    return name
