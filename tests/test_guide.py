"""Commands of README, guide and tutorial work as written, on small images."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from n2n_cli.cli.app import app
from n2n_cli.images import Picture, write_picture
from n2n_cli.nn.functional import Array
from tests.documents import ROOT, blocks, text_of
from tests.movies import counted, still, write_movie
from tests.shots import noisy, scene, write_burst

GUIDE = text_of(ROOT / "docs" / "GUIDE.md")
SMALL = ("--set", "data.pairs=4", "--set", "data.validation_pairs=2", "--set", "train.batch_size=2")
SIZE = ("--set", "data.size=16")
TITLES = (
    "Which model is used",
    "Examples",
    "In scripts",
    "I have two shots of each scene",
    "I have a burst",
    "I have a Z stack",
    "I have a movie",
    "I have one picture",
    "I have FITS frames",
    "I have clean pictures and know my noise",
    "Starting from weights",
)


def sections() -> dict[str, list[str]]:
    """Commands by section."""
    found = {}
    for part in GUIDE.split("\n## ")[1:]:
        found[part.partition("\n")[0]] = [line for block in blocks(part, "sh") for line in block.splitlines()]
    return found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create all folders and files named in the guide."""
    monkeypatch.chdir(tmp_path)
    shots = [[noisy(scene(34, 40, seed=i), 25, seed=10 * i + j) for j in range(3)] for i in range(3)]
    for j, folder in enumerate(("first", "second", "shots")):
        write_burst(Path(folder), [scene_shots[j] for scene_shots in shots])
    for i, name in enumerate(("street", "garden", "roof")):
        write_burst(Path("scenes", name), shots[i])
    for folder in ("photos", "incoming"):
        write_burst(Path(folder), [noisy(scene(34, 40, seed=i), 0) for i in range(3)])
    Path("pairs.csv").write_text("".join(f"first/{i}.png,second/{i}.png\n" for i in range(3)))
    for name in ("fields/m31/1", "fields/m31/2", "fields/m33/1", "fields/m33/2", "frame"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        counts = noisy(scene(34, 40, seed=len(name)), 25, seed=sum(name.encode())).astype(np.uint16) + 900
        write_picture(f"{name}.fits", Picture(counts[..., :1]))
    write_movie(Path("cells.tif"), counted(still(20, 34, 40)))
    write_picture("in.png", Picture(noisy(scene(32, 36, seed=9), 25, seed=99)))
    rng = np.random.default_rng(0)
    stacks = [rng.poisson(40 + 200 * np.stack([scene(32, 36, seed=i)[..., 0]] * 2)) for i in range(3)]  # (C, H, W)
    pages = np.stack(stacks).astype(np.uint16)
    write_ome(Path("stack.ome.tif"), pages, "ZCYX")
    tifffile.imwrite("plain.tif", pages, photometric="minisblack", metadata=None)
    Path("recordings", "cell").mkdir(parents=True)
    for i in range(2):
        write_ome(Path("recordings", "cell", f"{i}.tif"), rng.poisson(pages).astype(np.uint16), "ZCYX")
    return tmp_path


def write_ome(path: Path, pages: Array, axes: str) -> None:
    tifffile.imwrite(path, pages, ome=True, metadata={"axes": axes, "Channel": {"Name": ["DAPI", "GFP"]}})


def test_sections_and_links_of_the_guide() -> None:
    assert tuple(sections()) == TITLES
    assert all(commands for title, commands in sections().items() if title != TITLES[-1])


def run(command: str) -> None:
    """Run a command of a document, with less training than it says."""
    words = shlex.split(command, comments=True)
    if "<" in words:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        subprocess.run(command, shell=True, check=True, env=os.environ | {"PATH": path})
        return
    assert words[0] == "n2n"
    if words[1] == "train":
        epochs = words.index("--epochs") + 1 if "--epochs" in words else len(words) + 1
        words[epochs - 1 : epochs + 1] = ["--epochs", "2" if "--resume" in words else "1"]
        words += [] if "--resume" in words else [*SMALL, *SIZE]
    if "--self" in words:
        words[2:2] = ["--seconds", "1"]
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, f"{command}: {result.stderr}"
    made = [word for word in words if word.endswith((".png", ".tif", ".fits", ".gz"))]
    assert words[1] != "denoise" or not made or Path(made[-1]).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("title", TITLES[:-1])
def test_commands_of_a_section(title: str, here: Path) -> None:
    for command in sections()[title]:
        run(command)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("README.md", 5), ("docs/TUTORIAL.md", 10)])
def test_commands_of_a_document(name: str, least: int, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    monkeypatch.setattr("n2n_cli.data.built_in.PIXELS", 2 * 256 * 256)
    Path("data").mkdir()
    write_picture("data/noisy.png", Picture(noisy(scene(32, 36, seed=9), 25, seed=99)))
    shown = [line for block in blocks(text_of(ROOT / name), "sh") for line in block.splitlines()]
    commands = [line for line in shown if line.startswith("n2n ")]
    assert len(commands) >= least
    for command in commands:
        run(command)


def test_training_reports_the_corrections_of_the_guide(here: Path) -> None:
    for path in sorted(Path("second").iterdir()):
        clean = 0.7 * scene(34, 40, seed=int(path.stem))
        write_picture(path, Picture(noisy(np.roll(clean, 2, axis=0), 5, seed=int(path.stem))))
    command = next(line for line in sections()["I have two shots of each scene"] if "--align" in line)
    words = [*shlex.split(command)[1:], *SMALL, *SIZE, "--set", "train.epochs=1"]
    words[words.index("--epochs") + 1] = "1"
    log = CliRunner().invoke(app, words).stderr
    assert "shots are shifted" in log
    assert "only the area that all shots of a scene show is used" in log
    assert "all are made as bright as the first" in log
