"""Replicas in worker processes, for short steps.

Between any two of NumPy's calls a thread needs Python's lock. Where calls take microseconds, threads lose more time by
waiting for each other than a second one saves; processes have a lock each.
"""

from __future__ import annotations

import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from n2n_cli.engine.replicas import Replicas
from n2n_cli.engine.shared_step import SharedStep, shared_file
from n2n_cli.engine.stoppable import StoppableReplicas
from n2n_cli.nn import Loss, Module
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.system.blas import one_blas_thread
from n2n_cli.system.worker_process import Connection, WorkerProcess, function_name

_SPINNING = 2e-3
"""Time, in seconds, in which to check without a pause for what is nearly there."""
_PAUSE = 0.1
"""Time, in seconds, between two checks whether to stop."""


class ProcessReplicas(StoppableReplicas):
    """A network and its copies, of which all but one are in worker processes.

    Gradients are those that threads compute, to the last bit: a batch is cut and added up in the same way. Workers
    start at the first step, for batches of that shape, and take their part as soon as they are ready; until then, for
    other batches, and if they are lost, this process computes all. They end with `close`, or with this process.

    Parameters
    ----------
    network : Module
    criterion : Loss
        The gradients of any other loss are computed by this process alone.
    parts : Parts
        The same network and loss, for a worker to make.
    processes : int
        Including this one.

    Attributes
    ----------
    workers : list of StepWorker
        Those that were started.
    """

    def __init__(self, network: Module, criterion: Loss, parts: Parts, *, processes: int) -> None:
        super().__init__(network, threads=1)
        self._criterion, self._parts, self._processes = criterion, parts, processes
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
            count = len(workers) + 1
            own, *others = (slice(len(groups) * i // count, len(groups) * (i + 1) // count) for i in range(count))
            for worker, part in zip(workers, others, strict=True):
                worker.begin(self.network, x, target, part)
            sums, losses = super().gradients_of(groups[own], x, target, criterion)
            for worker, part in zip(workers, others, strict=True):
                found = worker.end(part, self.between) or super().gradients_of(groups[part], x, target, criterion)
                sums += found[0]
                losses += found[1]
        except BaseException:
            self.close()  # they may be in the middle of something
            raise
        return sums, losses

    def _start(self, groups: int, x: Array, target: Array) -> None:
        dtypes = {array.dtype for array in (x, target, *(values for values, _ in self.network.param()))}
        if dtypes != {np.dtype(np.float32)} or os.name != "posix" or not sys.executable:
            return
        with suppress(OSError):  # there is no memory left, or there are too many processes
            while len(self.workers) < min(self._processes, groups) - 1:
                self.workers.append(StepWorker(self.network, self._parts, x.shape, target.shape, groups))

    def close(self) -> None:
        """End the workers; the next step starts others."""
        workers, self.workers, self._started = self.workers, [], False
        for worker in workers:
            worker.close()


class Parts(NamedTuple):
    """A network and a loss that another process can make, by make(*arguments).

    Nothing but the name of `make` and plain values goes from one process to the other, and no pickled objects.
    """

    make: Callable[..., tuple[Module, Loss]]
    arguments: tuple[int | float | str, ...] = ()


class StepWorker:
    """A process that computes the gradients of parts of batches.

    It gets an empty line when it is to begin, and sends one when it is done: what was written to the shared memory
    before is then there, on any processor.

    Attributes
    ----------
    pid : int
        The process's number.
    is_lost : bool
        The process is gone.
    """

    def __init__(self, network: Module, parts: Parts, x: Shape, target: Shape, groups: int) -> None:
        self._is_ready = self.is_lost = False
        shapes = x, target, groups, [values.shape for values, _ in network.param()]
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
                quiet=True,  # this process repeats what a worker fails to do, and reports if that fails again
            )
        self.pid = self._process.pid

    def fits(self, x: Array, target: Array) -> bool:
        """True for batches like those that it was started for."""
        shapes = self._step.x.shape, self._step.target.shape
        return (x.shape, target.shape) == shapes and x.dtype == target.dtype == np.float32

    def ready(self) -> bool:
        """True once it has started, until it is lost."""
        if not (self._is_ready or self.is_lost) and self._process.has_news():
            self._answered()
        return self._is_ready

    def begin(self, network: Module, x: Array, target: Array, part: slice) -> None:
        """Let it work on some groups of a batch."""
        for shared, (values, _) in zip(self._step.weights, network.param(), strict=True):
            np.copyto(shared, values)
        np.copyto(self._step.x, x)
        np.copyto(self._step.target, target)
        self._step.part[:] = part.start, part.stop
        self._process.send()

    def end(self, part: slice, between: Callable[[], None]) -> tuple[list[Array], list[float]] | None:
        """Wait for its gradients and losses; None when it is lost.

        Meanwhile, `between` is called now and then.
        """
        while not self._process.has_news(_PAUSE, spinning=_SPINNING):
            between()
        if not self._answered():
            return None
        return list(self._step.sums[part].copy()), self._step.losses[part].tolist()

    def _answered(self) -> bool:
        self._is_ready = self._process.receive() is not None
        self.is_lost = not self._is_ready
        return self._is_ready

    def close(self) -> None:
        """End it at once: it has nothing to save."""
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
    """Compute gradients in a worker, a step for each line of its parent.

    Each is answered by a line.

    Parameters
    ----------
    parent : Connection
    make : str
        Name of the function that makes a network of float32, which gets the parent's weights, and a loss.
    arguments : sequence
        Arguments of `make`.
    memory : int
        Descriptor of the file that is the shared memory.
    x, target, groups, weights
        See `SharedStep`.
    """
    network, criterion = pkgutil.resolve_name(make)(*arguments)
    step = SharedStep(memory, x, target, groups, weights)
    for shared, (_, parameter) in zip(step.weights, network.named_parameters(), strict=True):
        parameter.data = shared
    replicas = Replicas(network.train())
    passes = replicas.groups(step.x.shape)
    parent.send()
    with np.errstate(over="ignore", invalid="ignore"), one_blas_thread():  # the loss shows it
        while parent.has_news(None, spinning=_SPINNING) and parent.receive() is not None:
            part = slice(*step.part.tolist())
            sums, losses = replicas.gradients_of(passes[part], step.x, step.target, criterion)
            np.stack(sums, out=step.sums[part])
            step.losses[part] = losses
            parent.send()
