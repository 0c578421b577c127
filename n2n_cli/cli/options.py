"""Typed options: parsers, options of several commands, rules between options."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from n2n_cli.errors import N2NError, UsageError

if TYPE_CHECKING:
    from n2n_cli.config import Config

_MOST_THREADS = 1024
_MOST_MEMORY = 1e15


def option(
    name: str,
    metavar: str,
    parse: Callable[[str], object],
    text: str,
    *,
    default: str | None = None,
    hint: str | None = None,
    names: Callable[[], list[str]] | None = None,
) -> Any:
    """Declare an option whose value is parsed by `parse`.

    Parameters
    ----------
    parse : function
        Raises ValueError(needed, example), where needed ends the sentence "it must be ...", or an N2NError.
    text : str
        Help, at most 80 characters.
    default : str, optional
        Default shown in the help, if it is not a constant.
    hint : str, optional
        Hint of an error, instead of the example.
    names : function, optional
        Values that a shell completes.
    """

    def read(value: Any) -> object:
        if not isinstance(value, str):  # the default is not parsed
            return value
        try:
            with named(name, value):
                return parse(value)
        except ValueError as error:
            needed, example = error.args
            hint_or_example = hint or f"for example `{name} {example}`"
            raise UsageError(f"`{name}` is {value!r}, it must be {needed}", hint=hint_or_example) from None

    return typer.Option(
        name, metavar=metavar, parser=read, help=text, show_default=default or True, autocompletion=names
    )


@contextmanager
def named(option: str, value: str) -> Iterator[None]:
    """Put the option and its value in front of an error of the library."""
    try:
        yield
    except UsageError:  # names the option itself
        raise
    except N2NError as error:
        raise UsageError(f"`{option}` is {value!r}: {error.message}", hint=error.hint) from None


# Parsers


def number(text: str) -> int | float | str:
    """Parse a number; return other text unchanged, for the configuration to refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Make a parser of whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        value = number(text)
        if not isinstance(value, int) or value < least or (most is not None and value > most):
            limits = f"of at least {least}" if most is None else f"from {least} to {most}"
            raise ValueError(f"a whole number {limits}", most or 100)
        return value

    return parse


def positive(needed: str, example: str) -> Callable[[str], float]:
    """Make a parser of finite numbers above 0, which an error calls `needed`."""

    def parse(text: str) -> float:
        value = number(text)
        if isinstance(value, str) or not 0 < value <= sys.float_info.max:
            raise ValueError(needed, example)
        return float(value)

    return parse


def fraction(text: str) -> float:
    """Parse a number from 0 to 1."""
    value = number(text)
    if isinstance(value, str) or not 0 <= value <= 1:
        raise ValueError("a number from 0 to 1", "0.5")
    return float(value)


def memory_size(text: str) -> int:
    """Parse a memory size such as 500MB, 1.5GB or 2GiB into bytes."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(i?)B?", text.strip(), re.IGNORECASE)
    if found is None or not 0 < float(found[1]) < _MOST_MEMORY or (found[3] and not found[2]):
        raise ValueError("a size in memory", "500MB")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** " KMGT".index(found[2].upper() or " "))


def config_option(text: str) -> Config:
    """Load the configuration that `--config` names."""
    from n2n_cli.config import load_config

    with named("--config", text):
        return load_config(text, plugins=True)


# Names that a shell completes


def model_names() -> list[str]:
    """Names of the bundled models."""
    from n2n_cli.models.choice import bundled_models

    return list(bundled_models())


def config_names() -> list[str]:
    """Names of the shipped configurations."""
    from n2n_cli.config import shipped_configs

    return list(shipped_configs())


# Options that several commands share

Assignments: TypeAlias = Annotated[
    list[str] | None,
    option("--set", "KEY=VALUE", str, "Configuration key, as data.pairs=4000; repeatable."),
]
Ensemble: TypeAlias = Annotated[bool, typer.Option("--ensemble", help="Average over 8 flips and rotations; 8x slower.")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]
NetworkConfig: TypeAlias = Annotated[  # a Config, whose module is imported only when it is needed
    Any,
    option(
        "--config",
        "FILE|NAME",
        config_option,
        "Configuration for PyTorch weights.",
        default="as saved",
        names=config_names,
    ),
]
_Kind: TypeAlias = Literal["auto", "display", "linear", "photons"]
ValuesMode: TypeAlias = Annotated[
    _Kind,
    typer.Option("--values", metavar="KIND", help="Kind of values: auto, display, linear, photons."),
]
SomeValuesMode: TypeAlias = Annotated[
    _Kind | None,
    typer.Option("--values", metavar="KIND", help="Kind: auto, display, linear, photons.", show_default=False),
]
StackAxes: TypeAlias = Annotated[
    str | None,
    option("--axes", "LETTERS", str, "Axes of a stack, as TZCYX or T9Z5YX.", default="by the file"),
]
Page: TypeAlias = Annotated[int | None, option("--page", "N", whole_number(1), "Page of a multi-page file, from 1.")]
Out: TypeAlias = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="File to write, or to replace.")]
Threads: TypeAlias = Annotated[
    int | None,
    option(
        "--threads",
        "N",
        whole_number(1, _MOST_THREADS),
        "CPU threads.",
        default="all cores",
        hint="without it, every core that this process may use has a thread",
    ),
]


# Rules between options


def requires(option: str, value: object, others: Mapping[str, object]) -> None:
    """Refuse an option that is given without any of the others.

    `others` maps names of options to their values.

    Raises
    ------
    UsageError
    """
    if _given({option: value}) and not _given(others):
        names = " or ".join(f"`{name}`" for name in others)
        raise UsageError(f"`{option}` requires {names}", hint=f"add {names}, or leave out `{option}`")


def exclusive(options: Mapping[str, object], *, why: str = "", hint: str = "leave out all but one") -> None:
    """Refuse options that are given together; `options` maps names to values.

    Raises
    ------
    UsageError
    """
    given = _given(options)
    if len(given) > 1:
        names = " and ".join(f"`{name}`" for name in given)
        raise UsageError(f"{names} cannot be used together{f': {why}' if why else ''}", hint=hint)


def _given(options: Mapping[str, object]) -> list[str]:
    return [name for name, value in options.items() if value is not None and value is not False]


def overridden(config: Config, given: Mapping[str, tuple[str, Any]], assignments: list[str] | None) -> Config:
    """Override keys of a configuration by `--set` and other options.

    Parameters
    ----------
    given : mapping of str to (option, value)
        Option and value of each dotted key; None means not given.
    assignments : list of str, optional
        Values of `--set`.
    """
    from n2n_cli.config import parse_assignment

    changes = [(*parse_assignment(text), f"--set {text}") for text in assignments or []]
    changes += [(name, value, flag) for name, (flag, value) in given.items() if value is not None]
    return config.override_all(changes)
