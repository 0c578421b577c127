"""Executor of a compiled network, on several threads.

Each thread has its own memory and its own copy of the kernels, which shares the parameters. NumPy releases Python's
lock while it computes; BLAS should then use a single thread per call: see `system.blas`.
"""

from __future__ import annotations

import contextvars
import copy
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from threading import RLock
from typing import TypeVar

import numpy as np

from n2n_cli.engine.bands import Bands, Counting
from n2n_cli.engine.gradients import GradientLayout
from n2n_cli.engine.kernel import Kernel
from n2n_cli.engine.pool import PackedPool, Pool, empty, using
from n2n_cli.engine.replica import Replica
from n2n_cli.engine.sizes import LEAST_MICRO_BATCHES, cut, micro_batches
from n2n_cli.engine.tiles import Plan
from n2n_cli.errors import ShapeError
from n2n_cli.nn import arguments
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.losses import Loss
from n2n_cli.nn.module import Parameter
from n2n_cli.system.progress import advance

Item = TypeVar("Item")
Result = TypeVar("Result")

VALUES_AT_ONCE = 5 * 48 * 32 * 32
"""Values in the largest array of a micro-batch in training, chosen to fit into the cache of a core."""


class Executor:
    """Runs a compiled network on several threads; created by `engine.compile`.

    Parameters
    ----------
    kernel : Kernel
    parameters : sequence of Parameter
        All parameters of the kernel. Their gradients are accumulated in `grad`.
    threads : int
        Number of threads, including the caller's. The others start at the first use and end when the executor is
        garbage-collected.

    Attributes
    ----------
    lock : RLock
        Held during a training step or a prediction: threads that share an executor take turns.
    between : function
        Called before each item of work, on the thread that processes it. If it raises an exception, the work stops.
    """

    def __init__(self, kernel: Kernel, parameters: Sequence[Parameter], *, threads: int = 1) -> None:
        self.kernel, self.parameters = kernel, list(parameters)
        self.threads = arguments.integer("threads", threads, 1)
        self.between: Callable[[], None] = lambda: None
        self._layout = GradientLayout(self.parameters, kernel)
        self._replicas: list[Replica] = []
        self._pools: list[PackedPool] = []  # of the threads that use the first replica's kernels in `in_bands`
        self._last_plan: tuple[object, Plan] | None = None
        self.lock = RLock()
        self._start_threads()

    def _start_threads(self) -> None:
        self._threads = ThreadPoolExecutor(max(1, self.threads - 1), "n2n")
        self._process = os.getpid()

    def __call__(self, x: Array) -> Array:
        """Output for a batch of images, computed on this thread in one forward pass.

        Parameters
        ----------
        x : (N, C, H, W) array
            Of a size that the network preserves.

        Returns
        -------
        (N, C, H, W) array
        """
        with self.lock:
            (y,) = self.map(lambda replica, part: replica(part).copy(), [x])
        return y

    def planned(self, key: object, make: Callable[[], Plan]) -> Plan:
        """Make a plan, or return the last one if its key is the same.

        Planning is slow for small images.
        """
        if self._last_plan is None or self._last_plan[0] != key:
            self._last_plan = key, make()
        return self._last_plan[1]

    def map(
        self, task: Callable[[Replica, Item], Result], items: Sequence[Item], *, training: bool = False
    ) -> list[Result]:
        """Call task(replica, item) for all items, on all threads.

        Results are in the order of the items.
        """
        replicas = self._updated_replicas(min(self.threads, len(items)), training=training)
        return self._share([(replica.pool, partial(task, replica)) for replica in replicas], items)

    def _updated_replicas(self, count: int, *, training: bool) -> list[Replica]:
        """`count` replicas in training or eval mode, with current parameters."""
        while len(self._replicas) < count:
            self._replicas.append(Replica(self.kernel, self.parameters))
        for replica in self._replicas[:count]:
            replica.follow(self.parameters, training=training)
        return self._replicas[:count]

    def in_bands(self, x: Array) -> Array:
        """Output for a large image, with each layer computed by all threads.

        Parameters
        ----------
        x : (N, C, H, W) array

        Returns
        -------
        (N, C, H, W) array
            The next call may overwrite it.
        """
        (first,) = self._updated_replicas(1, training=False)
        while len(self._pools) < self.threads - 1:
            self._pools.append(PackedPool())
        dtype = np.result_type(x, *(parameter.data for parameter in self.parameters))
        counting = Counting(itemsize=dtype.itemsize)
        first.kernel.in_bands(x, counting)
        first.pool.expect(counting.memory)
        bands = Bands(
            lambda task, rows: self._share([(pool, task) for pool in (first.pool, *self._pools)], rows),
            first.pool,
            self.threads,
            dtype,
            lambda values: advance(values / counting.values),
        )
        return first.kernel.in_bands(x, bands)

    def _share(self, tasks: Sequence[tuple[Pool, Callable[[Item], Result]]], items: Sequence[Item]) -> list[Result]:
        """Process the items on one thread for each (pool, task) pair.

        Each item is processed by one of the tasks. Results are in the order of the items.
        """
        results: list[Result | None] = [None] * len(items)
        waiting = iter(range(len(items)))

        def work(pool: Pool, task: Callable[[Item], Result]) -> None:
            with using(pool):
                try:
                    for i in waiting:
                        self.between()
                        results[i] = task(items[i])
                except BaseException:
                    list(waiting)  # no thread starts another item
                    raise

        tasks = tasks[: len(items)]
        if self._process != os.getpid():  # threads do not survive a fork
            self._start_threads()
        futures: list[Future[None]] = []
        try:
            # The caller's thread works too. The others get a copy of its context, which holds NumPy's error state.
            for each in tasks[1:]:
                futures.append(self._threads.submit(contextvars.copy_context().run, partial(work, *each)))
            for each in tasks[:1]:
                work(*each)
        finally:
            wait(futures)
        for future in futures:
            future.result()
        return results  # type: ignore[return-value]  # every place is filled, or an error was raised

    def release(self) -> None:
        """Return the replicas' working memory to the system, except for tapes."""
        for pool in (*(replica.pool for replica in self._replicas), *self._pools):
            pool.trim()

    def accumulate(self, x: Array, target: Array, criterion: Loss) -> float:
        """Add the gradients of a batch's loss to the parameters; return the loss.

        The batch is split into micro-batches, whose gradients are summed in the same order for any number of threads:
        the result does not depend on that number, to the last bit.

        Parameters
        ----------
        x, target : (N, C, H, W) arrays
            N is at least 1.
        criterion : Loss
            A mean over the batch.

        Raises
        ------
        ShapeError
            If the batch is empty, or the number of targets differs.
        """
        if not len(x) == len(target) > 0:
            raise ShapeError(
                f"got a batch of shape {x.shape} and targets of shape {target.shape}; "
                "they need the same length, at least 1"
            )
        groups = self.groups(x.shape)
        with self.lock:
            sums, losses = self.gradients_of(groups, x, target, criterion)
            total = sums[0]
            for i in range(1, len(groups)):
                total += sums[i]
            for parameter, grad in zip(self.parameters, self._layout.split(total), strict=True):
                parameter.grad += grad
        return math.fsum(losses)

    def groups(self, shape: Shape) -> list[list[slice]]:
        """Split a batch of `shape` into groups of micro-batches.

        Each slice is a micro-batch: images that are processed together.
        """
        batches = micro_batches(shape[0], VALUES_AT_ONCE / self.kernel.most_values(shape))
        return [batches[group] for group in cut(len(batches), LEAST_MICRO_BATCHES)]

    def gradients_of(
        self, groups: Sequence[Sequence[slice]], x: Array, target: Array, criterion: Loss
    ) -> tuple[list[Array], list[float]]:
        """Gradients of some groups of a batch, and their shares of the loss.

        The gradients of a group are one flat array.
        """

        def one_group(replica: Replica, group: Sequence[slice]) -> tuple[Array, float]:
            loss, value = copy.copy(criterion), 0.0
            replica.grads.fill(0)
            for micro_batch in group:
                share: float = (micro_batch.stop - micro_batch.start) / len(x)
                value += share * replica.accumulate(x[micro_batch], target[micro_batch], loss, share)
            grads = empty(replica.grads.shape, replica.grads.dtype)
            np.copyto(grads, replica.grads)
            return grads, value

        sums, losses = zip(*self.map(one_group, groups, training=True), strict=True)
        return list(sums), list(losses)
