"""Speed of training over MPI: `python -m benchmarks.ranks [--short]`.

Measures two ranks, which share the cores of this machine, against one process with all cores. Predicts the speed-up of
2 to 64 such machines, for networks of several bandwidths, from the time of a step and of an `Allreduce` over TCP.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import Timing, take_turns
from n2n_cli.system import blas, cpu

NETWORKS = {"founding network": ("ee559", 32, 100), "U-Net": ("unet", 64, 16)}
"""Configuration, side of a picture in pixels, and batch size, by name."""
NODES = (1, 2, 4, 8, 16, 32, 64)
GIGABITS = (1, 10, 100)
OVER_TCP = {"MPIR_CVAR_NOLOCAL": "1", "UCX_TLS": "tcp,self", "OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "tcp,self"}
"""Environment that makes ranks on one host use TCP, for MPICH with UCX and for Open MPI."""


@dataclass(frozen=True)
class Cost:
    """Model of the time of a training step.

    By the algorithm of Rabenseifner (2004), a sum over n machines takes 2 log2 n messages in sequence, and each machine
    transfers 2 (n - 1) / n times the array. At any bandwidth, TCP adds processor time per float32.

    Attributes
    ----------
    fixed, a_picture : float
        Seconds of a step: fixed, and per picture of the batch.
    parameters : int
        Number of float32 to sum.
    latency, tcp : float
        Seconds per message, and per float32.
    """

    fixed: float
    a_picture: float
    parameters: int
    latency: float
    tcp: float

    def sum(self, nodes: int, gigabits: float) -> float:
        """Seconds of an `Allreduce`."""
        array = self.parameters * (32 / (gigabits * 1e9) + self.tcp)
        return 2 * math.log2(nodes) * self.latency + 2 * (nodes - 1) / nodes * array

    def step(self, nodes: int, gigabits: float, batch: int) -> float:
        """Seconds of a step; the machine with the largest part of the batch counts."""
        return self.fixed + math.ceil(batch / nodes) * self.a_picture + self.sum(nodes, gigabits)

    def speed_up(self, nodes: int, gigabits: float, batch: int) -> float:
        return self.step(1, gigabits, batch) / self.step(nodes, gigabits, batch)

    def least_batch(self, nodes: int, gigabits: float) -> int:
        """Smallest multiple of `nodes` as batch size for a speed-up of `nodes` / 2."""
        a_node = 1
        while self.speed_up(nodes, gigabits, a_node * nodes) < nodes / 2:
            a_node += 1
        return a_node * nodes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranks", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few rounds only, to test the benchmark itself")
    parser.add_argument("--worker", nargs=2, metavar=("WHAT", "ROUNDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    blas.prepare_blas()  # as `n2n` does
    if options.worker:
        _work(options.worker[0], int(options.worker[1]))
        return
    rounds = 2 if options.short else 15
    print(f"{cpu.processor()}, {cpu.available_cores()} cores\n")
    print("| network | 1 process ms | 2 ranks ms | ratio | sum in shared memory ms | by TCP ms | spread |")
    print("|---|---|---|---|---|---|---|")
    by_tcp = {}
    for name, (_, _, batch) in NETWORKS.items():
        alone, together = (Timing(tuple(times)) for times in _measured(name, rounds)["steps"])
        in_memory, by_tcp[name] = _sum_of(name, rounds), _sum_of(name, rounds, **OVER_TCP)
        print(
            f"| {name}, batch {batch} | {alone.median * 1e3:.1f} | {together.median * 1e3:.1f} "
            f"| {alone.median / together.median:.2f}x | {in_memory * 1e3:.2f} | {by_tcp[name] * 1e3:.2f} "
            f"| {alone.spread:.0%}, {together.spread:.0%} |",
            flush=True,
        )
    # A sum of one number takes two messages in sequence.
    latency = _sum_of("nothing", rounds, **OVER_TCP) / 2
    print(f"\nlatency of a message by TCP: {latency * 1e6:.0f} microseconds")
    for name, (_, _, batch) in NETWORKS.items():
        _predict(name, batch, _cost(name, latency, by_tcp[name], rounds))


def _predict(name: str, batch: int, cost: Cost) -> None:
    print(
        f"\n{name}: {cost.parameters:,} parameters, a step takes {cost.fixed * 1e3:.1f} ms and "
        f"{cost.a_picture * 1e3:.2f} ms a picture\n"
    )
    ahead = [f"{gigabits} Gbit/s: batch {batch}, {8 * batch}, at least" for gigabits in GIGABITS]
    print(f"| machines | {' | '.join(ahead)} |\n|{'---|' * (len(ahead) + 1)}")
    for nodes in NODES[1:]:
        cells = [
            f"{cost.speed_up(nodes, g, batch):.1f}x, {cost.speed_up(nodes, g, 8 * batch):.1f}x, "
            f"{cost.least_batch(nodes, g):,}"
            for g in GIGABITS
        ]
        print(f"| {nodes} | " + " | ".join(cells) + " |")


def _cost(name: str, latency: float, by_tcp: float, rounds: int) -> Cost:
    """Fit a line to the times of steps of several batch sizes, on all cores."""
    most = NETWORKS[name][2]
    sizes = sorted({max(1, most // part) for part in (16, 8, 4, 2, 1)})
    steps = {str(size): _stepping(name, size, cpu.available_cores()) for size in sizes}
    taken = take_turns(steps, rounds=rounds, settle=False)
    a_picture, fixed = np.polyfit(sizes, [taken[str(size)].median for size in sizes], 1, w=1 / np.sqrt(sizes))
    parameters = _model(name, 1).network_size
    tcp = max(0.0, by_tcp - 2 * latency) / parameters
    return Cost(max(0.0, float(fixed)), float(a_picture), parameters, latency, tcp)


@dataclass(frozen=True)
class Built:
    """Model and number of its parameters."""

    model: Any
    network_size: int


def _model(name: str, threads: int) -> Built:
    from n2n_cli.config import load_config
    from n2n_cli.models.model import Model

    model = Model.from_config(load_config(NETWORKS[name][0]), threads=threads)
    model.optimizer.lr = 1e-6  # keeps the weights in their usual range for any number of steps
    model.network.train()
    return Built(model, sum(parameter.size for parameter, _ in model.network.param()))


def _stepping(name: str, size: int, threads: int, ranks: Any = None) -> Callable[[], object]:
    """Prepare a step on a batch of `size` pictures, divided among `ranks`."""
    model, side = _model(name, threads).model, NETWORKS[name][1]
    noisy, target = np.moveaxis(np.random.default_rng(0).random((2, size, side, side, 3), dtype=np.float32), -1, 2)
    if ranks is not None:
        model.join(ranks)
        noisy, target = ranks.part(noisy), ranks.part(target)
    return lambda: model.step(noisy, target)


# Under mpiexec


def _measured(what: str, rounds: int, **variables: str) -> Any:
    """Start two ranks and return the measurements that the first one prints."""
    beside = Path(sys.executable).with_name("mpiexec")
    command = [str(beside) if beside.exists() else shutil.which("mpiexec") or "mpiexec", "-n", "2", sys.executable]
    done = subprocess.run(
        [*command, "-m", "benchmarks.ranks", "--worker", what, str(rounds)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | variables,
    )
    if done.returncode:
        sys.exit(f"`{' '.join(command)} ...` failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _sum_of(name: str, rounds: int, **variables: str) -> float:
    """Seconds of a sum: the first quartile, as a busy machine delays some."""
    return float(np.quantile(_measured(f"sum of {name}", 20 * rounds, **variables), 0.25))


def _work(what: str, rounds: int) -> None:
    from n2n_cli.distributed.launchers import ranks_of_process

    ranks = ranks_of_process()
    with ranks.together():
        found = _sums(what, rounds, ranks) if what.startswith("sum of ") else _steps(what, rounds, ranks)
        if ranks.first:
            print(json.dumps(found))


def _sums(what: str, rounds: int, ranks: Any) -> list[float]:
    """Measure the sum of a step, which both ranks start at the same time."""
    name = what.removeprefix("sum of ")
    ranks.gradients(_model(name, 1).network_size if name in NETWORKS else 1)
    return [_timed(lambda: ranks.add_up(0.0, 1), ranks.gathered) for _ in range(rounds)]


def _timed(work: Callable[[], object], gather: Callable[[None], object]) -> float:
    gather(None)
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _steps(name: str, rounds: int, ranks: Any) -> dict[str, list[list[float]]]:
    """Measure steps of one process with all threads, and of both with half, in turn."""
    cores, (_, _, batch) = cpu.available_cores(), NETWORKS[name]
    together = _stepping(name, batch, max(1, cores // 2), ranks)
    alone = _stepping(name, batch, cores) if ranks.first else None
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for _ in _while_others_sleep(ranks):
            if alone is not None:
                alone()
                times[0].append(_timed(alone, lambda _: None))
        together()
        times[1].append(_timed(together, ranks.gathered))
    return {"steps": times}


def _while_others_sleep(ranks: Any) -> Iterator[None]:
    """Run a block on the first rank while the others sleep.

    MPI itself would wait busily and so take a core.
    """
    from mpi4py import MPI

    if ranks.first:
        yield
    waiting = MPI.COMM_WORLD.Ibarrier()
    while not waiting.Test():
        time.sleep(0.002)


if __name__ == "__main__":
    main()
