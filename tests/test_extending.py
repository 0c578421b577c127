"""Code and commands of docs/EXTENDING.md work as written."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli import environment, photo

PAGE = (Path(__file__).parents[1] / "docs" / "EXTENDING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CHECK = "# check.py\n"
PYTHON = [text for kind, text in BLOCKS if kind == "python"]
(TOML,) = (text for kind, text in BLOCKS if kind == "toml")
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the files of the page and an image."""
    folder = tmp_path_factory.mktemp("extending")
    layers = [text for text in PYTHON if not text.startswith(CHECK)]
    (check,) = (text for text in PYTHON if text.startswith(CHECK))
    (folder / "my_layers.py").write_text("\n\n".join(layers))
    (folder / "check.py").write_text(check)
    (folder / "my.toml").write_text(TOML)
    photo(folder / "in.png", (41, 50, 3))
    return folder


def run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    program, *words = shlex.split(command)
    start = {"python": [sys.executable, "-W", "error"], "n2n": [sys.executable, "-W", "error", "-m", "n2n_cli"]}
    return subprocess.run(
        [*start[program], *words], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


def test_commands_of_the_page(place: Path) -> None:
    assert [shlex.split(command)[0] for command in COMMANDS].count("python") == 1
    for command in COMMANDS:
        done = run(place, command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        if command == "python check.py":
            assert (done.stdout, done.stderr) == ("True\n", "")
    assert np.asarray(Image.open(place / "out.png")).shape == (41, 50, 3)
    metrics = (place / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(metrics) == 2  # the second epoch comes from the resumed training
    assert "plugins" not in (place / "run" / "config.toml").read_text()


def test_checkpoint_without_its_plugin_is_refused(place: Path) -> None:
    if not (place / "run").exists():
        assert run(place, next(command for command in COMMANDS if "--config" in command)).returncode == 0
    done = run(place, "n2n denoise --model run/best.pth in.png other.png")
    assert done.returncode == 2
    assert done.stderr.startswith("error: `run/best.pth`: ")
    assert done.stderr.endswith("\n\nhint: `n2n --plugin FILE.py ...` loads the file that defines it\n")


@pytest.mark.slow
def test_network_of_the_page_learns_to_denoise(place: Path) -> None:
    """Train for three epochs on more pairs than the page, with its noise."""
    train = next(command for command in COMMANDS if "--config" in command)
    train = train.replace("--epochs 1", "--epochs 3").replace("=200", "=2000").replace("--out run", "--out better")
    done = run(place, train)
    noisy, denoised = map(float, re.findall(r"([\d.]+) dB", done.stdout))
    assert denoised > noisy + 1
