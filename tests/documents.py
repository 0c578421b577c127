"""Reading of the project's Markdown files: links, anchors and commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "benchmarks/*.md", "data/README.md", "docs/*.md", "n2n_cli/**/*.md")
    for path in ROOT.glob(pattern)
)
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_ENDS = {"|", "<", ">", ">>", "&&", ";", "&", "--", "..."}


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(markdown: str, *languages: str) -> list[str]:
    """Contents of the code blocks in some languages."""
    return [found[3] for found in _BLOCK.finditer(markdown) if found[2] in languages]


def links(markdown: str) -> list[tuple[str, str]]:
    """Files and anchors that a text links to.

    Code is left out, and so are links to the web.
    """
    prose = re.sub(r"`[^`\n]*`", "", _BLOCK.sub("", markdown))
    return re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", prose)


def anchors(markdown: str) -> set[str]:
    """Anchors of the headings, as code hosts and the site make them."""
    titles = re.findall(r"^#+ (.*)$", _BLOCK.sub("", markdown), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(markdown: str) -> Iterator[tuple[str, list[str]]]:
    """Programs that shell blocks and inline code run, and their arguments.

    Yields
    ------
    (str, list of str)
        `n2n`, or the module behind `python -m`; and the words up to the end of the command.
    """
    shell = blocks(markdown, "sh", "bash", "console")
    lines = [line for block in shell for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    for line in lines + re.findall(r"`([^`\n]*)`", _BLOCK.sub("", markdown)):
        words = _words(line)
        for i, word in enumerate(words):
            if Path(word).name == "n2n" and word[-1:] != "/":
                yield "n2n", _until_end(words[i + 1 :])
            elif word == "-m" and i and Path(words[i - 1]).name in ("python", "python3") and words[i + 1 :]:
                yield words[i + 1], _until_end(words[i + 2 :])


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # inline code that is no command
        return []


def _until_end(words: list[str]) -> list[str]:
    end = next((i for i, word in enumerate(words) if word in _ENDS), len(words))
    return words[:end]
