"""Trials of docs/CLUSTER.md on a real Slurm: `python -m tests.cluster`."""

from __future__ import annotations

from pathlib import Path

from tests import documents
from tests.cli import photo

TEXT = documents.text_of(documents.ROOT / "docs/CLUSTER.md")
PICTURES = 11
EVERYTHING = {f"{'ab'[i % 2]}/{i:02}.png" for i in range(PICTURES)}
"""Names of the pictures that `write_photos` writes."""


def blocks(language: str) -> list[str]:
    """Return the code blocks of docs/CLUSTER.md that are in a language."""
    return documents.blocks(TEXT, language)


def script(word: str) -> str:
    """Return the one batch script of docs/CLUSTER.md that contains a word."""
    (text,) = (text for text in blocks("bash") if word in text)
    return text


def write_photos() -> None:
    """Write tiny pictures below `photos/`."""
    for i, name in enumerate(sorted(EVERYTHING, key=lambda name: name[2:])):
        photo(Path("photos", name), (10 + i, 12, 3), seed=i)


def write_program(name: str, text: str) -> None:
    """Write a shell script to `bin/`."""
    path = Path("bin", name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def outputs() -> set[str]:
    """Return the names of the pictures below `denoised/`."""
    return {str(path.relative_to("denoised")) for path in Path("denoised").rglob("*.png")}
