"""What is measured: each case gives the rows of the table."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import twins
from benchmarks.timing import Timing, take_turns
from n2n_cli.config import load_config
from n2n_cli.images import Picture, read_picture, write_picture
from n2n_cli.machine import available_cores, one_blas_thread, sgemm_rate
from n2n_cli.model import Model
from n2n_cli.nn import MSE, SGD, Conv2d, Module, NearestUpsampling, Sequential
from n2n_cli.nn.functional import Array
from n2n_cli.nn.parallel import Member


@dataclass(frozen=True)
class Effort:
    """How much is measured: the short form is only to see that everything works."""

    rounds: int
    compiled: bool
    megapixels: int
    short: bool


LONG = Effort(rounds=25, compiled=True, megapixels=12, short=False)
SHORT = Effort(rounds=2, compiled=False, megapixels=1, short=True)


@dataclass(frozen=True)
class Row:
    """One line of the table: ours, PyTorch's ways, and what the ratio to the best of them shall be."""

    work: str
    timings: dict[str, Timing]
    least: float | None = None
    aim: float | None = None

    @property
    def best(self) -> str | None:
        """The name of PyTorch's fastest way."""
        others = {name: timing.median for name, timing in self.timings.items() if name != "n2n"}
        return min(others, key=lambda name: others[name]) if others else None

    @property
    def ratio(self) -> float | None:
        """How many times as long PyTorch's best takes."""
        return self.timings[self.best].median / self.timings["n2n"].median if self.best else None


@dataclass(frozen=True)
class Fact:
    """A figure that is no ratio to PyTorch."""

    what: str
    value: str


def rows(effort: Effort, *, only: str = "") -> Iterator[Row]:
    """The table, or the rows whose name holds `only`."""
    cores = available_cores()
    large = f"denoising {effort.megapixels} megapixels"
    table: list[tuple[str, Callable[[], dict[str, Timing]], float | None, float | None]] = [
        (f"training step, {_threads(cores)}", lambda: _steps(effort, cores), 1.7, 2.5),
        (f"training step, {_threads(1)}", lambda: _steps(effort, 1), 1.5, 2.2),
        (f"inference, {_threads(cores)}", lambda: _inference(effort, cores), 1.5, 2.5),
        (f"inference, {_threads(1)}", lambda: _inference(effort, 1), None, None),
        (f"{large}, array to array", lambda: _large(effort, cores), 1.5, 2.5),
        (f"{large}, file to file", lambda: _processes(effort.megapixels, max(2, effort.rounds // 5)), None, None),
        ("`n2n denoise` of 512x512, whole process", lambda: _processes(512 * 512 / 1e6, effort.rounds), 4, 6),
        (f"conv 3x3 48->48, 64x64, {_threads(cores)}", lambda: _plain_conv(effort, cores), 0.8, 1),
        (f"conv 3x3 48->48, 64x64, {_threads(1)}", lambda: _plain_conv(effort, 1), 0.8, 1),
    ]
    for work, measure, least, aim in table:
        if only in work:
            yield Row(work, measure(), least, aim)


def facts(effort: Effort) -> Iterator[Fact]:
    """What else is reported."""
    cores = available_cores()
    start = take_turns({"n2n": lambda: _run("--help")}, rounds=effort.rounds)["n2n"]
    yield Fact("`n2n --help`, whole process (goal 0.15 s, aim 0.1 s)", f"{start.median:.3f} s")
    for threads in (1, cores):
        step = take_turns({"n2n": _our_step(threads)}, rounds=effort.rounds)["n2n"]
        peak = sgemm_rate(threads=threads)
        rate = training_operations(_founding().network, 32) * 100 / step.median
        yield Fact(
            f"share of the sgemm rate in a training step, {_threads(threads)}",
            f"{rate / peak:.0%} of {peak / 1e9:.0f} GFLOP/s ({100 / step.median:.0f} images/s)",
        )
    yield Fact("peak memory of a training step", f"{_memory(_STEP):.0f} MB")
    yield Fact("peak memory of a process that does nothing but import", f"{_memory('import n2n_cli.model'):.0f} MB")
    sizes = (1, 2) if effort.short else (1, 4, 12, 50, 100)
    for size in sizes:
        program = _DENOISE.format(side=int(np.sqrt(size) * 1000))
        seconds, memory = _measured(program)
        yield Fact(f"denoising {size} megapixels", f"{seconds / size:.2f} s a megapixel, peak memory {memory:.0f} MB")


def training_operations(network: Module, side: int) -> float:
    """Floating-point operations of one image's training step, upsampling and convolution counted in phase form."""
    total, shape, doubled = 0.0, (1, 3, side, side), False
    for i, module in enumerate(network):  # type: ignore[arg-type, var-annotated]
        shape = module.output_shape(shape)
        if isinstance(module, Conv2d):
            products = module.weight.data.size * shape[2] * shape[3] * (4 / 9 if doubled else 1)
            total += 2 * products * (3 if i else 2)  # forward, weights, and input but for the first layer
        doubled = isinstance(module, NearestUpsampling)
    return total


def _founding() -> Model:
    return Model.from_config(load_config("ee559"))


def _threads(number: int) -> str:
    return f"{number} thread" + ("s" if number > 1 else "")


def _batch() -> tuple[Array, Array]:
    x, target = np.random.default_rng(0).random((2, 100, 32, 32, 3), dtype=np.float32)
    return np.moveaxis(x, -1, 1), np.moveaxis(target, -1, 1)


def _our_step(threads: int) -> Callable[[], object]:
    model, (x, target) = Model.from_config(load_config("ee559"), threads=threads), _batch()
    return lambda: model.step(x, target)


def _steps(effort: Effort, threads: int) -> dict[str, Timing]:
    torch.set_num_threads(threads)
    x, target = _batch()
    ways = {"n2n": _our_step(threads)}
    for name, (network, form) in twins.variants(_founding().network, compiled=effort.compiled).items():
        ways[name] = twins.training_step(network, twins.tensor(x, form), twins.tensor(target, form))
    return take_turns(ways, rounds=effort.rounds)


def _inference(effort: Effort, threads: int) -> dict[str, Timing]:
    torch.set_num_threads(threads)
    model, (x, _) = Model.from_config(load_config("ee559"), threads=threads), _batch()
    ways: dict[str, Callable[[], object]] = {"n2n": lambda: model.predict(x)}
    for name, (network, form) in twins.variants(model.network, compiled=effort.compiled).items():
        ways[name] = twins.inference(network.eval(), twins.tensor(x, form))
    return take_turns(ways, rounds=effort.rounds)


def _picture(megapixels: float) -> Array:
    h, w = int(np.sqrt(megapixels * 0.75e6)), int(np.sqrt(megapixels / 0.75 * 1e6))
    return np.random.default_rng(0).random((3, h, w), dtype=np.float32)


def _large(effort: Effort, threads: int) -> dict[str, Timing]:
    torch.set_num_threads(threads)
    model, picture = _founding(), _picture(effort.megapixels)
    ways: dict[str, Callable[[], object]] = {"n2n": lambda: model.predict(picture[None])}
    for name, (network, form) in twins.variants(model.network, compiled=False).items():
        ways[f"{name}, tiles"] = partial(twins.denoise_in_tiles, network, picture, form)
    return take_turns(ways, rounds=max(2, effort.rounds // 5), warm_up=1, settle=False)


def _processes(megapixels: float, rounds: int) -> dict[str, Timing]:
    """`n2n denoise` against the shortest PyTorch script, as a user starts both."""
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
        if ours.shape == theirs.shape and abs(ours - theirs).max() > 1:
            raise RuntimeError("the two give different pictures")
        return timings


def _run(*words: object) -> None:
    command = [Path(sys.executable).with_name("n2n"), *words]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


def _plain_conv(effort: Effort, threads: int) -> dict[str, Timing]:
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    network = Sequential(Conv2d(48, 48, 3, padding=1, rng=rng))
    x = np.moveaxis(rng.random((10, 64, 64, 48), dtype=np.float32), -1, 1)
    model = Model(network, SGD(network.param(), lr=1e-6), MSE(), threads=threads)
    ways: dict[str, Callable[[], object]] = {"n2n": lambda: both_ways(model, x)}
    for name, (other, form) in twins.variants(network, compiled=False).items():
        ways[name] = _torch_both_ways(other, twins.tensor(x, form).requires_grad_())
    return take_turns(ways, rounds=effort.rounds)


def both_ways(model: Model, x: Array) -> None:
    """Forward and backward, the input's gradient included, of a batch on all threads."""

    def task(member: Member, i: int) -> None:
        y = member.network(x[i : i + 1])
        member.network.backward(y)

    with one_blas_thread():
        model._team.map(task, range(len(x)))


def _torch_both_ways(network: Any, x: Any) -> Callable[[], object]:
    def both() -> None:
        y = network(x)
        y.backward(y.detach())

    return both


_STEP = """
import numpy as np
from n2n_cli.config import load_config
from n2n_cli.model import Model
model = Model.from_config(load_config("ee559"))
x, target = np.random.default_rng(0).random((2, 100, 3, 32, 32), dtype=np.float32)
for _ in range(5):
    model.step(x, target)
"""
_DENOISE = """
import time
import numpy as np
from n2n_cli.config import load_config
from n2n_cli.denoising import denoise_picture
from n2n_cli.images import Picture
from n2n_cli.model import Model
model = Model.from_config(load_config("ee559"))
picture = Picture(np.random.default_rng(0).integers(256, size=({side}, {side}, 3), dtype=np.uint8))
start = time.perf_counter()
denoise_picture(model, 3, picture)
print(time.perf_counter() - start)
"""
_PEAK = """
import resource, sys
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def _measured(program: str) -> tuple[float, float]:
    """Seconds that a program prints, and the megabytes it needs at most."""
    run = subprocess.run([sys.executable, "-c", program + _PEAK], check=True, capture_output=True, text=True)
    *seconds, memory = map(float, run.stdout.split())
    return (seconds[0] if seconds else 0.0), memory


def _memory(program: str) -> float:
    return _measured(program)[1]
