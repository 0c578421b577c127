from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from n2n_cli import engine
from n2n_cli.engine.gradients import GradientLayout
from n2n_cli.engine.pool import Pool, empty
from n2n_cli.engine.replica import Replica
from n2n_cli.engine.sizes import LEAST_MICRO_BATCHES, micro_batches, most_values
from n2n_cli.engine.tiling import apply
from n2n_cli.errors import ArgumentError, ShapeError
from n2n_cli.nn import MSE, Conv2d, Module, PixelUnshuffle, Residual, Sequential, Sigmoid, SkipConcat
from n2n_cli.nn.functional import Array
from tests.nn.founding import founding
from tests.nn.unet import unet


def batch(rng: np.random.Generator, n: int = 11) -> tuple[Array, Array]:
    x, target = rng.uniform(size=(2, n, 3, 8, 12))
    return x, target


def gradients(network: Module) -> list[Array]:
    return [grad.copy() for _, grad in network.param()]


def test_micro_batches_give_the_gradients_of_the_whole_batch(rng: np.random.Generator) -> None:
    network, (x, target), loss = founding(rng), batch(rng), MSE()
    wanted_loss = loss(network(x), target)
    network.backward(loss.backward())
    wanted = gradients(network)
    network.zero_grad()
    assert engine.compile(network).accumulate(x, target, MSE()) == pytest.approx(wanted_loss, rel=1e-12)
    for grad, other in zip(gradients(network), wanted, strict=True):
        assert grad == pytest.approx(other, abs=1e-12 * np.abs(other).max())


@pytest.mark.parametrize("make", [founding, unet])
def test_number_of_threads_changes_nothing(make: Callable[..., Sequential], rng: np.random.Generator) -> None:
    network, (x, target) = make(rng, np.float32), rng.uniform(size=(2, 21, 3, 8, 16)).astype(np.float32)
    results = []
    for threads in (1, 2, 3, 40):
        network.zero_grad()
        executor = engine.compile(network, threads=threads)
        losses = [executor.accumulate(x, target, MSE()) for _ in range(3)]  # the second and third on tape
        results.append((losses, gradients(network)))
    for losses, grads in results[1:]:
        assert losses == results[0][0]
        assert all(map(np.array_equal, grads, results[0][1]))


def test_gradients_accumulate(rng: np.random.Generator) -> None:
    network, (x, target) = founding(rng), batch(rng)
    executor = engine.compile(network, threads=2)
    executor.accumulate(x, target, MSE())
    once = gradients(network)
    executor.accumulate(x, target, MSE())
    for grad, other in zip(gradients(network), once, strict=True):
        assert grad == pytest.approx(2 * other, rel=1e-12)


def test_new_weights_and_mode_reach_every_replica(rng: np.random.Generator) -> None:
    network, (x, _) = founding(rng), batch(rng)
    executor = engine.compile(network, threads=2)
    weight = network[0].weight  # type: ignore[attr-defined]
    for step, training in enumerate((False, True, False, True)):
        if step == 2:
            network.load_state_dict(founding(rng).state_dict())
        if step == 3:
            weight.data = weight.data + 1
        outputs = executor.map(
            lambda replica, i: (replica(x[i : i + 1]).copy(), replica.kernel.training), range(len(x)), training=training
        )
        assert np.concatenate([y for y, _ in outputs]) == pytest.approx(network(x), abs=1e-12)
        assert {mode for _, mode in outputs} == {training}


def test_new_weights_reach_the_transformed_weights_of_all_threads(rng: np.random.Generator) -> None:
    network = Sequential(Conv2d(32, 32, 3, rng=rng))
    executor = engine.compile(network, threads=2)
    x = rng.normal(size=(1, 32, 8, 8)).astype(np.float32)
    before = executor.map(lambda replica, _: replica(x).copy(), range(4))
    network.load_state_dict({name: values + 1 for name, values in network.state_dict().items()})
    after = executor.map(lambda replica, _: replica(x).copy(), range(4))
    for outputs in (before, after):
        assert all(np.array_equal(y, outputs[0]) for y in outputs)
    assert after[0] == pytest.approx(network(x), abs=1e-3)


def test_convolutions_that_share_a_weight_keep_their_own_biases(rng: np.random.Generator) -> None:
    first, second, third = (Conv2d(16, 16, 3, padding=1, bias=i < 2, rng=rng) for i in range(3))
    second.weight = third.weight = first.weight
    x = rng.normal(size=(1, 16, 6, 6)).astype(np.float32)
    executor = engine.compile(Sequential(first, second, third))
    wanted = third(second(first(x)))
    for _ in range(3):  # first without a tape, then on one
        (y,) = executor.map(lambda replica, item: replica(item).copy(), [x])
        assert y == pytest.approx(wanted, abs=1e-5)


def test_map_keeps_the_order_of_items_on_several_threads(rng: np.random.Generator) -> None:
    both_started = threading.Barrier(2, timeout=20)

    def task(replica: Replica, item: int) -> tuple[int, str]:
        if item < 2:
            both_started.wait()
        return item * item, threading.current_thread().name

    results = engine.compile(founding(rng), threads=2).map(task, list(range(9)))
    assert [square for square, _ in results] == [i * i for i in range(9)]
    assert len({name for _, name in results}) == 2


def test_map_without_items_is_empty(rng: np.random.Generator) -> None:
    network = founding(rng)
    assert engine.compile(network, threads=2).map(lambda replica, item: item, []) == []


def test_error_in_a_thread_reaches_the_caller(rng: np.random.Generator) -> None:
    def task(replica: Replica, item: int) -> int:
        return 1 // (item - 3)

    executor, seen = engine.compile(founding(rng), threads=2), []

    def noted(replica: Replica, item: int) -> int:
        seen.append(item)
        return task(replica, item)

    with pytest.raises(ZeroDivisionError):
        executor.map(noted, list(range(500)))
    assert len(seen) < 500, "the rest is not begun"
    assert executor.map(lambda replica, item: item, [1, 2]) == [1, 2]


def test_error_is_raised_after_all_threads_have_ended(rng: np.random.Generator) -> None:
    both_started, ended = threading.Barrier(2, timeout=20), []

    def task(replica: Replica, item: int) -> None:
        both_started.wait()
        if threading.current_thread() is threading.main_thread():
            raise ZeroDivisionError
        time.sleep(0.05)
        ended.append(item)

    with pytest.raises(ZeroDivisionError):
        engine.compile(founding(rng), threads=2).map(task, [0, 1])
    assert len(ended) == 1


def test_each_replica_uses_its_own_pool(rng: np.random.Generator) -> None:
    def task(replica: Replica, item: int) -> bool:
        return replica.pool.find(empty((3,), np.float32)) is not None

    assert all(engine.compile(founding(rng), threads=2).map(task, range(20)))


def test_threads_use_the_caller_s_numpy_error_state(rng: np.random.Generator) -> None:
    def task(replica: Replica, item: int) -> float:
        return float(np.float32(1e38) * np.float32(1e38))

    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.simplefilter("error")
        assert engine.compile(founding(rng), threads=2).map(task, [0, 1, 2]) == [np.inf] * 3


@pytest.mark.parametrize("threads", [0, -1, 1.5])
def test_number_of_threads_out_of_range_is_refused(threads: int, rng: np.random.Generator) -> None:
    with pytest.raises(ArgumentError, match="`threads` is "):
        engine.compile(founding(rng), threads=threads)


@pytest.mark.parametrize(
    ("n", "together", "wanted"),
    [(100, 5, 20), (100, 20, LEAST_MICRO_BATCHES), (3, 10, 3), (1, 10, 1), (4, 0.1, 4), (0, 5, 0), (1000, 4.6, 200)],
)
def test_micro_batches_cover_the_batch_evenly(n: int, together: float, wanted: int) -> None:
    parts = micro_batches(n, together)
    assert len(parts) == wanted
    assert [i for part in parts for i in range(n)[part]] == list(range(n))
    sizes = [part.stop - part.start for part in parts]
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert all(size <= max(1, round(together)) for size in sizes)


def test_most_values_counts_the_largest_layer_output(rng: np.random.Generator) -> None:
    network = founding(rng)
    assert most_values(network, (100, 3, 32, 32)) == 48 * 32 * 32
    wide = Sequential(Residual(SkipConcat(Conv2d(3, 9, 3, padding=1)), Conv2d(12, 3, 1)))
    assert most_values(wide, (1, 3, 4, 5)) == 12 * 4 * 5
    assert most_values(Sequential(PixelUnshuffle(2)), (7, 3, 4, 6)) == 3 * 4 * 6


@pytest.mark.parametrize(("n", "targets"), [(0, 0), (3, 2), (2, 3)])
def test_batch_without_images_or_targets_is_refused(n: int, targets: int, rng: np.random.Generator) -> None:
    with pytest.raises(ShapeError, match=rf"got a batch of shape \({n}, 3, 8, 8\) and targets of shape \({targets},"):
        engine.compile(founding(rng)).accumulate(np.zeros((n, 3, 8, 8)), np.zeros((targets, 3, 8, 8)), MSE())


def test_executor_keeps_a_pending_backward_of_the_network(rng: np.random.Generator) -> None:
    network, (x, target) = founding(rng), batch(rng)
    y = network(x)
    engine.compile(network, threads=2).accumulate(x, target, MSE())
    assert network.backward(y).shape == x.shape


def test_network_without_parameters_has_a_loss(rng: np.random.Generator) -> None:
    x, target = batch(rng)
    network = Sequential(Sigmoid())
    wanted = MSE()(network(x), target)
    executor = engine.compile(network, threads=2)
    for _ in range(3):  # the second and third on tape
        assert executor.accumulate(x, target, MSE()) == pytest.approx(wanted, rel=1e-12)


def test_threads_and_memory_are_freed_with_the_executor(rng: np.random.Generator) -> None:
    executor, (x, target) = engine.compile(founding(rng), threads=3), batch(rng)
    for _ in range(3):
        executor.accumulate(x, target, MSE())
    both_started = threading.Barrier(2, timeout=20)

    def seen(replica: Replica, item: int) -> tuple[threading.Thread, weakref.ref[Pool]]:
        both_started.wait()
        return threading.current_thread(), weakref.ref(replica.pool)

    found = executor.map(seen, [0, 1])
    threads = [thread for thread, _ in found if thread is not threading.main_thread()]
    held = [reference for _, reference in found]
    assert threads
    del executor
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive()
    assert not any(reference() for reference in held)


FORK = """
import os, sys, warnings
import numpy as np
from n2n_cli.nn import Conv2d, Sequential
from n2n_cli import engine

warnings.simplefilter("ignore")  # Python 3.12 warns of a fork in a process with threads
executor = engine.compile(Sequential(Conv2d(3, 4, 3, rng=np.random.default_rng(0))), threads=2)
pictures = np.zeros((6, 1, 3, 5, 6), np.float32)
before = executor.map(lambda replica, x: replica(x).copy(), pictures)
child = os.fork()
after = executor.map(lambda replica, x: replica(x).copy(), pictures)
assert all(map(np.array_equal, before, after))
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_replicas_work_after_a_fork() -> None:
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60)


def test_gradients_have_the_memory_layout_of_their_kernels(rng: np.random.Generator) -> None:
    network = Sequential(Conv2d(3, 32, 3, stride=2, rng=rng), Conv2d(32, 33, 3, rng=rng), Conv2d(33, 4, 3, padding=1))
    kernel, parameters = engine.kernel_of(network), [parameter for _, parameter in network.named_parameters()]
    layout = GradientLayout(parameters, kernel)
    flat = layout.zeros()
    parts = dict(zip(map(id, parameters), layout.split(flat), strict=True))
    assert [order for _, order in kernel.gradient_orders()] == [(0, 2, 3, 1), (2, 3, 1, 0), (2, 3, 0, 1)]
    for parameter, order in kernel.gradient_orders():
        part = parts[id(parameter)]
        assert part.shape == parameter.data.shape
        assert part.transpose(order).flags.c_contiguous
        assert np.shares_memory(part, flat)


class Halved(Module):
    """A layer for which the engine has no kernel."""

    def forward(self, x: Array) -> Array:
        return self.keep(x / 2)

    def backward(self, grad_output: Array) -> Array:
        self.use_up()
        return grad_output / 2


def test_network_in_eval_mode_can_be_trained(rng: np.random.Generator) -> None:
    network = Sequential(Conv2d(3, 3, 1, rng=rng), Halved()).eval()
    x, target = batch(rng)
    loss = engine.compile(network).accumulate(x, target, MSE())
    assert loss == pytest.approx(MSE()(network(x), target))
    assert not network.training
    assert all(grad.any() for grad in gradients(network))


@pytest.mark.parametrize("size", [(12, 16), (300, 200)])
def test_threads_that_share_an_executor_take_turns(size: tuple[int, int], rng: np.random.Generator) -> None:
    executor = engine.compile(unet(rng, np.float32), threads=2)
    images: list[Array] = [rng.random((1, 3, *size), dtype=np.float32) for _ in range(8)]
    wanted = [apply(executor, x) for x in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: apply(executor, x), images))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
