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
from n2n_cli.nn.memory import Pool, using
from n2n_cli.nn.module import Module

Item = TypeVar("Item")
Result = TypeVar("Result")

PIXELS_A_PASS = 10 * 32 * 32
"""Pixels of a batch that go forward and backward together: what stays in a core's cache."""
LEAST_PASSES = 8
"""Passes that a batch is cut into where it has as many images, so that several threads have work."""


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
        self._members: list[Module] = []
        self._pools = [Pool() for _ in range(self.threads)]
        self._executor = ThreadPoolExecutor(self.threads, "n2n") if self.threads > 1 else None

    def map(self, task: Callable[[Module, Item], Result], items: Sequence[Item]) -> list[Result]:
        """task(copy of the network, item) for every item, on all threads; the results in the items' order.

        The copies are in the network's mode and have its weights; their gradients are their own.
        """
        results: list[Result | None] = [None] * len(items)
        waiting = iter(range(len(items)))

        def work(member: Module, pool: Pool) -> None:
            with using(pool):
                for i in waiting:
                    results[i] = task(member, items[i])

        members = self._synchronized(min(self.threads, len(items)))
        if self._executor is None or len(members) < 2:
            for member in members:
                work(member, self._pools[0])
        else:
            # A context of their own for NumPy's error state, which a new thread would not have.
            contexts = [contextvars.copy_context() for _ in members]
            jobs = zip(contexts, members, self._pools, strict=False)
            futures = [self._executor.submit(context.run, work, member, pool) for context, member, pool in jobs]
            for future in futures:
                future.result()
        return results  # type: ignore[return-value]  # every place is filled, or an error was raised

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
        own = self.network.param()
        sums = np.empty((len(parts), sum(grad.size for _, grad in own)), own[0][1].dtype if own else x.dtype)

        def one_pass(member: Module, i: int) -> float:
            part, loss = parts[i], copy.copy(criterion)
            share: float = (part.stop - part.start) / len(x)
            member.zero_grad()
            value = loss(member(x[part]), target[part])
            grad = loss.backward()
            grad *= share
            member.accumulate(grad)
            np.concatenate([grad.reshape(-1) for _, grad in member.param()], out=sums[i])
            return share * value

        losses = self.map(one_pass, range(len(parts)))
        for row in sums[1:]:
            sums[0] += row
        start = 0
        for _, grad in own:
            grad += sums[0, start : start + grad.size].reshape(grad.shape)
            start += grad.size
        return math.fsum(losses)

    def _synchronized(self, count: int) -> list[Module]:
        while len(self._members) < count:
            self._members.append(copy.deepcopy(self.network))
        parameters = [parameter for _, parameter in self.network.named_parameters()]
        for member in self._members[:count]:
            if member.training != self.network.training:
                member.train(self.network.training)
            for (_, parameter), original in zip(member.named_parameters(), parameters, strict=True):
                parameter.data = original.data
        return self._members[:count]


def passes(n: int, pixels: int) -> list[slice]:
    """The images of each pass of a batch of `n` images of so many pixels."""
    count = min(n, max(LEAST_PASSES, -(-n * pixels // PIXELS_A_PASS)))
    ends = [n * i // count for i in range(count + 1)] if count else [0]
    return [slice(start, stop) for start, stop in pairwise(ends)]
