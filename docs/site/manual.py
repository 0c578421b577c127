"""Manual of the command line, made from its Typer code.

`markdown` is a page of the site; `man_page` is what `man n2n` shows: `python docs/site/manual.py > n2n.1`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

sys.path.insert(0, str(Path(__file__).parents[2]))  # a build has the package beside it, but not installed

import typer

from n2n_cli import __version__
from n2n_cli.cli.app import app

Item: TypeAlias = tuple[str, str]
"""An argument or an option with its value, and its help."""


@dataclass(frozen=True)
class Manual:
    """Help of one command.

    Attributes
    ----------
    name, usage : str
    paragraphs, examples : list of str
    panels : dict of str to list of Item
        Arguments and options by the title of their panel.
    """

    name: str
    usage: str
    paragraphs: list[str]
    examples: list[str]
    panels: dict[str, list[Item]]


def manuals() -> Iterator[Manual]:
    """Help of `n2n` itself, then of each command."""
    group: Any = typer.main.get_command(app)
    yield _manual(group, "n2n", f"{group.help}\n\n{group.epilog}")
    for name, command in group.commands.items():
        yield _manual(command, f"n2n {name}", command.help)


def _manual(command: Any, name: str, text: str) -> Manual:
    context = command.context_class(command, info_name=name)
    panels: dict[str, list[Item]] = {}
    for param in command.get_params(context):
        item = param.get_help_record(context)
        if item is not None:
            argument = param.param_type_name == "argument"
            title = "Arguments" if argument else getattr(param, "rich_help_panel", None) or "Options"
            text = re.sub(r" +\[default: \(?(.*?)\)?\]$", r" Default: \1.", item[1])
            panels.setdefault(title, []).append((item[0], text))
    paragraphs = [paragraph for paragraph in text.split("\n\n") if paragraph.strip() != "Examples:"]
    examples = [line.strip() for line in paragraphs if line.startswith(" ")]
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    return Manual(name, usage, [line for line in paragraphs if not line.startswith(" ")], examples, panels)


def markdown() -> str:
    """The manual as a page of the site."""
    lines = ["# Command line", "", f"The help of n2n {__version__}: `n2n --help`, `n2n COMMAND --help`, `man n2n`."]
    for manual in manuals():
        lines += ["", f"## {manual.name}", "", "```console", f"$ {manual.usage}", "```"]
        for paragraph in manual.paragraphs:
            lines += ["", _marked(paragraph)]
        if manual.examples:
            lines += ["", "```sh", *manual.examples, "```"]
        for title, items in manual.panels.items():
            lines += ["", f"**{title}**", "", *(f"- `{name}`: {_marked(text)}" for name, text in items)]
    return "\n".join(lines) + "\n"


def man_page() -> str:
    """The manual in the `man` macros of troff, section 1."""
    lines = [f'.TH N2N 1 "" "n2n {__version__}" "User Commands"']
    for manual in manuals():
        title = {"n2n": "NAME\nn2n \\- denoise pictures\n.SH SYNOPSIS"}.get(manual.name, manual.name.upper())
        lines += [f".SH {title}", ".B " + _troff(manual.usage)]
        lines += [".SH DESCRIPTION"] if manual.name == "n2n" else []
        for paragraph in manual.paragraphs:
            lines += [".PP", _troff(paragraph)]
        for example in manual.examples:
            lines += [".PP", ".RS", _troff(example), ".RE"]
        for title, items in manual.panels.items():
            lines += [f".SS {title}"]
            for name, text in items:
                lines += [".TP", ".B " + _troff(name), _troff(text)]
    return "\n".join(lines) + "\n"


def _marked(text: str) -> str:
    """Escape what Markdown would take for emphasis or HTML, outside of code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*_<\\])", r"\\\1", part) for part in parts)


def _troff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


if __name__ == "__main__":
    sys.stdout.write(man_page())
