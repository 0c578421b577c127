"""Results of the speed benchmark without a peer to compare with.

Memory, start, and fraction of the peak rate.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.cases import Effort
from benchmarks.timing import take_turns
from benchmarks.workers import workers
from benchmarks.works import run_n2n, step
from n2n_cli.config import load_config
from n2n_cli.errors import counted
from n2n_cli.nn import Conv2d, Module, NearestUpsampling
from n2n_cli.system.blas import sgemm_rate
from n2n_cli.system.cpu import available_cores


@dataclass(frozen=True)
class Fact:
    """A result that is not compared with a peer."""

    what: str
    value: str


def facts(effort: Effort) -> Iterator[Fact]:
    """Measure memory, the command's start, and the share of the peak rate."""
    cores = available_cores()
    start = take_turns({"n2n": lambda: run_n2n("--help")}, rounds=effort.rounds)["n2n"]
    yield Fact("`n2n --help`, whole process (goal 0.15 s, aim 0.1 s)", f"{start.median:.3f} s")
    for threads in (1, cores):
        with workers(step, {"n2n": ("n2n", threads)}) as running:
            ours = take_turns(running, rounds=effort.rounds)["n2n"]
        peak = sgemm_rate(threads=threads)
        rate = training_operations(load_config("ee559").network.build(), 32) * 100 / ours.median
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
