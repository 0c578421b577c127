"""Commands and code in README.md work as written."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from n2n_cli.cli.app import app
from n2n_cli.images import Picture, write_picture

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_first_two_blocks_train_and_test() -> None:
    train, test = blocks("sh")[:2]
    assert "n2n train --epochs 10 --lr 1\n" in train
    assert "n2n denoise data/noisy.png denoised.png\n" in train
    assert "pytest" in test


@pytest.mark.slow
def test_commands_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("n2n_cli.data.built_in.PIXELS", 40 * 256 * 256)
    for folder in ("photos", "test"):
        Path(folder).mkdir()
        for i in range(3):
            write_picture(Path(folder, f"{i}.png"), Picture(rng.integers(256, size=(40, 48, 3), dtype=np.uint8)))
    write_picture("in.png", Picture(rng.integers(256, size=(31, 17, 3), dtype=np.uint8)))
    commands = [line for line in blocks("sh")[2].splitlines() if line.startswith(("n2n ", "mkdir "))]
    assert len(commands) >= 10
    for command in commands:
        words = shlex.split(command, comments=True)
        if words[0] == "mkdir" or "<" in words:
            _in_a_shell(command)
            continue
        if "--resume" in words:
            words[words.index("--epochs") + 1] = "2"
        elif words[1] == "train":
            words += ["--epochs", "1", "--set", "data.pairs=40", "--set", "data.validation_pairs=4"]
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, f"{command}: {result.stderr}"
    for made in ("out.png", "sheet.png", "clean/0.png"):
        assert Path(made).is_file()


def _in_a_shell(command: str) -> None:
    scripts = Path(sys.executable).parent
    subprocess.run(command, shell=True, check=True, env=os.environ | {"PATH": f"{scripts}:{os.environ['PATH']}"})


def test_python_shown(tmp_path: Path) -> None:
    (code,) = blocks("python")
    check = "\nprint(np.square(denoised - clean).mean() < np.square(noisy - clean).mean())"
    run = subprocess.run(
        [sys.executable, "-c", code + check], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert run.stderr == ""
    assert run.stdout == "True\n"
    assert (tmp_path / "model.pth").is_file()
