"""Help of the commands, with the options in panels, the most used first."""

from __future__ import annotations

from typing import Any, TypeAlias

from typer.core import TyperOption

Command: TypeAlias = Any
Parameter: TypeAlias = Any  # click's own classes, of which typer has a copy

FIRST, MORE, EVERYWHERE = "Options", "More options", "Options of every command"
"""Titles of the first panel, of the panel of options that `PANELS` does not name, and of the last panel."""

_MACHINE = "Time and memory"
PANELS: dict[str, dict[str, str]] = {
    "denoise": {
        FIRST: "--effort --model --self --seconds --strength --pd --ensemble --values --axes --config",
        "Files": "--recursive --pattern --suffix --format --quality --skip-existing --in-place --dry-run",
        "Reports": "--report --json --manifest",
        _MACHINE: "--threads --max-memory --max-pixels --shard",
    },
    "train": {
        FIRST: "--data --noise --epochs --lr --out --init --config --set --resume --force",
        "Real noisy pictures": "--pairs --bursts --movie --single-image --frame-gap --axes --match-exposure --align "
        "--values",
        "Training": "--batch-size --seed --freeze",
        _MACHINE: "--threads --checkpoint-minutes",
    },
    "eval": {
        FIRST: "--data --clean --noise --ensemble --page --values --config",
        "Crops and noise": "--crops --seed --clip",
        "Reports": "--json --csv",
        _MACHINE: "--threads",
    },
    "compare": {FIRST: "--out --crop --page --values --json"},
    "info": {FIRST: "--json --config"},
    "models": {FIRST: "--json"},
    "export": {FIRST: "--half --average --onnx"},
    "sweep": {
        FIRST: "--param --values --config --data --epochs --set --out --force --json",
        _MACHINE: "--jobs --threads",
    },
    "plot": {FIRST: "--out"},
}
"""Options of each panel of a command, in their order."""


def arrange(command: Command) -> None:
    """Put the options of a command into panels, and unwrap its help.

    The lines of a paragraph are joined, since a terminal wraps them.
    """
    panels = PANELS.get(command.name or "", {})
    flags = [(flag, title) for title, words in panels.items() for flag in words.split()]
    order = [flag for flag, _ in flags]
    titles = dict(flags)

    def place(param: Parameter) -> int:
        own = [order.index(flag) for flag in param.opts if flag in titles]
        return -1 if param.param_type_name == "argument" else own[0] if own else len(order)

    for param in command.params:
        if isinstance(param, TyperOption):
            param.rich_help_panel = next((titles[flag] for flag in param.opts if flag in titles), MORE)
    command.params.sort(key=place)
    paragraphs = (command.help or "").split("\n\n")
    command.help = "\n\n".join(text if text.startswith(" ") else " ".join(text.split("\n")) for text in paragraphs)
