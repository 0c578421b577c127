"""Programs in docs/DEPLOY.md run as written and give the result of `n2n denoise`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from n2n_cli.config import load_config
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.values.transform import parse_values
from tests.cli import n2n, photo
from tests.documents import ROOT, blocks, text_of

TEXT = text_of(ROOT / "docs" / "DEPLOY.md")
PICTURE, ON_CPU, ON_CUDA, OPENVINO, PYTORCH, MEASURED = blocks(TEXT, "python")
(BROWSER,) = blocks(TEXT, "js")
EXPORTS = [line for block in blocks(TEXT, "sh") for line in block.splitlines()]


def made_by(program: str, folder: Path) -> Array:
    """Run a program on `in.png` without warnings and return its output image."""
    words = [sys.executable, "-W", "error", "-c", PICTURE + program]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return np.asarray(Image.open(folder / "out.png"))


def denoised_by_n2n(folder: Path, *words: str) -> Array:
    assert n2n("denoise", *words, folder / "in.png", folder / "ours.png").code == 0
    return np.asarray(Image.open(folder / "ours.png"))


def check_alike(theirs: Array, ours: Array) -> None:
    np.testing.assert_allclose(theirs.astype(int), ours.astype(int), rtol=0, atol=1)
    assert (theirs == ours).mean() > 0.99


@pytest.fixture
def place(tmp_path: Path, onnxruntime: Any) -> Path:
    """Folder with an image of odd size and the bundled model as an ONNX file."""
    photo(tmp_path / "in.png", (41, 50, 3))
    assert n2n("export", "--onnx", "photo", tmp_path / "photo.onnx").code == 0
    return tmp_path


@pytest.mark.onnx
def test_export_commands_write_the_files_that_the_programs_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, onnxruntime: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in EXPORTS:
        program, *words = command.partition("#")[0].split()
        assert program == "pip" or n2n(*words).code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"photo.onnx", "small.onnx"}
    for program in (ON_CPU, ON_CUDA, OPENVINO, BROWSER):
        assert '"photo.onnx"' in program


@pytest.mark.onnx
def test_onnx_runtime_gives_the_same_image(place: Path) -> None:
    check_alike(made_by(ON_CPU, place), denoised_by_n2n(place, "--model", "photo"))
    cpu, cuda = (set(program.splitlines()) for program in (ON_CPU, ON_CUDA))
    assert len(cpu - cuda) == len(cuda - cpu) == 1  # the execution providers


@pytest.mark.onnx
def test_openvino_gives_the_same_image(place: Path) -> None:
    pytest.importorskip("openvino", reason="not installed: pip install openvino")
    check_alike(made_by(OPENVINO, place), denoised_by_n2n(place, "--model", "photo"))


@pytest.mark.torch
def test_pytorch_gives_the_same_image(tmp_path: Path, torch: Any) -> None:
    photo(tmp_path / "in.png", (41, 50, 3))
    checkpoint = tmp_path / "runs" / "ee559-1" / "best.pth"
    checkpoint.parent.mkdir(parents=True)
    Model.from_config(load_config("ee559"), threads=1).save(checkpoint)
    check_alike(made_by(PYTORCH, tmp_path), denoised_by_n2n(tmp_path, "--model", str(checkpoint)))


@pytest.mark.parametrize("text", ["linear:91.0~185.0", "photons:91.0~185.0,0.011,0.0005"])
def test_measured_values_are_transformed_as_in_n2n(text: str, rng: np.random.Generator) -> None:
    values, counts = parse_values(text), rng.integers(80, 200, (9, 13), dtype=np.uint16)
    names = ("kind", "low", "high", "gain", "variance", "start", "span")
    facts = {"transform": json.dumps({name: getattr(values, name) for name in names})}
    session = SimpleNamespace(
        get_modelmeta=lambda: SimpleNamespace(custom_metadata_map=facts),
        run=lambda _, inputs: [inputs["noisy"]],  # the identity instead of a network
    )
    found: dict[str, Any] = {"np": np, "session": session, "counts": counts}
    exec(MEASURED, found)
    seen = values.seen(values.normalised(counts))
    np.testing.assert_allclose(found["noisy"][0, 0], seen, rtol=1e-5, atol=1e-5)
    assert found["noisy"].dtype == np.float32
    np.testing.assert_allclose(found["denoised_counts"], values.restored(values.signal(seen)), rtol=1e-5, atol=1e-3)
