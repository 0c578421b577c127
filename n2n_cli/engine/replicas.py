"""One network on several threads: each has a copy that shares the weights, and memory of its own.

NumPy lets other threads run while it computes. BLAS should then use one thread for each of ours; see `machine`.
"""

from __future__ import annotations

import contextvars
import copy
import itertools
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TypeVar

import numpy as np

from n2n_cli.engine.bands import Bands, Counting
from n2n_cli.engine.channels_last import channels_first
from n2n_cli.engine.pool import PackedPool, Pool, empty, empty_like, using
from n2n_cli.engine.tape import Tape
from n2n_cli.errors import ShapeError
from n2n_cli.nn import arguments
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.losses import Loss
from n2n_cli.nn.module import Module, Parameter

Item = TypeVar("Item")
Result = TypeVar("Result")

VALUES_A_PASS = 5 * 48 * 32 * 32
"""Values in the largest array of the images that go forward and backward together: what stays in a core's cache."""
LEAST_PASSES = 8
"""Passes that a batch is cut into where it has as many images, so that several threads have work."""
TAPES, TAPED_PIXELS = 8, 24 * 1024
"""Shapes whose passes a thread keeps on tape, at most, and the pixels of the largest: a tape holds on to its memory."""


class Replica:
    """A copy of a network that shares its weights, with memory and gradients of its own, for one thread."""

    def __init__(self, network: Module) -> None:
        self.network = copy.deepcopy(network).train(network.training)  # which drops what a pass has kept
        self.pool = PackedPool()
        self._parameters = [parameter for _, parameter in self.network.named_parameters()]
        for own, (_, parameter) in zip(self._parameters, network.named_parameters(), strict=True):
            own.derived = parameter.derived
        self.grads = np.concatenate([np.zeros(0, np.float32), *(p.grad.reshape(-1) for p in self._parameters)])
        for parameter, part in zip(self._parameters, _split(self.grads, self._parameters), strict=True):
            parameter.grad = part
        self._tapes: dict[tuple[object, ...], _Taped | None] = {}

    def __call__(self, x: Array) -> Array:
        """The network's output; its memory may be used again by the next call."""
        taped = self._taped(x)
        return self.network(x) if taped is None else taped.forward(x)

    def accumulate(self, x: Array, target: Array, loss: Loss, share: float) -> float:
        """Add the gradients of `share` times the loss of a few images to the replica's; returns the loss."""
        taped = self._taped(x)
        y = self.network(x) if taped is None else taped.forward(x)
        value = loss(y, target)
        grad = loss.backward()
        np.multiply(grad, share, out=grad)
        if taped is None:
            self.network.accumulate(grad)
        else:
            taped.accumulate(grad)
        return value

    def follow(self, network: Module) -> None:
        """Take over the network's mode and its weights, not copied."""
        if self.network.training != network.training:
            self.network.train(network.training)
        for own, (_, parameter) in zip(self._parameters, network.named_parameters(), strict=True):
            if own.data is not parameter.data:
                own.data = parameter.data
                self._tapes.clear()
        self.network.prepare()

    def _taped(self, x: Array) -> _Taped | None:
        """The passes of x's shape on tape, from the second time on that the shape is met; None where they are not."""
        if x.ndim != 4 or not 0 < len(x) * math.prod(x.shape[2:]) <= TAPED_PIXELS or not self.network.tapes:
            return None
        key = (x.shape, x.dtype, self.network.training)
        if key not in self._tapes:
            if len(self._tapes) == TAPES:
                del self._tapes[next(iter(self._tapes))]
            self._tapes[key] = None
        elif self._tapes[key] is None:
            self._tapes[key] = _Taped(self.network, x)
        return self._tapes[key]


class _Taped:
    """The passes of one shape through a network, on tapes: the way back finds what the way there has kept."""

    def __init__(self, network: Module, x: Array) -> None:
        pool = Pool()
        n, c, h, w = x.shape
        self._forward, self._backward = Tape(pool), Tape(pool)
        self._x = channels_first(pool.empty((n, h, w, c), x.dtype))
        np.copyto(self._x, x)
        with self._forward.recording():
            self._y = network(self._x)
        if network.training:
            with using(pool):
                self._grad = empty_like(self._y)
            self._grad.fill(0)
            before = [grad.copy() for _, grad in network.param()]
            with self._backward.recording():
                network.accumulate(self._grad)
            for (_, grad), values in zip(network.param(), before, strict=True):
                grad[...] = values  # recording is not a pass, though zero times infinity was added

    def forward(self, x: Array) -> Array:
        np.copyto(self._x, x)
        self._forward.run()
        return self._y

    def accumulate(self, grad: Array) -> None:
        np.copyto(self._grad, grad)
        self._backward.run()


class Replicas:
    """A network and its copies, one for each thread.

    Parameters
    ----------
    network : Module
    threads : int
        With the caller's. They are started when there is work, and end when the replicas are dropped.
    """

    def __init__(self, network: Module, *, threads: int = 1) -> None:
        self.network = network
        self.threads = arguments.integer("threads", threads, 1)
        self._replicas: list[Replica] = []
        self._pools: list[PackedPool] = []  # of threads that share a replica's layers
        self._start_threads()

    def _start_threads(self) -> None:
        self._executor = ThreadPoolExecutor(max(1, self.threads - 1), "n2n")
        self._process = os.getpid()

    def map(self, task: Callable[[Replica, Item], Result], items: Sequence[Item]) -> list[Result]:
        """task(replica, item) for every item, on all threads; the results in the items' order.

        The replicas are in the network's mode and have its weights.
        """
        replicas = self._following(min(self.threads, len(items)))
        return self._share([(replica.pool, partial(task, replica)) for replica in replicas], items)

    def _following(self, count: int) -> list[Replica]:
        """So many replicas, which are in the network's mode and have its weights."""
        while len(self._replicas) < count:
            self._replicas.append(Replica(self.network))
        for replica in self._replicas[:count]:
            replica.follow(self.network)
        return self._replicas[:count]

    def in_bands(self, x: Array, *, advance: Callable[[float], None] = lambda part: None) -> Array:
        """The network's output for one large picture, of which all threads make a part of each layer.

        Parameters
        ----------
        x : (N, C, H, W) array
        advance : function
            Told, by any thread, what part of the work was done; all parts add up to 1.

        Returns
        -------
        (N, C, H, W) array
            Its memory may be used again by the next call.
        """
        (first,) = self._following(1)
        while len(self._pools) < self.threads - 1:
            self._pools.append(PackedPool())
        dtype = np.result_type(x, *(values for values, _ in self.network.param()))
        all_of_it = Counting(itemsize=dtype.itemsize)
        first.network.in_bands(x, all_of_it)
        first.pool.expect(all_of_it.memory)
        bands = Bands(
            lambda task, rows: self._share([(pool, task) for pool in (first.pool, *self._pools)], rows),
            first.pool,
            self.threads,
            dtype,
            lambda values: advance(values / all_of_it.values),
        )
        return first.network.in_bands(x, bands)

    def _share(self, workers: Sequence[tuple[Pool, Callable[[Item], Result]]], items: Sequence[Item]) -> list[Result]:
        """What workers, no more than there are threads, each with a pool, make of the items, in the items' order."""
        results: list[Result | None] = [None] * len(items)
        waiting = iter(range(len(items)))

        def work(pool: Pool, task: Callable[[Item], Result]) -> None:
            with using(pool):
                try:
                    for i in waiting:
                        results[i] = task(items[i])
                except BaseException:
                    list(waiting)  # nobody begins anything more
                    raise

        workers = workers[: len(items)]
        if self._process != os.getpid():  # a fork takes no threads along
            self._start_threads()
        jobs: list[Future[None]] = []
        try:
            # The caller's thread works too. The others get its context: NumPy's error state is part of it.
            for worker in workers[1:]:
                jobs.append(self._executor.submit(contextvars.copy_context().run, partial(work, *worker)))
            for worker in workers[:1]:
                work(*worker)
        finally:
            wait(jobs)
        for job in jobs:
            job.result()
        return results  # type: ignore[return-value]  # every place is filled, or an error was raised

    def release(self) -> None:
        """Give the memory that the replicas have worked in back to the system; small shapes' tapes keep theirs."""
        for pool in (*(replica.pool for replica in self._replicas), *self._pools):
            pool.trim()

    def accumulate(self, x: Array, target: Array, criterion: Loss) -> float:
        """Add the gradients of the loss of a batch to the network's; returns the loss.

        The batch goes through in passes, cut and added up in the same way for any number of threads: the result is the
        same to the last bit.

        Parameters
        ----------
        x, target : (N, C, H, W) arrays
            N at least 1.
        criterion : Loss
            A mean over the batch.

        Raises
        ------
        ShapeError
            When the batch is empty, or has more or fewer targets.
        """
        if not len(x) == len(target) > 0:
            raise ShapeError(
                f"a batch of shape {x.shape} came with targets of shape {target.shape}; they must be alike"
            )
        groups = self.groups(x.shape)
        sums, losses = self.gradients_of(groups, x, target, criterion)
        total = sums[0]
        for i in range(1, len(groups)):
            total += sums[i]
        own = [parameter for _, parameter in self.network.named_parameters()]
        for parameter, part in zip(own, _split(total, own), strict=True):
            parameter.grad += part
        return math.fsum(losses)

    def groups(self, shape: Shape) -> list[list[slice]]:
        """How a batch of such a shape is cut: groups of passes, each the images that go through together."""
        parts = passes(shape[0], VALUES_A_PASS / self.network.most_values(shape))
        return [parts[group] for group in _cut(len(parts), LEAST_PASSES)]

    def gradients_of(
        self, groups: Sequence[Sequence[slice]], x: Array, target: Array, criterion: Loss
    ) -> tuple[list[Array], list[float]]:
        """What some groups of a batch add to its gradients, in one array for each group, and to its loss."""

        def one_group(replica: Replica, group: Sequence[slice]) -> tuple[Array, float]:
            loss, value = copy.copy(criterion), 0.0
            replica.grads.fill(0)
            for part in group:
                share: float = (part.stop - part.start) / len(x)
                value += share * replica.accumulate(x[part], target[part], loss, share)
            grads = empty(replica.grads.shape, replica.grads.dtype)
            np.copyto(grads, replica.grads)
            return grads, value

        sums, losses = zip(*self.map(one_group, groups), strict=True)
        return list(sums), list(losses)


def passes(n: int, together: float) -> list[slice]:
    """The images of each pass of a batch of `n` images, of which about so many go together."""
    return _cut(n, max(LEAST_PASSES, -(-n // max(1, round(together)))))


def _split(flat: Array, parameters: Sequence[Parameter]) -> list[Array]:
    """The part of one array that belongs to each parameter, as views of the parameters' shapes, in their order."""
    ends = [0, *itertools.accumulate(parameter.grad.size for parameter in parameters)]
    return [
        flat[start:stop].reshape([parameter.grad.shape[axis] for axis in parameter.order]).transpose(_back(parameter))
        for parameter, (start, stop) in zip(parameters, itertools.pairwise(ends), strict=True)
    ]


def _back(parameter: Parameter) -> list[int]:
    """Where each axis stands in the parameter's order."""
    return [parameter.order.index(axis) for axis in range(len(parameter.order))]


def _cut(n: int, count: int) -> list[slice]:
    """0 to n in at most `count` parts that differ by one at the most."""
    count = min(n, count)
    return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]
