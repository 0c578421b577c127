"""Replicas in processes of their own, for short steps.

Between any two of NumPy's calls a thread needs Python's lock. Where calls take microseconds, threads lose more time by
waiting for each other than a second one saves; processes have a lock each.
"""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import get_context, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np

from n2n_cli.machine import one_blas_thread
from n2n_cli.nn import Loss, Module, channels_last
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.parallel import Replicas
from n2n_cli.stopping import StoppableReplicas

_HELD_BACK = ("SIGINT", "SIGTERM", "SIGHUP")
_SPINNING, _PAUSE = 2e-3, 0.2
"""Seconds that a process asks without a pause for what is nearly there, and then between two looks at the other."""


class ProcessReplicas(StoppableReplicas):
    """A network and its copies, of which all but one are in processes of their own, the helpers.

    Gradients are those that threads find, to the last bit: a batch is cut and added up in the same way. Helpers start
    at the first step and take their part from when they are ready; until then, and if they are lost, this process does
    it.

    Parameters
    ----------
    network : Module
    processes : int
        With the caller's.
    """

    def __init__(self, network: Module, *, processes: int) -> None:
        super().__init__(network, threads=1)
        self._processes = processes
        self._helpers: list[_Helper] | None = None

    def gradients_of(
        self, groups: Sequence[Sequence[slice]], x: Array, target: Array, criterion: Loss
    ) -> tuple[list[Array], list[float]]:
        if self._helpers is None:
            self._helpers = self._started(len(groups), x, target, criterion)
        helpers = [helper for helper in self._helpers if helper.ready() and helper.step.fits(x, target, len(groups))]
        count = len(helpers) + 1
        own, *others = (slice(len(groups) * i // count, len(groups) * (i + 1) // count) for i in range(count))
        try:
            for helper, part in zip(helpers, others, strict=True):
                helper.begin(self.network, x, target, part)
            sums, losses = super().gradients_of(groups[own], x, target, criterion)
            for helper, part in zip(helpers, others, strict=True):
                found = helper.end(part) or super().gradients_of(groups[part], x, target, criterion)
                sums += found[0]
                losses += found[1]
        except BaseException:
            self.close()  # they may be in the middle of something
            raise
        return sums, losses

    def _started(self, groups: int, x: Array, target: Array, criterion: Loss) -> list[_Helper]:
        helpers: list[_Helper] = []
        of_float32 = all(parameter.data.dtype == np.float32 for _, parameter in self.network.named_parameters())
        if of_float32 and not multiprocessing.current_process().daemon:  # a daemon may not start any
            with suppress(OSError):  # no shared memory, or too many processes
                while len(helpers) < min(self._processes, groups) - 1:
                    helpers.append(_Helper(self.network, criterion, SharedStep(self.network, x, target, groups)))
        return helpers

    def close(self) -> None:
        """End the helpers; another step starts others."""
        helpers, self._helpers = self._helpers or [], None
        for helper in helpers:
            helper.close()


class SharedStep:
    """What two processes both see: the weights and the batch of a step, and what the one finds for the other.

    Parameters
    ----------
    network : Module
        Of float32, as the batches.
    x, target : (N, C, H, W) arrays
        As all batches will be.
    groups : int
        That such a batch is cut into.

    Attributes
    ----------
    part : (2,) array of int64
        The groups that the step is about: the first, and the one behind the last.
    losses : (groups,) array of float64
    sums : (groups, size) array of float32
        The gradients of each group, in one array.
    weights : list of arrays of float32
    """

    def __init__(self, network: Module, x: Array, target: Array, groups: int) -> None:
        weights = [parameter.data.shape for _, parameter in network.named_parameters()]
        self._shapes: tuple[Shape, ...] = x.shape, target.shape, (groups, sum(map(math.prod, weights))), *weights
        count = 2 * (2 + groups) + sum(map(math.prod, self._shapes))
        self._memory = get_context("spawn").RawArray(ctypes.c_float, count)
        self._look()

    def _look(self) -> None:
        groups, flat = self._shapes[2][0], np.frombuffer(memoryview(self._memory), np.float32)
        numbers, rest = flat[: 2 * (2 + groups)], flat[2 * (2 + groups) :]
        self.part = numbers[:4].view(np.int64)
        self.losses = numbers[4:].view(np.float64)
        arrays = []
        for shape in self._shapes:
            arrays.append(rest[: math.prod(shape)].reshape(shape))
            rest = rest[math.prod(shape) :]
        self.x, self.target, self.sums, *self.weights = arrays

    def __getstate__(self) -> dict[str, Any]:
        return {"_shapes": self._shapes, "_memory": self._memory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._look()

    def fits(self, x: Array, target: Array, groups: int) -> bool:
        """Whether a batch is as those that it was made for."""
        return (x.shape, target.shape, groups) == (
            *self._shapes[:2],
            len(self.losses),
        ) and x.dtype == target.dtype == np.float32


class _Helper:
    """A process that finds the gradients of parts of batches, as its owner sees it."""

    def __init__(self, network: Module, criterion: Loss, step: SharedStep) -> None:
        context = get_context("spawn")  # a forked process would have this one's locks, but not its threads
        self.step = step
        # Who gets a semaphore also sees what was written before it was let go, on any processor.
        self._ready, self._go, self._done = (context.Semaphore(0) for _ in range(3))
        self._is_ready = False
        arguments = network, criterion, step, channels_last.small_product, self._ready, self._go, self._done
        self._process = context.Process(target=_help, args=arguments, daemon=True)
        start_shielded(self._process)

    def ready(self) -> bool:
        """Whether it has started, and was not lost."""
        self._is_ready = self._is_ready or self._ready.acquire(block=False)
        return self._is_ready

    def begin(self, network: Module, x: Array, target: Array, part: slice) -> None:
        """Let it work on some groups of a batch."""
        for shared, (_, parameter) in zip(self.step.weights, network.named_parameters(), strict=True):
            np.copyto(shared, parameter.data)
        np.copyto(self.step.x, x)
        np.copyto(self.step.target, target)
        self.step.part[:] = part.start, part.stop
        self._go.release()

    def end(self, part: slice) -> tuple[list[Array], list[float]] | None:
        """What it found; None where it is lost."""
        if not _got(self._done, self._process.is_alive):
            self._is_ready = False
            return None
        return list(self.step.sums[part].copy()), self.step.losses[part].tolist()

    def close(self) -> None:
        self._process.kill()  # it has nothing to save
        self._process.join()
        self._process.close()


def _help(network: Module, criterion: Loss, step: SharedStep, small: int, ready: Any, go: Any, done: Any) -> None:
    """What a helper does, until its owner ends it or is gone."""
    owner = multiprocessing.parent_process()
    assert owner is not None
    channels_last.small_product = small
    replicas = Replicas(network.train())
    for shared, (_, parameter) in zip(step.weights, network.named_parameters(), strict=True):
        parameter.data = shared
    groups = replicas.groups(step.x.shape)
    ready.release()
    try:
        with np.errstate(over="ignore", invalid="ignore"), one_blas_thread():  # the loss tells
            while _got(go, owner.is_alive):
                part = slice(*step.part.tolist())
                sums, losses = replicas.gradients_of(groups[part], step.x, step.target, criterion)
                np.stack(sums, out=step.sums[part])
                step.losses[part] = losses
                done.release()
    except Exception:  # its owner does the same by itself then, and tells if that cannot be done
        sys.exit(1)


def _got(semaphore: Any, hopeful: Callable[[], bool]) -> bool:
    """Wait for a semaphore, as long as there is somebody who may let it go; whether it came."""
    until = time.perf_counter() + _SPINNING
    while not semaphore.acquire(block=False):
        if time.perf_counter() < until:
            if hasattr(os, "sched_yield"):
                os.sched_yield()
        elif semaphore.acquire(timeout=_PAUSE):
            return True
        elif not hopeful():
            return bool(semaphore.acquire(block=False))
    return True


def start_shielded(process: BaseProcess) -> None:
    """Start a process that is not reached by signals which ask a group of processes to end: whoever started it does
    that."""
    resource_tracker.ensure_running()  # started below, it would let the signals through again
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        process.start()
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [getattr(signal, name) for name in _HELD_BACK])
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
