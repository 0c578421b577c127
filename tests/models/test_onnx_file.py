"""ONNX files of complete denoisers, run by ONNX Runtime on images of any size."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.config import load_config
from n2n_cli.errors import CheckpointError, N2NError, ShapeError
from n2n_cli.models.choice import choose_model
from n2n_cli.models.model import Model
from n2n_cli.models.onnx_file import onnx_model, write_onnx
from n2n_cli.models.predictor import Predictor
from n2n_cli.nn import Conv2d, MaxPool2d, Module, NearestUpsampling, ReLU, Residual, Sequential, TransposeConv2d
from n2n_cli.nn.functional import Array

pytestmark = pytest.mark.onnx


@pytest.fixture(scope="module", autouse=True)
def _installed(onnxruntime: Any) -> None:
    """Skip the tests of this file if ONNX Runtime is not installed."""


def session(content: bytes | Path) -> Any:
    import onnxruntime

    source = str(content) if isinstance(content, Path) else content
    return onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])


def model_of(name: str) -> Model:
    if name == "photo":
        return Model.from_checkpoint(choose_model(name).path, threads=1)
    return Model.from_config(load_config(name), threads=1)


@pytest.mark.parametrize("name", ["photo", "unet-small", "ee559"])
def test_images_of_any_size_equal_predict(name: str, rng: np.random.Generator, tmp_path: Path) -> None:
    model = model_of(name)
    write_onnx(tmp_path / "model.onnx", model.network, 3)
    running = session(tmp_path / "model.onnx")
    for shape in ((2, 3, 33, 46), (1, 3, 64, 48), (2, 3, 5, 21), (1, 3, 1, 1)):
        x = rng.random(shape, dtype=np.float32)
        (y,) = running.run(None, {"noisy": x})
        np.testing.assert_allclose(y, model.predict(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["photo", "unet-small", "ee559"])
def test_openvino_equals_predict(name: str, rng: np.random.Generator) -> None:
    openvino = pytest.importorskip("openvino", reason="not installed: pip install openvino")
    model, core = model_of(name), openvino.Core()
    content = core.read_model(onnx_model(model.network, 3).SerializeToString(), b"")
    compiled = core.compile_model(content, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for shape in ((2, 3, 33, 46), (1, 3, 64, 48)):
        x = rng.random(shape, dtype=np.float32)
        np.testing.assert_allclose(compiled(x)[0], model.predict(x), rtol=0, atol=1e-5)


ODD: dict[str, Module] = {
    "of every size": Residual(Conv2d(2, 2, 3, padding=1)),
    "of a layer alone": Conv2d(2, 2, 1),
    "of no layer": Sequential(),
    "of periods that differ": Sequential(MaxPool2d((5, 3)), NearestUpsampling((5, 3)), Conv2d(2, 2, 3, padding=1)),
    "that needs two periods": Sequential(
        *(Conv2d(2, 3, 3, stride=2), ReLU(), TransposeConv2d(3, 2, 3, stride=2, output_padding=1))
    ),
    "that needs nine pixels": Sequential(Conv2d(2, 3, (3, 2), dilation=4), TransposeConv2d(3, 2, (3, 2), dilation=4)),
}


@pytest.mark.parametrize("network", ODD.values(), ids=ODD)
def test_padding_equals_that_of_predict(network: Module, rng: np.random.Generator) -> None:
    running = session(onnx_model(network, 2).SerializeToString())
    predictor = Predictor.of(network, 2, threads=1)
    for h, w in itertools.product((1, 2, 3, 8, 9, 10), (1, 3, 4, 5, 11)):
        x = rng.random((2, 2, h, w), dtype=np.float32)
        (y,) = running.run(None, {"noisy": x})
        np.testing.assert_allclose(y, predictor.predict(x), rtol=0, atol=1e-5)


def test_inputs_and_outputs_are_named_and_dynamic() -> None:
    running = session(onnx_model(model_of("ee559").network, 3).SerializeToString())
    for end, name in ((running.get_inputs(), "noisy"), (running.get_outputs(), "denoised")):
        assert [(value.name, value.shape) for value in end] == [(name, ["batch", 3, "height", "width"])]


def test_files_are_reproducible(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_onnx(tmp_path / name, model_of("ee559").network, 3, facts={"source": "x", "channels": "3"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_network_that_is_no_denoiser_is_refused(rng: np.random.Generator) -> None:
    for network in (Sequential(Conv2d(3, 3, 3)), Sequential(Conv2d(3, 1, 3, padding=1))):
        with pytest.raises(ShapeError, match="a denoiser has to keep channels and size"):
            onnx_model(network, 3)


def test_unwritable_file_is_refused(tmp_path: Path) -> None:
    network = Conv2d(3, 3, 1)
    with pytest.raises(CheckpointError, match=r"none/a.onnx` cannot be written: No such file"):
        write_onnx(tmp_path / "none" / "a.onnx", network, 3)
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(CheckpointError, match="cannot be written: Is a directory"):
        write_onnx(tmp_path / "folder.onnx", network, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.onnx"]


def test_missing_onnx_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(N2NError, match=r"^onnx is not installed$") as caught:
        onnx_model(Conv2d(3, 3, 1), 3)
    assert caught.value.hint == "`--onnx` needs the package onnx: `pip install 'n2n-cli[onnx]'`"


def gray(x: Array) -> Array:
    """(N, 1, H, W) to three equal channels, as in docs/DEPLOY.md."""
    return np.repeat(x, 3, axis=1)


def test_gray_image_as_three_equal_channels(rng: np.random.Generator) -> None:
    model = model_of("ee559")
    x = rng.random((2, 1, 13, 10), dtype=np.float32)
    (y,) = session(onnx_model(model.network, 3).SerializeToString()).run(None, {"noisy": gray(x)})
    wanted = model.predictor.for_channels(1).predict(x)
    np.testing.assert_allclose(y.mean(axis=1, keepdims=True), wanted, rtol=0, atol=1e-5)
