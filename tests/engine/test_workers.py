"""Worker processes give the gradients of threads, also after a worker is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from n2n_cli import engine
from n2n_cli.engine.executor import Executor
from n2n_cli.engine.shared_step import SharedStep
from n2n_cli.engine.workers import Parts, ProcessExecutor, StepWorker
from n2n_cli.nn import L1, MSE, Loss, Module
from n2n_cli.nn.functional import Array
from n2n_cli.system.stopping import StopError
from tests.nn.founding import founding


class WatchedMSE(MSE):
    """MSE that records, in `images`, the images whose loss this process computes."""

    def __init__(self) -> None:
        super().__init__()
        self.images = list[int]()

    def forward(self, prediction: Array, target: Array) -> float:
        self.images.append(len(prediction))
        return super().forward(prediction, target)


_MSE = WatchedMSE()


def parts() -> tuple[Executor, Loss]:
    return engine.compile(founding(np.random.default_rng(0), np.float32)), MSE()


def processes(network: Module, count: int, criterion: Loss = _MSE, patience: float = 10) -> ProcessExecutor:
    make = parts_that_fail if isinstance(criterion, FailsElsewhere) else parts
    parameters = [parameter for _, parameter in network.named_parameters()]
    return ProcessExecutor(engine.kernel_of(network), parameters, criterion, Parts(make), count, patience=patience)


def batch(rng: np.random.Generator, n: int = 10) -> tuple[Array, Array]:
    x, target = rng.uniform(size=(2, n, 3, 8, 12)).astype(np.float32)
    return x, target


def accumulated(executor: Executor, x: Array, target: Array, criterion: Loss = _MSE) -> tuple[float, list[Array]]:
    for parameter in executor.parameters:
        parameter.grad.fill(0)
    loss = executor.accumulate(x, target, criterion)
    return loss, [parameter.grad.copy() for parameter in executor.parameters]


def assert_same(found: tuple[float, list[Array]], wanted: tuple[float, list[Array]]) -> None:
    assert found[0] == wanted[0]
    assert all(map(np.array_equal, found[1], wanted[1]))


@pytest.fixture
def network(rng: np.random.Generator) -> Module:
    return founding(rng, np.float32)


@pytest.fixture
def executor(network: Module) -> Iterator[ProcessExecutor]:
    with closing(processes(network, 3)) as made:
        yield made


def await_workers(executor: ProcessExecutor, x: Array, target: Array) -> list[StepWorker]:
    """Take steps until all workers are ready."""
    until = time.monotonic() + 60
    while True:
        accumulated(executor, x, target)
        if all(worker.ready() for worker in executor.workers):
            return executor.workers
        assert time.monotonic() < until, "the workers do not start"


def images_computed_here(executor: ProcessExecutor, x: Array, target: Array, wanted: tuple[float, list[Array]]) -> int:
    _MSE.images.clear()
    assert_same(accumulated(executor, x, target), wanted)
    return sum(_MSE.images)


def test_gradients_with_workers_equal_those_without(
    network: Module, executor: ProcessExecutor, rng: np.random.Generator
) -> None:
    x, target = batch(rng, 8)
    wanted = accumulated(engine.compile(network), x, target)
    assert_same(accumulated(executor, x, target), wanted)  # with or without ready workers
    assert len(await_workers(executor, x, target)) == 2
    assert images_computed_here(executor, x, target, wanted) == 2  # of 8
    for values, _ in network.param():
        values *= np.float32(0.9)
    x, target = batch(rng, 8)
    assert_same(accumulated(executor, x, target), accumulated(engine.compile(network), x, target))


def test_batch_of_another_shape_is_computed_without_workers(
    network: Module, executor: ProcessExecutor, rng: np.random.Generator
) -> None:
    x, target = batch(rng)
    await_workers(executor, x, target)
    assert_same(accumulated(executor, x[:7], target[:7]), accumulated(engine.compile(network), x[:7], target[:7]))
    doubles = x.astype(np.float64), target.astype(np.float64)
    assert_same(accumulated(executor, *doubles), accumulated(engine.compile(network), *doubles))


def test_micro_batches_of_a_lost_worker_are_computed_here(
    network: Module, executor: ProcessExecutor, rng: np.random.Generator
) -> None:
    x, target = batch(rng, 8)
    wanted = accumulated(engine.compile(network), x, target)
    first, _ = await_workers(executor, x, target)
    os.kill(first.pid, signal.SIGKILL)
    assert images_computed_here(executor, x, target, wanted) == 2 + 3
    assert images_computed_here(executor, x, target, wanted) == 4  # the other worker still runs


def test_suspended_worker_is_abandoned(network: Module, rng: np.random.Generator) -> None:
    x, target = batch(rng, 8)
    wanted = accumulated(engine.compile(network), x, target)
    with closing(processes(network, 3, patience=0.5)) as executor:
        first, second = await_workers(executor, x, target)
        os.kill(first.pid, signal.SIGSTOP)
        began = time.monotonic()
        assert_same(accumulated(executor, x, target), wanted)
        assert time.monotonic() - began < 20
        assert (first.is_lost, second.is_lost) == (True, False)
        with pytest.raises(ProcessLookupError):
            os.kill(first.pid, 0)
        assert_same(accumulated(executor, x, target), wanted)


def test_worker_that_ends_before_it_is_ready_is_abandoned(
    network: Module, executor: ProcessExecutor, rng: np.random.Generator
) -> None:
    x, target = batch(rng)
    wanted = accumulated(engine.compile(network), x, target)
    began = time.monotonic()
    accumulated(executor, x, target)
    assert executor.workers
    for worker in executor.workers:
        os.kill(worker.pid, signal.SIGKILL)
    for _ in range(3):
        assert_same(accumulated(executor, x, target), wanted)
    assert time.monotonic() < began + 30


class FailsElsewhere(MSE):
    """Loss that fails in worker processes."""


def parts_that_fail() -> tuple[Executor, Loss]:
    class Fails(MSE):
        def forward(self, prediction: Array, target: Array) -> float:
            raise MemoryError

    return parts()[0], Fails()


def test_failing_worker_prints_nothing(
    network: Module, rng: np.random.Generator, capfd: pytest.CaptureFixture[str]
) -> None:
    x, target = batch(rng)
    wanted, criterion = accumulated(engine.compile(network), x, target), FailsElsewhere()
    until = time.monotonic() + 60
    with closing(processes(network, 3, criterion)) as executor:
        assert_same(accumulated(executor, x, target, criterion), wanted)
        assert len(executor.workers) == 2
        while not all(worker.is_lost for worker in executor.workers):
            assert_same(accumulated(executor, x, target, criterion), wanted)
            assert time.monotonic() < until
    assert capfd.readouterr() == ("", "")


def test_other_loss_is_computed_without_workers(
    network: Module, executor: ProcessExecutor, rng: np.random.Generator
) -> None:
    x, target = batch(rng)
    await_workers(executor, x, target)
    assert_same(accumulated(executor, x, target, L1()), accumulated(engine.compile(network), x, target, L1()))


def test_stop_ends_the_workers(executor: ProcessExecutor, rng: np.random.Generator) -> None:
    x, target = batch(rng)
    processes = [worker.pid for worker in await_workers(executor, x, target)]

    def stop() -> None:
        raise StopError

    executor.between = stop
    with pytest.raises(StopError):
        accumulated(executor, x, target)
    assert not any(map(runs, processes))
    executor.between = lambda: None
    await_workers(executor, x, target)  # new workers start


def test_stop_while_waiting_for_a_worker(executor: ProcessExecutor, rng: np.random.Generator) -> None:
    x, target = batch(rng)
    first, _ = await_workers(executor, x, target)
    os.kill(first.pid, signal.SIGSTOP)
    asked = 0

    def stop() -> None:
        nonlocal asked
        asked += 1
        if asked > 4:  # more often than there are micro-batches in this process
            raise StopError

    executor.between = stop
    with pytest.raises(StopError):
        accumulated(executor, x, target)


def runs(pid: int) -> bool:
    """Test whether a process runs.

    One that has ended may remain a zombie until its parent waits for it.
    """
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("why", ["no processes", "no memory", "no interpreter", "float64"])
def test_gradients_when_no_worker_can_start(
    why: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "no processes":
        monkeypatch.setattr(subprocess, "Popen", refuse)
    elif why == "no memory":
        monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    elif why == "no interpreter":
        monkeypatch.setattr(sys, "executable", "")
    network, (x, target) = founding(rng, np.float64 if why == "float64" else np.float32), batch(rng)
    with closing(processes(network, 2)) as executor:
        assert_same(accumulated(executor, x, target), accumulated(engine.compile(network), x, target))
        assert executor.workers == []


def refuse(*arguments: object, **named: object) -> None:
    raise BlockingIOError(11, "Resource temporarily unavailable")


def test_arrays_of_a_shared_step_do_not_overlap() -> None:
    weights = [(3, 2), (5,)]
    with tempfile.TemporaryFile() as file:
        here, there = (SharedStep(file.fileno(), (2, 3, 4, 4), (2, 1, 4, 4), 3, weights) for _ in range(2))
    arrays: list[Array] = [here.part, here.losses, here.sums, here.x, here.target, *here.weights]
    assert [array.shape for array in arrays] == [(2,), (3,), (3, 11), (2, 3, 4, 4), (2, 1, 4, 4), *weights]
    for number, array in enumerate(arrays):
        array[...] = number
    seen: list[Array] = [there.part, there.losses, there.sums, there.x, there.target, *there.weights]
    for number, array in enumerate(seen):
        np.testing.assert_array_equal(array, number)


PROGRAM = """
import sys
import numpy as np
from n2n_cli.engine.workers import Parts, ProcessExecutor
from n2n_cli.single_image.zero_shot import learning_parts

print("once", flush=True)
rng = np.random.default_rng(0)
alone, criterion = learning_parts(3)
executor = ProcessExecutor(alone.kernel, alone.parameters, criterion, Parts(learning_parts, (3,)), 2)
x, target = rng.uniform(size=(8, 3, 16, 16)).astype(np.float32), np.ones((8, 1, 4, 4), np.float32)
executor.accumulate(x, target, criterion)
(worker,) = executor.workers
while not worker.ready():
    executor.accumulate(x, target, criterion)
print(worker.pid, flush=True)
while "on" in sys.argv:
    executor.accumulate(x, target, criterion)
"""
"""Script that closes nothing; with the argument "on" it does not end."""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not tell of processes there")
@pytest.mark.parametrize("words", [[], ["on"]])
def test_worker_ends_with_its_parent(words: list[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stdout=subprocess.PIPE, text=True) as parent:
        watchdog = threading.Timer(60, parent.kill)
        watchdog.start()
        assert parent.stdout
        assert parent.stdout.readline() == "once\n"  # workers do not run the script again
        worker = int(parent.stdout.readline())
        if words:
            assert runs(worker)
            parent.kill()
        assert parent.wait() == (-signal.SIGKILL if words else 0)
        watchdog.cancel()
    until = time.monotonic() + 60
    while runs(worker):
        assert time.monotonic() < until, "the worker is still there"
        time.sleep(0.05)
