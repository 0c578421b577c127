"""Parsers of options, error messages, and rules between options."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import typer

from n2n_cli.cli.app import app
from n2n_cli.cli.help import EVERYWHERE, PANELS
from n2n_cli.cli.options import exclusive, fraction, memory_size, number, positive, requires, whole_number
from n2n_cli.config import load_config
from n2n_cli.errors import UsageError
from n2n_cli.images import MAX_PIXELS
from n2n_cli.noise.correlation import MOST_FACTOR
from tests.cli import failure, n2n
from tests.cli.test_app import COMMANDS


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (number, "7", 7),
        (number, "-7", -7),
        (number, ".5", 0.5),
        (number, "1e-3", 1e-3),
        (number, "7.0", 7.0),
        (number, "x", "x"),
        (number, "", ""),
        (whole_number(1), "1", 1),
        (whole_number(0), "0", 0),
        (whole_number(1, 100), "100", 100),
        (positive("x", "1"), "5", 5.0),
        (positive("x", "1"), "1e-3", 0.001),
        (fraction, "0", 0.0),
        (fraction, "1", 1.0),
        (fraction, "0.25", 0.25),
        (fraction, "1e-3", 0.001),
        (memory_size, "500MB", 500_000_000),
        (memory_size, "1.5gb", 1_500_000_000),
        (memory_size, "2GiB", 2**31),
        (memory_size, "300000000", 300_000_000),
    ],
)
def test_parsers_return_values_of_the_right_type(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value
    assert type(parse(text)) is type(value)


@pytest.mark.parametrize(
    ("option", "texts", "needed", "hint"),
    [
        (
            "--quality",
            ["0", "-1", "101", "1.0", "x", ""],
            "a whole number from 1 to 100",
            "for example `--quality 100`",
        ),
        ("--max-pixels", ["0", "-1", "1.0", "x", ""], "a whole number of at least 1", "for example `--max-pixels 100`"),
        (
            "--seconds",
            ["0", "-1", "nan", "inf", "1" + "0" * 400, "soon", ""],
            "a number of seconds",
            "for example `--seconds 15`",
        ),
        (
            "--strength",
            ["-0.1", "1.01", "half", "nan", "inf", ""],
            "a number from 0 to 1",
            "for example `--strength 0.5`",
        ),
        (
            "--max-memory",
            ["", "much", "-5MB", "0", "5iB", "5 XB", "1e9", "9" * 400],
            "a size in memory",
            "for example `--max-memory 500MB`",
        ),
    ],
)
def test_error_names_the_option_its_value_and_an_example(option: str, texts: list[str], needed: str, hint: str) -> None:
    for text in texts:
        got = failure("denoise", "--self", "in.png", "out.png", option, text)
        assert got == (2, f"`{option}` is '{text}', it must be {needed}", hint)


@pytest.mark.parametrize("command", [("denoise", "a", "b"), ("eval", "x.pth"), ("info", "x.pth")])
def test_error_of_the_library_names_the_option(command: tuple[str, ...]) -> None:
    code, message, hint = failure(*command, "--config", "missing")
    assert (code, message) == (2, "`--config` is 'missing': there is no configuration `missing`")
    assert hint.startswith("shipped: ")


def test_option_without_the_one_it_requires_is_refused() -> None:
    requires("--seconds", None, {"--self": False})
    requires("--seconds", 0, {"--self": True})
    requires("--json", True, {"--report": False, "--dry-run": True})
    requires("--json", False, {"--report": False})
    with pytest.raises(UsageError, match=r"^`--seed` requires `--data` or `--clip`$") as caught:
        requires("--seed", 0, {"--data": None, "--clip": False})
    assert caught.value.hint == "add `--data` or `--clip`, or leave out `--seed`"


def test_options_that_exclude_one_another() -> None:
    exclusive({"--json": True, "--csv": False, "--seed": None})
    with pytest.raises(UsageError, match=r"^`--json` and `--seed` cannot be used together: one is enough$") as caught:
        exclusive({"--json": True, "--csv": False, "--seed": 0}, why="one is enough")
    assert caught.value.hint == "leave out all but one"


# Help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_default_of_an_option_fit_into_80_columns(command: str) -> None:
    found = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    context = typer.Context(found)
    for parameter in found.params:
        assert parameter.help[0].isupper() or parameter.name == "image_format"
        assert parameter.help.endswith(".")
        assert len(parameter.get_help_record(context)[1]) <= 80, parameter.name
    assert max(map(len, n2n(command, "--help").out.splitlines())) <= 80


def defaults(command: str) -> dict[str, str]:
    """Defaults shown in a command's help, by option."""
    lines = [line.strip("│ ") for line in n2n(command, "--help").out.splitlines() if line.startswith("│")]
    shown = re.findall(r"^(--[a-z-]+) ((?:(?!--).*\n)*)", "\n".join([*lines, ""]), re.MULTILINE)
    texts = {name: re.search(r"\[default:\s+\(?([^\])]+)", text) for name, text in shown}
    return {name: found[1] for name, found in texts.items() if found}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_in_a_panel_of_the_help(command: str) -> None:
    found = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    placed = [flag for flags in PANELS[command].values() for flag in flags.split()]
    known = [param for param in found.params if param.param_type_name == "option"]
    own = [param for param in known if param.rich_help_panel != EVERYWHERE]
    assert [next(flag for flag in param.opts if flag.startswith("--")) for param in own] == placed
    assert [param.rich_help_panel for param in own] == [
        title for title, flags in PANELS[command].items() for _ in flags.split()
    ]
    shown = n2n(command, "--help").out
    titles = [title for title in (*PANELS[command], EVERYWHERE) if f"╭─ {title} ─" in shown]
    assert titles == [*PANELS[command], EVERYWHERE]


def test_help_shows_the_library_s_defaults_and_limits() -> None:
    shown = defaults("denoise")
    assert (shown["--strength"], shown["--pd"], shown["--max-pixels"]) == ("1", "1", str(MAX_PIXELS))
    assert failure("denoise", "a", "b", "--pd", "5")[1].endswith(f" from 1 to {MOST_FACTOR}")


def test_help_shows_the_defaults_of_the_default_configuration() -> None:
    shown, default = defaults("train"), load_config("default")
    assert shown["--data"] == default.data.source
    assert shown["--noise"] == default.data.noise
    assert shown["--epochs"] == str(default.train.epochs)
    assert shown["--lr"] == f"{default.train.lr:g}"
    assert shown["--batch-size"] == str(default.train.batch_size)
    assert shown["--seed"] == str(default.train.seed)
