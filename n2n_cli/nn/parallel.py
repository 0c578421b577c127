"""One network on several threads: each has a copy that shares the weights, and memory of its own.

NumPy lets other threads run while it computes. BLAS should then use one thread for each of ours; see `machine`.
"""

from __future__ import annotations

import contextvars
import copy
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import numpy as np

from n2n_cli.nn import arguments
from n2n_cli.nn.functional import Array
from n2n_cli.nn.losses import Loss
from n2n_cli.nn.memory import Pool, empty, using
from n2n_cli.nn.module import Module

Item = TypeVar("Item")
Result = TypeVar("Result")

PIXELS_A_PASS = 13 * 32 * 32
"""Pixels of a batch that go forward and backward together: what stays in a core's cache."""
LEAST_PASSES = 8
"""Passes that a batch is cut into where it has as many images, so that several threads have work."""


class _Member:
    """A copy of a network, its memory, and its gradients in one array."""

    def __init__(self, network: Module) -> None:
        self.network = copy.deepcopy(network)
        self.pool = Pool()
        self.parameters = [parameter for _, parameter in self.network.named_parameters()]
        self.grads = np.concatenate([np.zeros(0, np.float32), *(p.grad.reshape(-1) for p in self.parameters)])
        start = 0
        for parameter in self.parameters:
            part = self.grads[start : start + parameter.grad.size]
            parameter.grad = part.reshape(parameter.grad.shape)
            start += part.size

    def follow(self, network: Module) -> None:
        """Take over the network's mode and its weights, not copied."""
        if self.network.training != network.training:
            self.network.train(network.training)
        for own, (_, parameter) in zip(self.parameters, network.named_parameters(), strict=True):
            own.data = parameter.data


class Team:
    """A network and its copies, one for each thread.

    Parameters
    ----------
    network : Module
    threads : int
    """

    def __init__(self, network: Module, *, threads: int = 1) -> None:
        self.network = network
        self.threads = arguments.integer("threads", threads, 1)
        self._members: list[_Member] = []
        self._executor = ThreadPoolExecutor(self.threads, "n2n") if self.threads > 1 else None

    def map(self, task: Callable[[Module, Item], Result], items: Sequence[Item]) -> list[Result]:
        """task(copy of the network, item) for every item, on all threads; the results in the items' order.

        The copies are in the network's mode and have its weights; their gradients are their own.
        """
        return self._map(lambda member, item: task(member.network, item), items)

    def accumulate(self, x: Array, target: Array, criterion: Loss) -> float:
        """Add the gradients of the loss of a batch to the network's; returns the loss.

        The batch goes through in passes, cut and added up in the same way for any number of threads: the result is the
        same to the last bit.

        Parameters
        ----------
        x, target : (N, C, H, W) arrays
        criterion : Loss
            A mean over the batch.
        """
        parts = passes(len(x), math.prod(x.shape[2:]))
        sums: dict[int, Array] = {}

        def one_pass(member: _Member, i: int) -> float:
            part, loss = parts[i], copy.copy(criterion)
            share: float = (part.stop - part.start) / len(x)
            member.grads.fill(0)
            value = loss(member.network(x[part]), target[part])
            grad = loss.backward()
            np.multiply(grad, share, out=grad)
            member.network.accumulate(grad)
            sums[i] = empty(member.grads.shape, member.grads.dtype)
            np.copyto(sums[i], member.grads)
            return share * value

        losses = self._map(one_pass, range(len(parts)))
        total = sums[0]
        for i in range(1, len(parts)):
            total += sums[i]
        start = 0
        for _, grad in self.network.param():
            grad += total[start : start + grad.size].reshape(grad.shape)
            start += grad.size
        return math.fsum(losses)

    def _map(self, task: Callable[[_Member, Item], Result], items: Sequence[Item]) -> list[Result]:
        results: list[Result | None] = [None] * len(items)
        waiting = iter(range(len(items)))

        def work(member: _Member) -> None:
            with using(member.pool):
                for i in waiting:
                    results[i] = task(member, items[i])

        count = min(self.threads, len(items))
        while len(self._members) < count:
            self._members.append(_Member(self.network))
        members = self._members[:count]
        for member in members:
            member.follow(self.network)
        if self._executor is None or count == 1:
            for member in members:
                work(member)
        else:
            # A context of their own for NumPy's error state, which a new thread would not have.
            jobs = [self._executor.submit(contextvars.copy_context().run, work, member) for member in members]
            for job in jobs:
                job.result()
        return results  # type: ignore[return-value]  # every place is filled, or an error was raised


def passes(n: int, pixels: int) -> list[slice]:
    """The images of each pass of a batch of `n` images of so many pixels."""
    count = min(n, max(LEAST_PASSES, -(-n * pixels // PIXELS_A_PASS)))
    ends = [n * i // count for i in range(count + 1)] if count else [0]
    return [slice(start, stop) for start, stop in pairwise(ends)]
