"""Cases of the speed benchmark, each a row of its table."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import Timing, take_turns
from benchmarks.workers import workers
from n2n_cli.config import load_config
from n2n_cli.denoising.picture import MARGIN
from n2n_cli.engine.replicas import Replica, Replicas
from n2n_cli.errors import counted
from n2n_cli.images import Picture, read_picture, write_picture
from n2n_cli.models.choice import choose_model
from n2n_cli.models.model import Model
from n2n_cli.nn import Conv2d, Module, NearestUpsampling, Sequential
from n2n_cli.nn.functional import Array
from n2n_cli.system.blas import one_blas_thread, sgemm_rate
from n2n_cli.system.cpu import available_cores


@dataclass(frozen=True)
class Effort:
    """Number of rounds and picture sizes; `short` only tests the benchmark itself."""

    rounds: int
    compiled: bool
    megapixels: int
    short: bool


LONG = Effort(rounds=25, compiled=True, megapixels=12, short=False)
SHORT = Effort(rounds=2, compiled=False, megapixels=1, short=True)


@dataclass(frozen=True)
class Row:
    """Timings of one case in n2n and in variants of PyTorch.

    Attributes
    ----------
    work : str
    timings : dict
        By variant; "n2n" is ours.
    least, aim : float or None
        Required and desired ratio of PyTorch's best time to ours.
    """

    work: str
    timings: dict[str, Timing]
    least: float | None = None
    aim: float | None = None

    @property
    def best(self) -> str | None:
        """Name of PyTorch's fastest variant."""
        others = {name: timing.median for name, timing in self.timings.items() if name != "n2n"}
        return min(others, key=lambda name: others[name]) if others else None

    @property
    def ratio(self) -> float | None:
        """Ratio of PyTorch's best time to ours."""
        return self.timings[self.best].median / self.timings["n2n"].median if self.best else None


@dataclass(frozen=True)
class Fact:
    """A result that is not compared with PyTorch."""

    what: str
    value: str


def rows(effort: Effort, *, only: str = "") -> Iterator[Row]:
    """Measure the rows of the table whose names contain `only`."""
    cores, megapixels = available_cores(), effort.megapixels
    large = f"denoising {megapixels} megapixels"
    compiled, plain = (["compile"] if effort.compiled else []), ["n2n", "eager", "channels_last"]
    few = max(2, effort.rounds // 5)

    def in_turn(
        make: Callable[..., Callable[[], object]], ways: Sequence[str], *arguments: object, rounds: int = effort.rounds
    ) -> Callable[[], dict[str, Timing]]:
        def measure() -> dict[str, Timing]:
            with workers(make, {way: (way, *arguments) for way in ways}) as running:
                return take_turns(running, rounds=rounds)

        return measure

    table: list[tuple[str, Callable[[], dict[str, Timing]], float | None, float | None]] = [
        (f"training step, {counted(cores, 'thread')}", in_turn(step, plain + compiled, cores), 1.7, 2.5),
        (f"training step, {counted(1, 'thread')}", in_turn(step, plain + compiled, 1), 1.5, 2.2),
        (f"inference, {counted(cores, 'thread')}", in_turn(inference, plain + compiled, cores), 1.5, 2.5),
        (f"inference, {counted(1, 'thread')}", in_turn(inference, plain + compiled, 1), None, None),
        (f"{large}, array to array", in_turn(denoising, [*plain, *TILED], cores, megapixels, rounds=few), 1.5, 2.5),
        (f"{large}, file to file", lambda: _processes(megapixels, few), None, None),
        ("`n2n denoise` of 512x512, whole process", lambda: _processes(512 * 512 / 1e6, effort.rounds), 4, 6),
        (
            f"bundled model, 1 megapixel, {counted(cores, 'thread')}",
            in_turn(bundled, plain + compiled, cores, rounds=few),
            1,
            None,
        ),
        (f"conv 3x3 48->48, 64x64, {counted(cores, 'thread')}", in_turn(convolution, plain, cores), 0.8, 1),
        (f"conv 3x3 48->48, 64x64, {counted(1, 'thread')}", in_turn(convolution, plain, 1), 0.8, 1),
    ]
    for work, measure, least, aim in table:
        if only in work:
            yield Row(work, measure(), least, aim)


def facts(effort: Effort) -> Iterator[Fact]:
    """Measure memory, the command's start, and the share of the peak rate."""
    cores = available_cores()
    start = take_turns({"n2n": lambda: _run("--help")}, rounds=effort.rounds)["n2n"]
    yield Fact("`n2n --help`, whole process (goal 0.15 s, aim 0.1 s)", f"{start.median:.3f} s")
    for threads in (1, cores):
        with workers(step, {"n2n": ("n2n", threads)}) as running:
            ours = take_turns(running, rounds=effort.rounds)["n2n"]
        peak = sgemm_rate(threads=threads)
        rate = training_operations(_founding().network, 32) * 100 / ours.median
        yield Fact(
            f"share of the sgemm rate in a training step, {counted(threads, 'thread')}",
            f"{rate / peak:.0%} of {peak / 1e9:.0f} GFLOP/s ({100 / ours.median:.0f} images/s)",
        )
    yield Fact("peak memory of a training step", f"{_memory(_STEP):.0f} MB")
    importing = _memory("import n2n_cli.models.model")
    yield Fact("peak memory of a process that does nothing but import", f"{importing:.0f} MB")
    sizes = (1, 2) if effort.short else (1, 4, 12, 50, 100)
    for size in sizes:
        program = _DENOISE.format(side=int(np.sqrt(size) * 1000))
        seconds, memory = _measured(program)
        yield Fact(f"denoising {size} megapixels", f"{seconds / size:.2f} s a megapixel, peak memory {memory:.0f} MB")


def training_operations(network: Module, side: int) -> float:
    """Floating-point operations of a training step, per image.

    A 3x3 convolution after 2x upsampling counts 4/9 of its products, as four 2x2 convolutions compute the same.
    """
    total, shape, doubled = 0.0, (1, 3, side, side), False
    for i, module in enumerate(network):  # type: ignore[arg-type, var-annotated]
        shape = module.output_shape(shape)
        if isinstance(module, Conv2d):
            products = module.weight.data.size * shape[2] * shape[3] * (4 / 9 if doubled else 1)
            total += 2 * products * (3 if i else 2)  # forward, weights, and input except of the first layer
        doubled = isinstance(module, NearestUpsampling)
    return total


def _founding() -> Model:
    return Model.from_config(load_config("ee559"))


def _batch() -> tuple[Array, Array]:
    x, target = np.random.default_rng(0).random((2, 100, 32, 32, 3), dtype=np.float32)
    return np.moveaxis(x, -1, 1), np.moveaxis(target, -1, 1)


def step(way: str, threads: int) -> Callable[[], object]:
    """Training step of the founding network on 100 pictures of 32x32."""
    x, target = _batch()
    model = Model.from_config(load_config("ee559"), threads=threads)
    if way == "n2n":
        return lambda: model.step(x, target)
    twins = _twins(threads)
    network, form = twins.variant(model.network, way)
    run: Callable[[], object] = twins.training_step(network, twins.tensor(x, form), twins.tensor(target, form))
    return run


def inference(way: str, threads: int) -> Callable[[], object]:
    """Inference of the founding network on 100 pictures of 32x32."""
    x, _ = _batch()
    model = Model.from_config(load_config("ee559"), threads=threads)
    if way == "n2n":
        return lambda: model.predict(x)
    twins = _twins(threads)
    network, form = twins.variant(model.network, way)
    run: Callable[[], object] = twins.inference(network.eval(), twins.tensor(x, form))
    return run


def bundled(way: str, threads: int) -> Callable[[], object]:
    """Inference of the bundled model on 1 megapixel, which PyTorch does not tile."""
    model = Model.from_checkpoint(choose_model("photo").path, threads=threads)
    h, w = (side // 8 * 8 for side in _picture(1).shape[1:])
    picture = np.ascontiguousarray(_picture(1)[None, :, :h, :w])
    if way == "n2n":
        return lambda: model.predict(picture)
    twins = _twins(threads)
    network, form = twins.variant(model.network, way)
    run: Callable[[], object] = twins.inference(network.eval(), twins.tensor(picture, form))
    return run


TILED = ("channels_last, tiles of 256", "channels_last, tiles of 128")


def denoising(way: str, threads: int, megapixels: float) -> Callable[[], object]:
    """Denoising of a large picture; PyTorch in tiles, by default of side 512."""
    model, picture = Model.from_config(load_config("ee559"), threads=threads), _picture(megapixels)
    if way == "n2n":
        return lambda: model.predict(picture[None])
    twins = _twins(threads)
    layout, _, tile = way.partition(", tiles of ")
    network, form = twins.variant(model.network, layout)
    return partial(twins.denoise_in_tiles, network, picture, form, int(tile or 512))


def convolution(way: str, threads: int) -> Callable[[], object]:
    """Forward and backward pass of a 3x3 convolution on 10 pictures."""
    rng = np.random.default_rng(0)
    network = Sequential(Conv2d(48, 48, 3, padding=1, rng=rng))
    x = np.moveaxis(rng.random((10, 64, 64, 48), dtype=np.float32), -1, 1)
    if way == "n2n":
        replicas = Replicas(network, threads=threads)

        def both(replica: Replica, i: int) -> None:
            replica.network.backward(replica.network(x[i : i + 1]))

        def run() -> None:
            with one_blas_thread():
                replicas.map(both, range(len(x)))

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
    h, w = int(np.sqrt(megapixels * 0.75e6)), int(np.sqrt(megapixels / 0.75 * 1e6))
    return np.random.default_rng(0).random((3, h, w), dtype=np.float32)


def _processes(megapixels: float, rounds: int) -> dict[str, Timing]:
    """Time `n2n denoise` and a minimal PyTorch script as whole processes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint, source, target = folder / "model.pth", folder / "in.png", folder / "out.png"
        _founding().save(checkpoint)
        pixels = np.rint(np.moveaxis(_picture(megapixels), 0, -1) * 255).astype(np.uint8)
        write_picture(source, Picture(pixels))
        script = Path(__file__).with_name("torch_denoise.py")
        ways: dict[str, Callable[[], object]] = {
            "n2n": lambda: _run("denoise", "--model", checkpoint, source, target),
            "script": lambda: subprocess.run(
                [sys.executable, script, checkpoint, source, folder / "t.png"], check=True
            ),
        }
        timings = take_turns(ways, rounds=rounds, warm_up=1, settle=False)
        ours, theirs = (read_picture(path).pixels.astype(int) for path in (target, folder / "t.png"))
        inside = slice(MARGIN, -MARGIN)  # at the borders, n2n pads by reflection
        if ours.shape == theirs.shape and abs(ours - theirs)[inside, inside].max() > 1:
            raise RuntimeError("the two give different pictures")
        return timings


def _run(*words: object) -> None:
    command = [Path(sys.executable).with_name("n2n"), *words]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


_STEP = """
import numpy as np
from n2n_cli.config import load_config
from n2n_cli.models.model import Model
model = Model.from_config(load_config("ee559"))
x, target = np.random.default_rng(0).random((2, 100, 3, 32, 32), dtype=np.float32)
for _ in range(5):
    model.step(x, target)
"""
_DENOISE = """
import time
import numpy as np
from n2n_cli.config import load_config
from n2n_cli.denoising.picture import denoise_picture
from n2n_cli.images import Picture
from n2n_cli.models.model import Model
model = Model.from_config(load_config("ee559"))
picture = Picture(np.random.default_rng(0).integers(256, size=({side}, {side}, 3), dtype=np.uint8))
start = time.perf_counter()
denoise_picture(model, picture)
print(time.perf_counter() - start)
"""
_PEAK = """
with open("/proc/self/status") as status:  # getrusage counts what the process was forked from
    print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024)
"""


def _measured(program: str) -> tuple[float, float]:
    """Run a program; return the seconds that it prints and its peak memory in MB."""
    run = subprocess.run([sys.executable, "-c", program + _PEAK], check=True, capture_output=True, text=True)
    *seconds, memory = map(float, run.stdout.split())
    return (seconds[0] if seconds else 0.0), memory


def _memory(program: str) -> float:
    return _measured(program)[1]
