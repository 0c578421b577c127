"""What docs/API.md shows works as written, and what is told of the project in other files agrees."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from n2n_cli import __version__
from n2n_cli.checkpoint import read_checkpoint

ROOT = Path(__file__).parents[1]
ARRAY, NETWORK, TORCH = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/API.md").read_text(), re.M | re.S)


def outcome(program: str, folder: Path) -> str:
    """What a program prints; it prints no warnings."""
    words = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    return done.stdout


def test_an_array_is_denoised_as_shown(tmp_path: Path) -> None:
    assert outcome(ARRAY, tmp_path) == "(64, 96, 3) uint8 True\n"


def test_a_network_is_built_trained_and_saved_as_shown(tmp_path: Path) -> None:
    check = "print(losses[-1] < losses[0] / 2, ((model.predict(noisy) - clean) ** 2).mean() < 0.008)\n"
    assert outcome(NETWORK + check, tmp_path) == "(16, 16)\nTrue True\n"
    assert len([line for line in NETWORK.splitlines() if line]) <= 16
    assert (tmp_path / "model.pth").is_file()


def test_torch_reads_it_as_shown(tmp_path: Path, torch: Any) -> None:
    outcome(NETWORK, tmp_path)
    check = """
import numpy as np
np.save("weight.npy", twin[2].weight.detach().numpy())
"""
    outcome(TORCH + check, tmp_path)
    weights = read_checkpoint(tmp_path / "model.pth")["model"]
    np.testing.assert_array_equal(np.load(tmp_path / "weight.npy"), weights["2.weight"])


def test_citation_license_and_package_say_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {__version__}\n" in citation
    assert f"\nlicense: {project['license']}\n" in citation
    assert (ROOT / "LICENSE").read_text().startswith(f"{project['license']} License")
    assert "name: The n2n developers" in citation
    assert "Copyright (c) 2026 The n2n developers" in (ROOT / "LICENSE").read_text()


def test_the_extra_for_plots_is_what_the_tests_use() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras["plot"]) <= set(extras["dev"])
