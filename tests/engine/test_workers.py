"""Replicas in worker processes: gradients equal those of threads, also where a worker is lost."""

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

from n2n_cli.engine.replicas import Replicas
from n2n_cli.engine.shared_step import SharedStep
from n2n_cli.engine.workers import Parts, ProcessReplicas, StepWorker
from n2n_cli.nn import L1, MSE, Loss, Module
from n2n_cli.nn.functional import Array
from n2n_cli.system.stopping import StopError
from tests.nn.founding import founding


class WatchedMSE(MSE):
    """Counts, in `images`, those whose loss this process computes."""

    def __init__(self) -> None:
        super().__init__()
        self.images = list[int]()

    def forward(self, prediction: Array, target: Array) -> float:
        self.images.append(len(prediction))
        return super().forward(prediction, target)


_MSE = WatchedMSE()


def parts(dtype: str = "float32") -> tuple[Module, Loss]:
    return founding(np.random.default_rng(0), np.dtype(dtype)), MSE()


def processes(network: Module, count: int, criterion: Loss = _MSE) -> ProcessReplicas:
    make = parts_that_fail if isinstance(criterion, FailsElsewhere) else parts
    return ProcessReplicas(network, criterion, Parts(make), processes=count)


def batch(rng: np.random.Generator, n: int = 10) -> tuple[Array, Array]:
    x, target = rng.uniform(size=(2, n, 3, 8, 12)).astype(np.float32)
    return x, target


def accumulated(replicas: Replicas, x: Array, target: Array, criterion: Loss = _MSE) -> tuple[float, list[Array]]:
    replicas.network.zero_grad()
    loss = replicas.accumulate(x, target, criterion)
    return loss, [grad.copy() for _, grad in replicas.network.param()]


def assert_same(found: tuple[float, list[Array]], wanted: tuple[float, list[Array]]) -> None:
    assert found[0] == wanted[0]
    assert all(map(np.array_equal, found[1], wanted[1]))


@pytest.fixture
def network(rng: np.random.Generator) -> Module:
    return founding(rng, np.float32)


@pytest.fixture
def replicas(network: Module) -> Iterator[ProcessReplicas]:
    with closing(processes(network, 3)) as made:
        yield made


def await_workers(replicas: ProcessReplicas, x: Array, target: Array) -> list[StepWorker]:
    """Take steps until all are there."""
    until = time.monotonic() + 60
    while True:
        accumulated(replicas, x, target)
        if all(worker.ready() for worker in replicas.workers):
            return replicas.workers
        assert time.monotonic() < until, "the workers do not start"


def images_computed_here(replicas: ProcessReplicas, x: Array, target: Array, wanted: tuple[float, list[Array]]) -> int:
    _MSE.images.clear()
    assert_same(accumulated(replicas, x, target), wanted)
    return sum(_MSE.images)


def test_workers_do_their_part_and_it_changes_nothing(
    network: Module, replicas: ProcessReplicas, rng: np.random.Generator
) -> None:
    x, target = batch(rng, 8)
    wanted = accumulated(Replicas(network), x, target)
    assert_same(accumulated(replicas, x, target), wanted)  # nobody is there yet, or somebody is
    assert len(await_workers(replicas, x, target)) == 2
    assert images_computed_here(replicas, x, target, wanted) == 2  # of 8
    for values, _ in network.param():
        values *= np.float32(0.9)
    x, target = batch(rng, 8)
    assert_same(accumulated(replicas, x, target), accumulated(Replicas(network), x, target))


def test_a_batch_of_another_shape_is_done_here(
    network: Module, replicas: ProcessReplicas, rng: np.random.Generator
) -> None:
    x, target = batch(rng)
    await_workers(replicas, x, target)
    assert_same(accumulated(replicas, x[:7], target[:7]), accumulated(Replicas(network), x[:7], target[:7]))
    doubles = x.astype(np.float64), target.astype(np.float64)
    assert_same(accumulated(replicas, *doubles), accumulated(Replicas(network), *doubles))


def test_what_a_lost_worker_had_to_do_is_done_here(
    network: Module, replicas: ProcessReplicas, rng: np.random.Generator
) -> None:
    x, target = batch(rng, 8)
    wanted = accumulated(Replicas(network), x, target)
    first, _ = await_workers(replicas, x, target)
    os.kill(first.pid, signal.SIGKILL)
    assert images_computed_here(replicas, x, target, wanted) == 2 + 3
    assert images_computed_here(replicas, x, target, wanted) == 4  # the other one is still there


def test_a_worker_that_ends_before_it_is_ready_is_not_waited_for(
    network: Module, replicas: ProcessReplicas, rng: np.random.Generator
) -> None:
    x, target = batch(rng)
    wanted = accumulated(Replicas(network), x, target)
    began = time.monotonic()
    accumulated(replicas, x, target)
    assert replicas.workers
    for worker in replicas.workers:
        os.kill(worker.pid, signal.SIGKILL)
    for _ in range(3):
        assert_same(accumulated(replicas, x, target), wanted)
    assert time.monotonic() < began + 30


class FailsElsewhere(MSE):
    """A loss with which workers fail."""


def parts_that_fail() -> tuple[Module, Loss]:
    class Fails(MSE):
        def forward(self, prediction: Array, target: Array) -> float:
            raise MemoryError

    return parts()[0], Fails()


def test_a_worker_that_fails_says_nothing(
    network: Module, rng: np.random.Generator, capfd: pytest.CaptureFixture[str]
) -> None:
    x, target = batch(rng)
    wanted, criterion = accumulated(Replicas(network), x, target), FailsElsewhere()
    until = time.monotonic() + 60
    with closing(processes(network, 3, criterion)) as replicas:
        assert_same(accumulated(replicas, x, target, criterion), wanted)
        assert len(replicas.workers) == 2
        while not all(worker.is_lost for worker in replicas.workers):
            assert_same(accumulated(replicas, x, target, criterion), wanted)
            assert time.monotonic() < until
    assert capfd.readouterr() == ("", "")


def test_another_loss_is_found_here(network: Module, replicas: ProcessReplicas, rng: np.random.Generator) -> None:
    x, target = batch(rng)
    await_workers(replicas, x, target)
    assert_same(accumulated(replicas, x, target, L1()), accumulated(Replicas(network), x, target, L1()))


def test_being_asked_to_stop_ends_the_workers(replicas: ProcessReplicas, rng: np.random.Generator) -> None:
    x, target = batch(rng)
    processes = [worker.pid for worker in await_workers(replicas, x, target)]

    def stop() -> None:
        raise StopError

    replicas.between = stop
    with pytest.raises(StopError):
        accumulated(replicas, x, target)
    assert not any(map(is_there, processes))
    replicas.between = lambda: None
    await_workers(replicas, x, target)  # others


def test_a_request_to_stop_is_heard_while_a_worker_is_waited_for(
    replicas: ProcessReplicas, rng: np.random.Generator
) -> None:
    x, target = batch(rng)
    first, _ = await_workers(replicas, x, target)
    os.kill(first.pid, signal.SIGSTOP)
    asked = 0

    def stop() -> None:
        nonlocal asked
        asked += 1
        if asked > 4:  # more often than the parts that are done here
            raise StopError

    replicas.between = stop
    with pytest.raises(StopError):
        accumulated(replicas, x, target)


def is_there(pid: int) -> bool:
    """Whether a process is at work. One that has ended may stay on the list, where nobody asks how it ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("why", ["no processes", "no memory", "no interpreter", "float64"])
def test_where_there_can_be_no_workers_this_process_does_all(
    why: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "no processes":
        monkeypatch.setattr(subprocess, "Popen", refuse)
    elif why == "no memory":
        monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    elif why == "no interpreter":
        monkeypatch.setattr(sys, "executable", "")
    network, (x, target) = founding(rng, np.float64 if why == "float64" else np.float32), batch(rng)
    with closing(processes(network, 2)) as replicas:
        assert_same(accumulated(replicas, x, target), accumulated(Replicas(network), x, target))
        assert replicas.workers == []


def refuse(*arguments: object, **named: object) -> None:
    raise BlockingIOError(11, "Resource temporarily unavailable")


def test_what_a_step_shares_lies_side_by_side() -> None:
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
from n2n_cli.engine.workers import Parts, ProcessReplicas
from n2n_cli.single_image.zero_shot import learning_parts

print("once", flush=True)
rng = np.random.default_rng(0)
network, criterion = learning_parts(3, rng)
replicas = ProcessReplicas(network, criterion, Parts(learning_parts, (3,)), processes=2)
x, target = rng.uniform(size=(8, 3, 16, 16)).astype(np.float32), np.ones((8, 1, 4, 4), np.float32)
replicas.accumulate(x, target, criterion)
(worker,) = replicas.workers
while not worker.ready():
    replicas.accumulate(x, target, criterion)
print(worker.pid, flush=True)
while "on" in sys.argv:
    replicas.accumulate(x, target, criterion)
"""
"""A plain script, which closes nothing; given "on", it does not end."""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not tell of processes there")
@pytest.mark.parametrize("words", [[], ["on"]])
def test_a_worker_ends_with_its_parent(words: list[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stdout=subprocess.PIPE, text=True) as parent:
        watchdog = threading.Timer(60, parent.kill)
        watchdog.start()
        assert parent.stdout
        assert parent.stdout.readline() == "once\n"  # also in what workers run
        worker = int(parent.stdout.readline())
        if words:
            assert is_there(worker)
            parent.kill()
        assert parent.wait() == (-signal.SIGKILL if words else 0)
        watchdog.cancel()
    until = time.monotonic() + 60
    while is_there(worker):
        assert time.monotonic() < until, "the worker is still there"
        time.sleep(0.05)
