"""Replicas in processes of their own: the gradients of threads, and a helper that is lost costs nothing but time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.nn import MSE, Loss, Module
from n2n_cli.nn.functional import Array
from n2n_cli.nn.parallel import Replicas
from n2n_cli.processes import ProcessReplicas, SharedStep
from n2n_cli.stopping import StopError
from tests.nn.founding import founding


def batch(rng: np.random.Generator, n: int = 10) -> tuple[Array, Array]:
    x, target = rng.uniform(size=(2, n, 3, 8, 12)).astype(np.float32)
    return x, target


def accumulated(
    replicas: Replicas, x: Array, target: Array, criterion: Loss | None = None
) -> tuple[float, list[Array]]:
    replicas.network.zero_grad()
    loss = replicas.accumulate(x, target, criterion or MSE())
    return loss, [grad.copy() for _, grad in replicas.network.param()]


def assert_same(found: tuple[float, list[Array]], wanted: tuple[float, list[Array]]) -> None:
    assert found[0] == wanted[0]
    assert all(map(np.array_equal, found[1], wanted[1]))


@pytest.fixture
def network(rng: np.random.Generator) -> Module:
    return founding(rng, np.float32)


@pytest.fixture
def replicas(network: Module) -> Iterator[ProcessReplicas]:
    with closing(ProcessReplicas(network, processes=3)) as made:
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
    wanted = accumulated(Replicas(network), x, target)
    assert_same(accumulated(replicas, x, target), wanted)  # nobody is there yet, or somebody is
    assert len(await_helpers(replicas, x, target)) == 2
    own = watch_own_part(monkeypatch)
    assert_same(accumulated(replicas, x, target), wanted)
    assert own == [2]  # of 8
    for values, _ in network.param():
        values *= np.float32(0.9)
    x, target = batch(rng)
    assert_same(accumulated(replicas, x, target), accumulated(Replicas(network), x, target))


def test_a_batch_of_another_shape_is_done_here(
    network: Module, replicas: ProcessReplicas, rng: np.random.Generator
) -> None:
    x, target = batch(rng)
    await_helpers(replicas, x, target)
    assert_same(accumulated(replicas, x[:7], target[:7]), accumulated(Replicas(network), x[:7], target[:7]))
    doubles = x.astype(np.float64), target.astype(np.float64)
    assert_same(accumulated(replicas, *doubles), accumulated(Replicas(network), *doubles))


def test_what_a_lost_helper_had_to_do_is_done_here(
    network: Module, replicas: ProcessReplicas, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, target = batch(rng)
    wanted = accumulated(Replicas(network), x, target)
    first, _ = await_helpers(replicas, x, target)
    first._process.kill()
    first._process.join()
    own = watch_own_part(monkeypatch)
    assert_same(accumulated(replicas, x, target), wanted)
    assert own == [2, 3]
    own.clear()
    assert_same(accumulated(replicas, x, target), wanted)
    assert own == [4]  # the other one is still there


class FailsElsewhere(MSE):
    """An error that helpers alone meet."""

    def forward(self, prediction: Array, target: Array) -> float:
        if multiprocessing.parent_process() is not None:
            raise MemoryError
        return super().forward(prediction, target)


def test_a_helper_that_fails_says_nothing(
    network: Module, replicas: ProcessReplicas, rng: np.random.Generator, capfd: pytest.CaptureFixture[str]
) -> None:
    x, target = batch(rng)
    wanted = accumulated(Replicas(network), x, target)
    until = time.monotonic() + 60
    while replicas._helpers is None or any(helper._process.is_alive() for helper in replicas._helpers):
        assert_same(accumulated(replicas, x, target, FailsElsewhere()), wanted)
        assert time.monotonic() < until
    assert capfd.readouterr().err == ""


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


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("why", ["no processes", "a daemon", "float64"])
def test_where_there_can_be_no_helpers_this_process_does_all(
    why: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "no processes":
        monkeypatch.setattr("n2n_cli.processes.start_shielded", refuse)
    elif why == "a daemon":
        monkeypatch.setattr(multiprocessing.current_process(), "_config", {"daemon": True})
    network, (x, target) = founding(rng, np.float64 if why == "float64" else np.float32), batch(rng)
    with closing(ProcessReplicas(network, processes=2)) as replicas:
        assert_same(accumulated(replicas, x, target), accumulated(Replicas(network), x, target))
        assert replicas._helpers == []


def refuse(process: object) -> None:
    raise BlockingIOError(11, "Resource temporarily unavailable")


def test_what_a_step_shares_lies_side_by_side(network: Module, rng: np.random.Generator) -> None:
    step = SharedStep(network, *batch(rng), 8)
    shapes = [values.shape for values, _ in network.param()]
    assert [weights.shape for weights in step.weights] == shapes
    assert step.sums.shape == (8, sum(values.size for values, _ in network.param()))
    assert step.losses.dtype == np.float64
    step.losses[:] = np.arange(8)
    step.sums[:] = 1
    step.x[:] = 2
    np.testing.assert_array_equal(step.losses, np.arange(8))  # nothing lies on anything else
    assert (step.sums == 1).all()


OWNER = """
import sys
import numpy as np
from n2n_cli.nn import MSE
from n2n_cli.processes import ProcessReplicas
from tests.nn.founding import founding

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    replicas = ProcessReplicas(founding(rng, np.float32), processes=2)
    x, target = rng.uniform(size=(2, 8, 3, 8, 8)).astype(np.float32)
    replicas.accumulate(x, target, MSE())
    (helper,) = replicas._helpers
    while not helper.ready():
        replicas.accumulate(x, target, MSE())
    print(helper._process.pid, flush=True)
    while True:
        replicas.accumulate(x, target, MSE())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system does not kill so")
def test_a_helper_does_not_outlive_its_owner() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        helper = int(owner.stdout.readline())
        assert is_there(helper)
        owner.kill()
    until = time.monotonic() + 60
    while is_there(helper) and not is_zombie(helper):
        assert time.monotonic() < until, "the helper is still there"
        time.sleep(0.05)


def is_zombie(pid: int) -> bool:
    """Whether it has ended, and nobody has asked how: in a container there may be no process that does."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False
