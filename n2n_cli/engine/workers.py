"""Training steps in worker processes, for small networks and batches.

Between NumPy calls a thread needs Python's global lock. If calls take only microseconds, threads lose more time waiting
for the lock than a second thread saves; each process has its own lock.
"""

from __future__ import annotations

import os
import pkgutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from n2n_cli.engine.executor import Executor
from n2n_cli.engine.kernel import Kernel
from n2n_cli.engine.shared_step import SharedStep, shared_file
from n2n_cli.engine.sizes import cut
from n2n_cli.nn import Loss, Parameter
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.system.blas import one_blas_thread
from n2n_cli.system.worker_process import Connection, WorkerProcess, function_name

_SPINNING = 2e-3
"""Busy-waiting time for a message before sleeping, in seconds."""
_PAUSE = 0.1
"""Interval of the calls of `between` while waiting for a worker, in seconds."""
_MAX_SLOWDOWN = 20
"""A worker that takes this many times as long as this process for its part counts as lost."""


class ProcessExecutor(Executor):
    """Executor that computes gradients in worker processes.

    Gradients equal those of threads to the last bit: a batch is split and summed in the same way. Workers start at the
    first step, for batches of its shape, and take part as soon as they are ready. Until then, for batches of other
    shapes, and if a worker is lost, this process computes their share. Workers end with `close`, or with this process.

    Parameters
    ----------
    kernel : Kernel
    parameters : sequence of Parameter
    criterion : Loss
        Gradients of any other loss are computed by this process alone.
    parts : Parts
        Creates the same network and loss in a worker.
    processes : int
        Number of processes, including this one.
    patience : float
        Minimum time that a worker has for its part of a step, in seconds. A worker that takes longer, for example
        because it was stopped (SIGSTOP), counts as lost.

    Attributes
    ----------
    workers : list of StepWorker
        Workers that were started.
    """

    def __init__(
        self,
        kernel: Kernel,
        parameters: Sequence[Parameter],
        criterion: Loss,
        parts: Parts,
        processes: int,
        *,
        patience: float = 10.0,
    ) -> None:
        super().__init__(kernel, parameters, threads=1)
        self._criterion, self._parts, self._processes, self._patience = criterion, parts, processes, patience
        self.workers: list[StepWorker] = []
        self._started = False

    def gradients_of(
        self, groups: Sequence[Sequence[slice]], x: Array, target: Array, criterion: Loss
    ) -> tuple[list[Array], list[float]]:
        try:
            if not self._started:
                self._started = True
                self._start(len(groups), x, target)
            fitting = criterion is self._criterion
            workers = [worker for worker in self.workers if fitting and worker.fits(x, target) and worker.ready()]
            own, *others = cut(len(groups), len(workers) + 1)
            began = time.perf_counter()
            for worker, part in zip(workers, others, strict=True):
                worker.begin(self.parameters, x, target, part)
            sums, losses = super().gradients_of(groups[own], x, target, criterion)
            patience = max(self._patience, _MAX_SLOWDOWN * (time.perf_counter() - began))
            for worker, part in zip(workers, others, strict=True):
                found = worker.end(part, self.between, patience) or super().gradients_of(
                    groups[part], x, target, criterion
                )
                sums += found[0]
                losses += found[1]
        except BaseException:
            self.close()  # the workers may still be computing this step
            raise
        return sums, losses

    def _start(self, groups: int, x: Array, target: Array) -> None:
        dtypes = {array.dtype for array in (x, target, *(parameter.data for parameter in self.parameters))}
        if dtypes != {np.dtype(np.float32)} or os.name != "posix" or not sys.executable:
            return
        with suppress(OSError):  # out of memory, or too many processes
            while len(self.workers) < min(self._processes, groups) - 1:
                self.workers.append(StepWorker(self.parameters, self._parts, x.shape, target.shape, groups))

    def close(self) -> None:
        """End the workers; the next step starts new ones."""
        workers, self.workers, self._started = self.workers, [], False
        for worker in workers:
            worker.close()


class Parts(NamedTuple):
    """Executor and loss that another process can create by make(*arguments).

    Only the name of `make` and plain values are sent to the other process, no pickled objects.
    """

    make: Callable[..., tuple[Executor, Loss]]
    arguments: tuple[int | float | str, ...] = ()


class StepWorker:
    """Worker process that computes the gradients of parts of batches.

    It receives an empty line to begin and sends one when done. Values written to the shared memory before the line are
    then visible to the other process, on any processor.

    Attributes
    ----------
    pid : int
        Process id.
    is_lost : bool
        True if the process has ended, or took too long and was killed.
    """

    def __init__(self, parameters: Sequence[Parameter], parts: Parts, x: Shape, target: Shape, groups: int) -> None:
        self._is_ready = self.is_lost = False
        shapes = x, target, groups, [parameter.data.shape for parameter in parameters]
        with shared_file() as file:
            memory = file.fileno()
            self._step = SharedStep(memory, *shapes)
            self._process = WorkerProcess(
                compute_steps,
                function_name(parts.make),
                parts.arguments,
                memory,
                *shapes,
                files=[memory],
                quiet=True,  # this process repeats a worker's failed step, and reports if it fails again
            )
        self.pid = self._process.pid

    def fits(self, x: Array, target: Array) -> bool:
        """True for float32 batches of the shapes it was started for."""
        shapes = self._step.x.shape, self._step.target.shape
        return (x.shape, target.shape) == shapes and x.dtype == target.dtype == np.float32

    def ready(self) -> bool:
        """True from the moment that the worker is ready until it is lost."""
        if not (self._is_ready or self.is_lost) and self._process.has_news():
            self._answered()
        return self._is_ready

    def begin(self, parameters: Sequence[Parameter], x: Array, target: Array, part: slice) -> None:
        """Start the computation of some groups of a batch."""
        for shared, parameter in zip(self._step.weights, parameters, strict=True):
            np.copyto(shared, parameter.data)
        np.copyto(self._step.x, x)
        np.copyto(self._step.target, target)
        self._step.part[:] = part.start, part.stop
        self._process.send()

    def end(self, part: slice, between: Callable[[], None], patience: float) -> tuple[list[Array], list[float]] | None:
        """Wait for the gradients and losses, for `patience` seconds at most.

        Meanwhile, `between` is called at intervals. Returns None if the worker is lost.
        """
        until = time.perf_counter() + patience
        while not self._process.has_news(_PAUSE, spinning=_SPINNING):
            between()
            if time.perf_counter() >= until:
                self._is_ready, self.is_lost = False, True
                self.close()
                return None
        if not self._answered():
            return None
        return list(self._step.sums[part].copy()), self._step.losses[part].tolist()

    def _answered(self) -> bool:
        self._is_ready = self._process.receive() is not None
        self.is_lost = not self._is_ready
        return self._is_ready

    def close(self) -> None:
        """End the worker at once: it has nothing to save."""
        self._process.end()


def compute_steps(
    parent: Connection,
    make: str,
    arguments: Sequence[int | float | str],
    memory: int,
    x: Shape,
    target: Shape,
    groups: int,
    weights: Sequence[Shape],
) -> None:
    """Main function of a worker: compute gradients, one step per line received.

    Each line from the parent is answered by a line when the step is done.

    Parameters
    ----------
    parent : Connection
    make : str
        Name of the function that creates an executor and a loss. The executor's parameters, float32, are set to the
        parent's values.
    arguments : sequence
        Arguments of `make`.
    memory : int
        Descriptor of the file that is the shared memory.
    x, target, groups, weights
        See `SharedStep`.
    """
    executor, criterion = pkgutil.resolve_name(make)(*arguments)
    step = SharedStep(memory, x, target, groups, weights)
    for shared, parameter in zip(step.weights, executor.parameters, strict=True):
        parameter.data = shared
    batch_groups = executor.groups(step.x.shape)
    parent.send()
    with np.errstate(over="ignore", invalid="ignore"), one_blas_thread():  # overflow is visible in the loss
        while parent.has_news(None, spinning=_SPINNING) and parent.receive() is not None:
            part = slice(*step.part.tolist())
            sums, losses = executor.gradients_of(batch_groups[part], step.x, step.target, criterion)
            np.stack(sums, out=step.sums[part])
            step.losses[part] = losses
            parent.send()
