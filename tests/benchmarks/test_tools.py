"""Table of other tools: its rows, and tools that fail."""

from __future__ import annotations

import json
import venv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.environments import FailedError, Installed, Installer
from benchmarks.tools import SCRIPTS, TOOLS, Measured, Tool, line, main, measure, noisy_pictures
from n2n_cli.data.set_values import read_pixels
from n2n_cli.images import Picture, write_picture

COPYING = "import shutil, sys; shutil.copy(*sys.argv[1:3]); print('copied |', sys.argv[3])"


@pytest.fixture
def photographs(tmp_path: Path, rng: np.random.Generator) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for i in range(4):
        pixels = rng.integers(
            100, 156, size=(40, 48, 3), dtype=np.uint8
        )  # far from black and white, so that nothing is clipped
        write_picture(folder / f"{i}.png", Picture(pixels))
    return folder


def test_noisy_images_are_spread_over_the_folder_and_drawn_once(photographs: Path, tmp_path: Path) -> None:
    pairs = list(noisy_pictures(photographs, 2, 25.0, tmp_path))
    assert [(noisy.name, clean.name) for noisy, clean in pairs] == [
        ("noisy-0.png", "clean-0.png"),
        ("noisy-2.png", "clean-2.png"),
    ]
    whole = read_pixels(photographs / "2.png", 3)
    np.testing.assert_array_equal(read_pixels(pairs[1][1], 3), whole)
    noise = np.concatenate([read_pixels(noisy, 3) - read_pixels(clean, 3).astype(float) for noisy, clean in pairs])
    assert noise.std() == pytest.approx(25, rel=0.03)
    before = pairs[0][0].read_bytes()
    assert next(noisy_pictures(photographs, 9, 25.0, tmp_path))[0].read_bytes() == before
    cut = [read_pixels(path, 3) for path in list(noisy_pictures(photographs, 2, 25.0, tmp_path, crop=16))[1]]
    assert [pixels.shape for pixels in cut] == [(16, 16, 3)] * 2
    np.testing.assert_array_equal(cut[1], whole[12:28, 16:32])


def test_row_is_rounded() -> None:
    row = Measured("a", {"a": "1.0", "torch": "2.13.0+cpu"}, 200.4, 30.2, 753.9, 41.2, 161.7, [3.14, 2.72, 9.0], 29.876)
    row.said = "done | well"
    assert line(row) == "| a | a 1.0, torch 2.13.0+cpu | 200 (30) | 754 | 41 | 162 | 3.1 | 29.88 | done / well |"
    row.seconds = [33.3]
    assert "| 162 | 33 | 29.88 |" in line(row)


def test_row_of_a_failure_states_the_reason() -> None:
    row = Measured("a", failed="`python` ended with 1: no network")
    assert line(row) == "| a |  |  |  |  |  |  |  | failed: `python` ended with 1: no network |"


@pytest.mark.parametrize("name", TOOLS)
def test_tools_use_both_files_and_existing_scripts(name: str) -> None:
    program, *words = TOOLS[name].words
    assert {"IN", "OUT"} <= set(words)
    assert not program.endswith(".py") or (SCRIPTS / program).is_file()


def test_failing_tool_does_not_stop_the_rest(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copying = ("python", "-c", COPYING, "IN", "OUT", "SECONDS")
    tools = {
        "absent": Tool(("absent",), copying),
        "lazy": Tool(("toy",), ("python", "-c", "print('no')", "IN", "OUT")),
        "copying": Tool(("toy",), copying),
        "other": Tool(("toy",), copying, scored=False),
    }
    result = tmp_path / "result.json"
    words = ["--data", photographs, "--count", 3, "--minutes", 0.5, "--out", result]
    main(list(map(str, words)), tools, Installer(_without_pip, _installed))
    absent, lazy, copied, other = json.loads(result.read_text())
    assert absent["failed"] == "there is no `absent`"
    assert absent["installed"] is absent["psnr"] is None
    assert lazy["failed"] == "it wrote no picture: no"
    assert copied["failed"] == other["failed"] == ""
    assert (copied["versions"], copied["archives"], copied["from_disk"]) == ({"toy": "1.5"}, 3.0, 1.0)
    assert copied["installed"] == pytest.approx(2.0, abs=0.01)
    assert 0 < copied["install"] < copied["from_nothing"]
    assert len(copied["seconds"]) == 2
    assert copied["psnr"] == pytest.approx(20.17, abs=0.15)  # the noisy images: 20 log10(255 / 25)
    assert copied["said"] == "copied | 30"
    assert (other["psnr"], other["seconds"]) == (None, [])
    output = capsys.readouterr().out
    assert "3 pictures of photographs, sigma 25: noisy 20." in output
    assert [row.split(" | ")[0] for row in output.splitlines()[-4:]] == ["| absent", "| lazy", "| copying", "| other"]


def _without_pip(folder: Path) -> Path:
    venv.create(folder, symlinks=True)
    return folder


def _installed(environment: Path, packages: Sequence[str]) -> Installed:
    if packages == ["absent"]:
        raise FailedError("there is no `absent`")
    (environment / "toy").write_bytes(bytes(2_000_000))
    return Installed({"toy": "1.5"}, 3.0, 1.0)


def test_placeholders_are_replaced_and_the_folder_is_removed(tmp_path: Path) -> None:
    requested: list[Sequence[str]] = []

    def install(environment: Path, packages: Sequence[str]) -> Installed:
        requested.append(packages)
        return _installed(environment, packages)

    tool = Tool(("WHEEL", "pillow"), ("python", "-c", COPYING, "IN", "OUT", "SIGMA"), scored=False)
    picture = tmp_path / "a.png"
    picture.write_bytes(b"a")
    values = {"WHEEL": "/w/n2n.whl", "SIGMA": "15"}
    installer = Installer(_without_pip, install)
    row = measure("a", tool, tmp_path / "a", [(picture, picture)], values, 0.0, installer)
    assert (requested, row.said, row.failed) == ([["/w/n2n.whl", "pillow"]], "copied | 15", "")
    assert not (tmp_path / "a").exists()
