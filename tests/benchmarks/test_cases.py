"""Rows of the speed benchmark, and the runtimes that it compares with n2n."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import runtimes
from benchmarks.cases import Row
from benchmarks.runtimes import in_tiles
from benchmarks.timing import Timing
from benchmarks.tools import SCRIPTS
from benchmarks.works import MARGINS, inference, megapixel, unet_step
from n2n_cli.config import load_config
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from tests.cli import n2n, photo


def timed(**milliseconds: float) -> dict[str, Timing]:
    return {name.replace("_", " "): Timing((value / 1000,) * 3) for name, value in milliseconds.items()}


def test_ratio_is_to_the_fastest_float32_runtime() -> None:
    row = Row("photo", timed(n2n=500, eager=900, ONNX_Runtime=600, OpenVINO=750, OpenVINO_bfloat16=250))
    assert row.best == "ONNX Runtime"
    assert row.ratio == pytest.approx(1.2)
    assert row.apart == "OpenVINO bfloat16"
    assert row.ratio_to(row.apart) == pytest.approx(0.5)


def test_row_without_a_float32_runtime_has_no_ratio() -> None:
    row = Row("photo", timed(n2n=500, OpenVINO_bfloat16=250))
    assert (row.best, row.ratio, row.apart) == (None, None, "OpenVINO bfloat16")
    assert Row("photo", timed(n2n=500)).apart is None


@pytest.fixture
def model() -> Model:
    return Model.from_config(load_config("ee559"), threads=1)


@pytest.mark.onnx
def test_every_runtime_gives_the_network_s_output(model: Model, rng: np.random.Generator, onnxruntime: Any) -> None:
    x = rng.random((2, 3, 16, 24), dtype=np.float32)
    ways = runtimes.installed()
    assert ways[0] == "ONNX Runtime"
    for way in ways:
        y = runtimes.compiled(model.network, way, 1, x.shape)(x)
        np.testing.assert_allclose(y, model.predict(x), rtol=0, atol=1e-2 if way == runtimes.BFLOAT16 else 1e-5)


def test_tiles_of_the_torch_script_are_seamless(model: Model, rng: np.random.Generator) -> None:
    picture = rng.random((3, 72, 88), dtype=np.float32)
    denoised = in_tiles(lambda shape: model.predict, picture, 32, MARGINS["ee559"])
    np.testing.assert_allclose(denoised, model.predict(picture[None])[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "work",
    [
        lambda: inference("n2n", 1, 2),
        lambda: unet_step("n2n", 1, 2, 16),
        lambda: megapixel("n2n", "unet-small", 1, 0.001),
        lambda: megapixel("n2n", "photo", 1, 0.001),
    ],
    ids=["inference", "step of a U-Net", "U-Net", "bundled model"],
)
def test_work_is_prepared_once_and_repeated(work: Callable[[], Callable[[], Any]]) -> None:
    run = work()
    assert np.all(np.isfinite(run()))
    assert np.all(np.isfinite(run()))


def pixels(path: Path) -> Array:
    return np.asarray(Image.open(path)).astype(int)


@pytest.mark.onnx
def test_script_gives_the_image_of_n2n(tmp_path: Path, onnxruntime: Any) -> None:
    photo(tmp_path / "in.png", (41, 50, 3))
    assert n2n("export", "--onnx", "photo", tmp_path / "photo.onnx").code == 0
    assert n2n("denoise", "--model", "photo", tmp_path / "in.png", tmp_path / "ours.png").code == 0
    files = [tmp_path / name for name in ("photo.onnx", "in.png", "theirs.png")]
    subprocess.run([sys.executable, SCRIPTS / "onnx_picture.py", *files], check=True)
    np.testing.assert_allclose(pixels(tmp_path / "theirs.png"), pixels(tmp_path / "ours.png"), rtol=0, atol=1)
