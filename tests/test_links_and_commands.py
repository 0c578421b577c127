"""Links and commands in documents, and in pages made from the code.

Every link has a target, and every command exists.
"""

from __future__ import annotations

import importlib.util
import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

from n2n_cli.cli.app import app
from n2n_cli.config import shipped_configs
from tests.documents import DOCUMENTS, ROOT, anchors, commands, links, text_of

GROUP: Any = typer.main.get_command(app)
MANUAL = runpy.run_path(str(ROOT / "docs" / "site" / "manual.py"))
EXTRAS = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]["optional-dependencies"]

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def options(command: Any) -> set[str]:
    flags = {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}
    return {flag for flag in flags if flag.startswith("-")} | {"--help", "-h"}


def mistake(program: str, words: list[str]) -> str:
    """The first command or option that does not exist; empty if all do."""
    given = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    if program == "n2n":
        names = [word for word in words if re.fullmatch(r"[a-z]+", word)]
        if names and names[0] not in GROUP.commands:
            return names[0]
        known = options(GROUP).union(options(GROUP.commands[names[0]]) if names else ())
    else:
        if importlib.util.find_spec(program) is None:
            return program
        if not program.startswith(("benchmarks", "tests")):
            return ""
        folder = ROOT / program.replace(".", "/")
        source = text_of(folder / "__main__.py" if folder.is_dir() else folder.with_suffix(".py"))
        known = set(re.findall(r'"(--[a-z-]+)"', source))
    return next((flag for flag in given if flag not in known), "")


@each_document
def test_links_lead_to_files_and_headings(path: Path) -> None:
    wrong = []
    for target, anchor in links(text_of(path)):
        found = path.parent / target if target else path
        if not found.exists() or (anchor and anchor not in anchors(text_of(found))):
            wrong.append(f"{target}#{anchor}")
    assert wrong == []


@each_document
def test_commands_and_options_exist(path: Path) -> None:
    wrong = [(mistake(*command), command) for command in commands(text_of(path))]
    assert [command for name, command in wrong if name] == []


@each_document
def test_configurations_and_extras_exist(path: Path) -> None:
    text = text_of(path)
    named = re.findall(r"--config ([\w./-]+)", text)
    assert {name for name in named if not name.endswith((".toml", "."))} <= {*shipped_configs(), "FILE", "CHECKPOINT"}
    asked = re.findall(r"(?:n2n-cli|'\.)\[([\w,]+)\]", text)
    assert {extra for names in asked for extra in names.split(",")} <= set(EXTRAS)


def test_the_documents_name_many_commands() -> None:
    found = [command for path in DOCUMENTS for command in commands(text_of(path))]
    assert {words[0] for program, words in found if program == "n2n" and words} >= set(GROUP.commands)
    assert len(found) > 200


@pytest.mark.parametrize(
    "line", ["n2n denois in.png out.png", "n2n denoise --pdd 2 in.png", "python -m benchmarks --x"]
)
def test_a_wrong_command_is_found(line: str) -> None:
    (command,) = commands(f"```sh\n{line}\n```\n")
    assert mistake(*command) in ("denois", "--pdd", "--x")


def test_every_page_of_the_site_is_in_its_contents() -> None:
    contents = set(re.findall(r": (\w+\.md)$", text_of(ROOT / "mkdocs.yml"), re.MULTILINE))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} <= contents


@pytest.mark.parametrize("made", ["markdown", "man_page"])
def test_the_manual_has_all_commands_and_options(made: str) -> None:
    text = MANUAL[made]().replace("\\-", "-")
    for command in (GROUP, *GROUP.commands.values()):
        assert command is GROUP or f"n2n {command.name}" in text
        missing = {flag for flag in options(command) - {"-h"} if not re.search(rf"(?<![\w-]){flag}(?![\w-])", text)}
        assert missing == set()
