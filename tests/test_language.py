"""Language of docstrings, comments and messages: the usual words of the field."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST_FIRST_LINE = 80
WORDS = {
    r"\btold\b|\btells\b": "log, report or return",
    r"\bway (there|back)\b|\bthere and back\b": "forward and backward",
    r"\banew\b": "again, or re-sampled",
    r"\bcut off\b": "clipped, or truncated",
    r"\bturned\b(?! (in|into|on|off|out|to)\b)": "rotated",
    r"\bhelpers?\b": "worker, or function",
    r"\bnoise that neighbours share\b": "neighbour correlation",
    r"\bstrangers?\b": "untrusted",
    r"\bgo(es)? on with\b": "continue",
}
"""Words and phrases in a sense that they do not have in the field, and the usual words for it."""


def sources() -> Iterator[tuple[str, Path]]:
    """Checked files with their paths below the root of the repository."""
    for folder, ending in (("n2n_cli", "py"), ("tests", "py"), ("benchmarks", "py"), ("configs", "toml")):
        for path in sorted((ROOT / folder).rglob(f"*.{ending}")):
            yield path.relative_to(ROOT).as_posix(), path


@cache
def parsed() -> dict[str, ast.Module]:
    return {name: ast.parse(path.read_bytes()) for name, path in sources() if path.suffix == ".py"}


@cache
def texts() -> list[tuple[str, str]]:
    """Comments and docstrings, and all strings of the package, with their places."""
    found = [(f"{name}:{line}", text) for name, path in sources() for line, text in comments(path)]
    for name, tree in parsed().items():
        nodes = list(ast.walk(tree))
        if not name.startswith("n2n_cli/"):
            nodes = [node.value for node in nodes if isinstance(node, ast.Expr)]
        strings = (node for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
        found += [(f"{name}:{node.lineno}", " ".join(str(node.value).split())) for node in strings]
    return found


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Numbers of lines and their comments."""
    if path.suffix == ".py":
        with path.open("rb") as file:
            yield from ((t.start[0], t.string) for t in tokenize.tokenize(file.readline) if t.type == tokenize.COMMENT)
    else:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield number, line.partition("#")[2]


def first_lines() -> Iterator[tuple[str, str]]:
    """First lines of all docstrings, with their places."""
    for name, tree in parsed().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text:
                    yield f"{name}:{getattr(node, 'lineno', 1)}", text.splitlines()[0]


def test_first_lines_of_docstrings_are_short() -> None:
    assert [(place, line) for place, line in first_lines() if len(line) > LONGEST_FIRST_LINE] == []


def test_first_lines_of_docstrings_are_noun_phrases_or_imperatives() -> None:
    opening = re.compile(r"(What|Whether|How|Of|Where)\b")
    assert [(place, line) for place, line in first_lines() if opening.match(line)] == []


@pytest.mark.parametrize(("pattern", "usual"), WORDS.items())
def test_words_have_their_usual_sense(pattern: str, usual: str) -> None:
    unusual = re.compile(pattern, re.IGNORECASE)
    assert [(place, text) for place, text in texts() if unusual.search(text)] == [], f"write {usual}"
