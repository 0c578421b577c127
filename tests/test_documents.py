"""Code in docs/API.md works as written; project files agree with each other."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli import __version__
from n2n_cli.checkpoints.file import read_checkpoint
from tests.documents import DOCUMENTS, ROOT, blocks, text_of

ARRAY, MOVIE, FRAMES, NETWORK, COMPILED, TORCH = blocks(text_of(ROOT / "docs/API.md"), "python")
WIDTH = 120


def outcome(program: str, folder: Path) -> str:
    """Run a program that must not warn, and return its output."""
    words = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    return done.stdout


def test_array_movie_and_frames_examples(tmp_path: Path) -> None:
    lines = outcome(ARRAY + MOVIE + FRAMES, tmp_path).splitlines()
    assert lines[:3] == ["(64, 96, 3) uint8 True", "(5, 64, 96) uint16", str([(64, 96)] * 5)]


def test_network_example(tmp_path: Path) -> None:
    check = "print(losses[-1] < losses[0] / 2, ((model.predict(noisy) - clean) ** 2).mean() < 0.008)\n"
    assert outcome(NETWORK + check, tmp_path) == "(16, 16)\nTrue True\n"
    assert len([line for line in NETWORK.splitlines() if line]) <= 16
    assert (tmp_path / "model.pth").is_file()


def test_compile_example(tmp_path: Path) -> None:
    assert outcome(COMPILED, tmp_path) == "True\n"


def test_torch_example(tmp_path: Path, torch: Any) -> None:
    outcome(NETWORK, tmp_path)
    check = """
import numpy as np
np.save("weight.npy", twin[2].weight.detach().numpy())
"""
    outcome(TORCH + check, tmp_path)
    weights = read_checkpoint(tmp_path / "model.pth")["model"]
    np.testing.assert_array_equal(np.load(tmp_path / "weight.npy"), weights["2.weight"])


def test_citation_license_and_package_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert project["version"] == __version__
    assert f"\nversion: {__version__}\n" in citation
    assert re.findall(r"^## ([\d.]+) - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M)[0] == __version__
    assert f"\nlicense: {project['license']}\n" in citation
    assert (ROOT / "LICENSE").read_text().startswith(f"{project['license']} License")
    assert "name: The n2n developers" in citation
    assert "Copyright (c) 2026 The n2n developers" in (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize("extra", ["plot", "onnx"])
def test_dev_extra_includes_other_extras(extra: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras[extra]) <= set(extras["dev"])


def prose(markdown: str) -> list[str]:
    """Lines of a document outside tables and code blocks."""
    found, code = [], False
    for line in markdown.splitlines():
        if line.lstrip().startswith("```"):
            code = not code
        elif not code and not line.startswith("|"):
            found.append(line)
    assert not code
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paragraphs_are_wrapped(path: Path) -> None:
    assert [line for line in prose(path.read_text(encoding="utf-8")) if len(line) > WIDTH] == []


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.name)
def test_first_comments_are_wrapped(path: Path) -> None:
    comment = list(takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines()))
    assert comment
    assert [line for line in comment if len(line) > WIDTH] == []
