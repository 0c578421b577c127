"""Timed work of n2n and its peers.

Each function prepares the work for one way, in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks import runtimes
from benchmarks.runtimes import Run
from benchmarks.timing import Timing, take_turns
from n2n_cli import engine
from n2n_cli.config import load_config
from n2n_cli.denoising.picture import MARGIN
from n2n_cli.engine.kernel import TrainableKernel
from n2n_cli.engine.replica import Replica
from n2n_cli.images import Picture, read_picture, write_picture
from n2n_cli.models.choice import bundled_models
from n2n_cli.models.exporting import export_onnx
from n2n_cli.models.model import Model
from n2n_cli.nn import MSE, SGD, Conv2d, Sequential
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.system.blas import one_blas_thread


def _batch(n: int, side: int) -> tuple[Array, Array]:
    x, target = np.random.default_rng(0).random((2, n, side, side, 3), dtype=np.float32)
    return np.moveaxis(x, -1, 1), np.moveaxis(target, -1, 1)


def step(way: str, threads: int) -> Callable[[], object]:
    """Training step of the founding network on 100 pictures of 32x32."""
    return _training(way, _model("ee559", threads), *_batch(100, 32))


def unet_step(way: str, threads: int, batch: int = 16, side: int = 64) -> Callable[[], object]:
    """Training step of the U-Net, by SGD as in the twin."""
    network = load_config("unet").network.build(rng=np.random.default_rng(0))
    return _training(way, Model(network, SGD(network.param(), lr=0.1), MSE(), threads=threads), *_batch(batch, side))


def _training(way: str, model: Model, x: Array, target: Array) -> Callable[[], object]:
    if way == "n2n":
        return lambda: model.step(x, target)
    twins = _twins(model.threads)
    network, form = twins.variant(model.network, way)
    run: Callable[[], object] = twins.training_step(network, twins.tensor(x, form), twins.tensor(target, form))
    return run


def inference(way: str, threads: int, batch: int = 100) -> Callable[[], object]:
    """Inference of the founding network on pictures of 32x32."""
    return _predicting(way, _model("ee559", threads), _batch(batch, 32)[0])


def megapixel(way: str, name: str, threads: int, megapixels: float = 1) -> Callable[[], object]:
    """Inference of a U-Net on a picture of a megapixel, which the peers do not tile."""
    return _predicting(way, _model(name, threads), np.ascontiguousarray(_picture(megapixels)[None]))


def _predicting(way: str, model: Model, x: Array) -> Callable[[], object]:
    if way == "n2n":
        return lambda: model.predict(x)
    if way in runtimes.installed():
        run, plain = runtimes.compiled(model.network, way, model.threads, x.shape), np.ascontiguousarray(x)
        return lambda: run(plain)
    twins = _twins(model.threads)
    network, form = twins.variant(model.network, way)
    infer: Callable[[], object] = twins.inference(network.eval(), twins.tensor(x, form))
    return infer


SIDES = (512, 256)
TILED = ("channels_last, tiles of 256", "channels_last, tiles of 128")
MARGINS = {"ee559": 16, "photo": 96}
"""Surroundings of a tile that a network's output depends on, in pixels, rounded up to its period."""


def denoising(way: str, threads: int, megapixels: float, name: str = "ee559") -> Callable[[], object]:
    """Denoising of a large picture; the peers in tiles, by default of side 512."""
    model, picture = _model(name, threads), _picture(megapixels)
    if way == "n2n":
        return lambda: model.predict(picture[None])
    way, _, tile = way.partition(", tiles of ")
    return partial(runtimes.in_tiles, _run_of(way, model), picture, int(tile or 512), MARGINS[name])


def _run_of(way: str, model: Model) -> Callable[[Shape], Run]:
    """Network in a peer, for each shape of its input."""
    if way in runtimes.installed():
        return cache(partial(runtimes.compiled, model.network, way, model.threads))
    twins = _twins(model.threads)
    network, form = twins.variant(model.network, way)
    run: Run = partial(twins.predict, network, form)
    return lambda _: run


def _model(name: str, threads: int) -> Model:
    """The bundled model, or one with random weights."""
    if name in bundled_models():
        return Model.from_checkpoint(bundled_models()[name], threads=threads)
    return Model.from_config(load_config(name), threads=threads)


def convolution(way: str, threads: int) -> Callable[[], object]:
    """Forward and backward pass of a 3x3 convolution on 10 pictures."""
    rng = np.random.default_rng(0)
    network = Sequential(Conv2d(48, 48, 3, padding=1, rng=rng))
    x = np.moveaxis(rng.random((10, 64, 64, 48), dtype=np.float32), -1, 1)
    if way == "n2n":
        executor = engine.compile(network, threads=threads)

        def both(replica: Replica, i: int) -> None:
            kernel = cast("TrainableKernel", replica.kernel)
            kernel.backward(kernel(x[i : i + 1]))

        def run() -> None:
            with one_blas_thread():
                executor.map(both, range(len(x)), training=True)

        return run
    twins = _twins(threads)
    other, form = twins.variant(network, way)
    run_twin: Callable[[], object] = twins.both_ways(other, twins.tensor(x, form).requires_grad_())
    return run_twin


def _twins(threads: int) -> Any:
    """Import PyTorch, only in the processes that measure it."""
    import torch

    from benchmarks import twins

    torch.set_num_threads(threads)
    return twins


def _picture(megapixels: float) -> Array:
    """(3, H, W), sides in multiples of 8."""
    h, w = (int(np.sqrt(megapixels * 1e6 * ratio)) // 8 * 8 for ratio in (0.75, 1 / 0.75))
    return np.random.default_rng(0).random((3, h, w), dtype=np.float32)


def founding_files(folder: Path) -> tuple[object, str, list[object]]:
    """Model for `n2n`, name of the peer, and its command without IN and OUT."""
    checkpoint = folder / "model.pth"
    _model("ee559", 1).save(checkpoint)
    return checkpoint, "script", [Path(__file__).with_name("torch_denoise.py"), checkpoint]


def photo_files(folder: Path) -> tuple[object, str, list[object]]:
    export_onnx(bundled_models()["photo"], folder / "photo.onnx")
    script = Path(__file__).parent / "scripts" / "onnx_picture.py"
    return "photo", f"{runtimes.ONNX_RUNTIME}, script", [script, folder / "photo.onnx"]


def processes(
    files: Callable[[Path], tuple[object, str, list[object]]], megapixels: float, rounds: int
) -> dict[str, Timing]:
    """Time `n2n denoise` and a minimal script as whole processes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, target = folder / "in.png", folder / "out.png"
        model, peer, command = files(folder)
        pixels = np.rint(np.moveaxis(_picture(megapixels), 0, -1) * 255).astype(np.uint8)
        write_picture(source, Picture(pixels))
        words = list(map(str, [sys.executable, *command, source, folder / "theirs.png"]))
        ways: dict[str, Callable[[], object]] = {
            "n2n": lambda: run_n2n("denoise", "--model", model, source, target),
            peer: lambda: subprocess.run(words, check=True),
        }
        timings = take_turns(ways, rounds=rounds, warm_up=1, settle=False)
        ours, theirs = (read_picture(path).pixels.astype(int) for path in (target, folder / "theirs.png"))
        inside = slice(MARGIN, -MARGIN)  # at the borders, n2n pads by reflection
        if abs(ours - theirs)[inside, inside].max() > 1:
            raise RuntimeError("the two give different pictures")
        return timings


def run_n2n(*words: object) -> None:
    command = [Path(sys.executable).with_name("n2n"), *words]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
