"""Replicas in processes of their own: the gradients of threads, and a helper that is lost costs nothing but time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli import engine
from n2n_cli.engine.workers import Parts, ProcessReplicas, SharedStep
from n2n_cli.nn import L1, MSE, Loss, Module
from n2n_cli.nn.functional import Array
from n2n_cli.system.stopping import StopError
from tests.nn.founding import founding

_MSE = MSE()


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


def await_helpers(replicas: ProcessReplicas, x: Array, target: Array) -> list[Any]:
    """Take steps until all are there."""
    until = time.monotonic() + 60
    while True:
        accumulated(replicas, x, target)
        assert replicas._helpers
        if all(helper.ready() for helper in replicas._helpers):
            return replicas._helpers
        assert time.monotonic() < until, "the helpers do not start"


def watch_own_part(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many groups this process does by itself, call by call."""
    own: list[int] = []
    real = Replicas.gradients_of

    def watched(self: Replicas, groups: Sequence[Sequence[slice]], *arguments: Any) -> Any:
        own.append(len(groups))
        return real(self, groups, *arguments)

    monkeypatch.setattr(Replicas, "gradients_of", watched)
    return own


def test_helpers_do_their_part_and_it_changes_nothing(
    network: Module, replicas: ProcessReplicas, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, target = batch(rng)
    wanted = accumulated(engine.compile(network), x, target)
    assert_same(accumulated(replicas, x, target), wanted)  # nobody is there yet, or somebody is
    assert len(await_helpers(replicas, x, target)) == 2
    own = watch_own_part(monkeypatch)
    assert_same(accumulated(replicas, x, target), wanted)
    assert own == [2]  # of 8
    for values, _ in network.param():
        values *= np.float32(0.9)
    x, target = batch(rng)
    assert_same(accumulated(replicas, x, target), accumulated(engine.compile(network), x, target))


def test_a_batch_of_another_shape_is_done_here(
    network: Module, replicas: ProcessReplicas, rng: np.random.Generator
) -> None:
    x, target = batch(rng)
    await_helpers(replicas, x, target)
    assert_same(accumulated(replicas, x[:7], target[:7]), accumulated(engine.compile(network), x[:7], target[:7]))
    doubles = x.astype(np.float64), target.astype(np.float64)
    assert_same(accumulated(replicas, *doubles), accumulated(engine.compile(network), *doubles))


def test_what_a_lost_helper_had_to_do_is_done_here(
    network: Module, replicas: ProcessReplicas, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, target = batch(rng)
    wanted = accumulated(engine.compile(network), x, target)
    first, _ = await_helpers(replicas, x, target)
    first._process.kill()
    first._process.wait()
    own = watch_own_part(monkeypatch)
    assert_same(accumulated(replicas, x, target), wanted)
    assert own == [2, 3]
    own.clear()
    assert_same(accumulated(replicas, x, target), wanted)
    assert own == [4]  # the other one is still there


def test_a_helper_that_ends_before_it_is_ready_is_not_waited_for(
    network: Module, replicas: ProcessReplicas, rng: np.random.Generator
) -> None:
    x, target = batch(rng)
    wanted = accumulated(engine.compile(network), x, target)
    began = time.monotonic()
    accumulated(replicas, x, target)
    assert replicas._helpers
    for helper in replicas._helpers:
        helper._process.kill()
    for _ in range(3):
        assert_same(accumulated(replicas, x, target), wanted)
    assert time.monotonic() < began + 30


class FailsElsewhere(MSE):
    """A loss with which helpers fail."""


def parts_that_fail() -> tuple[Module, Loss]:
    class Fails(MSE):
        def forward(self, prediction: Array, target: Array) -> float:
            raise MemoryError

    return parts()[0], Fails()


def test_a_helper_that_fails_says_nothing(
    network: Module, rng: np.random.Generator, capfd: pytest.CaptureFixture[str]
) -> None:
    x, target = batch(rng)
    wanted, criterion = accumulated(engine.compile(network), x, target), FailsElsewhere()
    until = time.monotonic() + 60
    with closing(processes(network, 3, criterion)) as replicas:
        while replicas._helpers is None or any(helper._process.poll() is None for helper in replicas._helpers):
            assert_same(accumulated(replicas, x, target, criterion), wanted)
            assert time.monotonic() < until
        assert [helper._process.returncode for helper in replicas._helpers] == [1, 1]
    assert capfd.readouterr() == ("", "")


def test_another_loss_is_found_here(network: Module, replicas: ProcessReplicas, rng: np.random.Generator) -> None:
    x, target = batch(rng)
    await_helpers(replicas, x, target)
    assert_same(accumulated(replicas, x, target, L1()), accumulated(engine.compile(network), x, target, L1()))


def test_being_asked_to_stop_ends_the_helpers(replicas: ProcessReplicas, rng: np.random.Generator) -> None:
    x, target = batch(rng)
    processes = [helper._process.pid for helper in await_helpers(replicas, x, target)]

    def stop() -> None:
        raise StopError

    replicas.between = stop
    with pytest.raises(StopError):
        accumulated(replicas, x, target)
    assert not any(map(is_there, processes))
    replicas.between = lambda: None
    await_helpers(replicas, x, target)  # others


def test_a_request_to_stop_is_heard_while_a_helper_is_waited_for(
    replicas: ProcessReplicas, rng: np.random.Generator
) -> None:
    x, target = batch(rng)
    first, _ = await_helpers(replicas, x, target)
    first._process.send_signal(signal.SIGSTOP)
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
def test_where_there_can_be_no_helpers_this_process_does_all(
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
        assert_same(accumulated(replicas, x, target), accumulated(engine.compile(network), x, target))
        assert replicas._helpers == []


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
(helper,) = replicas._helpers
while not helper.ready():
    replicas.accumulate(x, target, criterion)
print(helper._process.pid, flush=True)
while "on" in sys.argv:
    replicas.accumulate(x, target, criterion)
"""
"""A plain script, which closes nothing; given "on", it does not end."""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not tell of processes there")
@pytest.mark.parametrize("words", [[], ["on"]])
def test_a_helper_ends_with_its_owner(words: list[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stdout=subprocess.PIPE, text=True) as owner:
        watchdog = threading.Timer(60, owner.kill)
        watchdog.start()
        assert owner.stdout
        assert owner.stdout.readline() == "once\n"  # also in what helpers run
        helper = int(owner.stdout.readline())
        if words:
            assert is_there(helper)
            owner.kill()
        assert owner.wait() == (-signal.SIGKILL if words else 0)
        watchdog.cancel()
    until = time.monotonic() + 60
    while is_there(helper):
        assert time.monotonic() < until, "the helper is still there"
        time.sleep(0.05)
