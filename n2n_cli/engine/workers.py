"""Replicas in processes of their own, for short steps.

Between any two of NumPy's calls a thread needs Python's lock. Where calls take microseconds, threads lose more time by
waiting for each other than a second one saves; processes have a lock each.
"""

from __future__ import annotations

import math
import mmap
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, NamedTuple, cast

import numpy as np

from n2n_cli.engine.replicas import Replicas
from n2n_cli.engine.stoppable import StoppableReplicas
from n2n_cli.nn import Loss, Module
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.system.blas import one_blas_thread

_SPINNING, _PAUSE = 2e-3, 0.1
"""Seconds that a process asks without a pause for what is nearly there; and then between two questions whether it has
to stop."""
_PROGRAM = """
import sys
sys.path[:] = {path!r}
from {module} import {name} as parts
from n2n_cli.engine.workers import help_owner
help_owner(*parts(*{arguments!r}), {memory}, {shapes!r})
"""
"""What a helper does: it finds the same package as its owner, and knows nothing of the owner's program."""


class ProcessReplicas(StoppableReplicas):
    """A network and its copies, of which all but one are in processes of their own, the helpers.

    Gradients are those that threads find, to the last bit: a batch is cut and added up in the same way. Helpers start
    at the first step, for batches of that shape, and take their part from when they are ready; until then, with other
    batches, and if they are lost, this process does it. They end with `close`, or with this process.

    Parameters
    ----------
    network : Module
    criterion : Loss
        Another is found by this process alone.
    parts : Parts
        The same network and loss, as a helper makes them.
    processes : int
        With the caller's.
    """

    def __init__(self, network: Module, criterion: Loss, parts: Parts, *, processes: int) -> None:
        super().__init__(network, threads=1)
        self._criterion, self._parts, self._processes = criterion, parts, processes
        self._helpers: list[_Helper] | None = None

    def gradients_of(
        self, groups: Sequence[Sequence[slice]], x: Array, target: Array, criterion: Loss
    ) -> tuple[list[Array], list[float]]:
        try:
            if self._helpers is None:
                self._helpers = []
                self._start(len(groups), x, target)
            fitting = criterion is self._criterion
            helpers = [helper for helper in self._helpers if fitting and helper.fits(x, target) and helper.ready()]
            count = len(helpers) + 1
            own, *others = (slice(len(groups) * i // count, len(groups) * (i + 1) // count) for i in range(count))
            for helper, part in zip(helpers, others, strict=True):
                helper.begin(self.network, x, target, part)
            sums, losses = super().gradients_of(groups[own], x, target, criterion)
            for helper, part in zip(helpers, others, strict=True):
                found = helper.end(part, self.between) or super().gradients_of(groups[part], x, target, criterion)
                sums += found[0]
                losses += found[1]
        except BaseException:
            self.close()  # they may be in the middle of something
            raise
        return sums, losses

    def _start(self, groups: int, x: Array, target: Array) -> None:
        assert self._helpers is not None
        dtypes = {array.dtype for array in (x, target, *(values for values, _ in self.network.param()))}
        if dtypes != {np.dtype(np.float32)} or os.name != "posix" or not sys.executable:
            return
        with suppress(OSError):  # there is no memory left, or there are too many processes
            while len(self._helpers) < min(self._processes, groups) - 1:
                self._helpers.append(_Helper(self.network, self._parts, x.shape, target.shape, groups))

    def close(self) -> None:
        """End the helpers; another step starts others."""
        helpers, self._helpers = self._helpers or [], None
        for helper in helpers:
            helper.close()


class Parts(NamedTuple):
    """A network and a loss, as another process makes them: make(*arguments), `make` by its name in its module.

    Nothing but this name and plain values goes from one process to the other, and no pickled objects.
    """

    make: Callable[..., tuple[Module, Loss]]
    arguments: tuple[int | float | str, ...] = ()


class SharedStep:
    """What two processes both see: the weights and the batch of a step, and what the one finds for the other.

    Parameters
    ----------
    memory : int
        Descriptor of a file, which is made as large as it has to be.
    x, target : (N, C, H, W)
        Shapes of all batches.
    groups : int
        That such a batch is cut into.
    weights : list of shapes

    Attributes
    ----------
    part : (2,) array of int64
        The groups that the step is about: the first, and the one behind the last.
    losses : (groups,) array of float64
    sums : (groups, size) array of float32
        The gradients of each group, in one array.
    x, target : (N, C, H, W) arrays of float32
    weights : list of arrays of float32

    Raises
    ------
    OSError
        When there is not so much memory.
    """

    def __init__(self, memory: int, x: Shape, target: Shape, groups: int, weights: Sequence[Shape]) -> None:
        shapes = x, target, (groups, sum(map(math.prod, weights))), *weights
        numbers = 2 * (2 + groups)  # of float32, before the arrays
        size = 4 * (numbers + sum(map(math.prod, shapes)))
        if hasattr(os, "posix_fallocate"):  # at once: a process that writes to memory that is not there is ended
            os.posix_fallocate(memory, 0, size)
        else:
            os.truncate(memory, size)
        flat = np.frombuffer(mmap.mmap(memory, size), np.float32)
        self.part = flat[:4].view(np.int64)
        self.losses = flat[4:numbers].view(np.float64)
        ends = np.cumsum([numbers, *map(math.prod, shapes)]).tolist()
        arrays = (
            flat[start:stop].reshape(shape) for start, stop, shape in zip(ends[:-1], ends[1:], shapes, strict=True)
        )
        self.x, self.target, self.sums, *self.weights = arrays


class _Helper:
    """A process that finds the gradients of parts of batches, as its owner sees it.

    It reads a byte when it is to begin and writes one when it has done: whoever is gone is noticed by the end of that
    file, and what was written to the shared memory before is there, on any processor.
    """

    def __init__(self, network: Module, parts: Parts, x: Shape, target: Shape, groups: int) -> None:
        self._is_ready = self._is_lost = False
        shapes = x, target, groups, [values.shape for values, _ in network.param()]
        with _shared_file() as file:
            memory = file.fileno()
            self.step = SharedStep(memory, *shapes)
            program = _PROGRAM.format(
                path=sys.path,
                module=parts.make.__module__,
                name=parts.make.__name__,
                arguments=parts.arguments,
                memory=memory,
                shapes=shapes,
            )
            self._process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what it cannot do, its owner does, who tells if that cannot be done
                pass_fds=(memory,),
                start_new_session=True,  # a terminal's Ctrl-C is for its owner
                bufsize=0,
            )
        self._words, self._answers = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)

    def fits(self, x: Array, target: Array) -> bool:
        """Whether a batch is as those that it was made for."""
        shapes = self.step.x.shape, self.step.target.shape
        return (x.shape, target.shape) == shapes and x.dtype == target.dtype == np.float32

    def ready(self) -> bool:
        """Whether it has started, and was not lost."""
        if not (self._is_ready or self._is_lost) and _can_be_read(self._answers, 0, spinning=0):
            self._is_ready = self._answers.read(1) != b""
            self._is_lost = not self._is_ready
        return self._is_ready

    def begin(self, network: Module, x: Array, target: Array, part: slice) -> None:
        """Let it work on some groups of a batch."""
        for shared, (values, _) in zip(self.step.weights, network.param(), strict=True):
            np.copyto(shared, values)
        np.copyto(self.step.x, x)
        np.copyto(self.step.target, target)
        self.step.part[:] = part.start, part.stop
        with suppress(BrokenPipeError):  # `end` notices
            self._words.write(b"\n")

    def end(self, part: slice, between: Callable[[], None]) -> tuple[list[Array], list[float]] | None:
        """What it found; None where it is lost. Meanwhile, `between` is called now and then."""
        while not _can_be_read(self._answers, _PAUSE):
            between()
        if self._answers.read(1) == b"":
            self._is_ready, self._is_lost = False, True
            return None
        return list(self.step.sums[part].copy()), self.step.losses[part].tolist()

    def close(self) -> None:
        self._process.kill()  # it has nothing to save
        self._process.wait()
        self._words.close()
        self._answers.close()


def _shared_file() -> IO[bytes]:
    """A file without a name; where the system knows such, one in memory."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("n2n"), "w+b")
    return tempfile.TemporaryFile()


def help_owner(
    network: Module,
    criterion: Loss,
    memory: int,
    shapes: tuple[Shape, Shape, int, Sequence[Shape]],
) -> None:
    """What a helper does, until its owner is gone or ends it: a step for each byte on stdin, answered on stdout.

    Parameters
    ----------
    network : Module
        Of float32; its weights will be the owner's.
    criterion : Loss
    memory : int
        Descriptor of the file that is the shared memory.
    shapes : tuple
        What `SharedStep` is made with.
    """
    step = SharedStep(memory, *shapes)
    for shared, (_, parameter) in zip(step.weights, network.named_parameters(), strict=True):
        parameter.data = shared
    with os.fdopen(0, "rb", buffering=0) as words, os.fdopen(1, "wb", buffering=0) as answers:
        replicas = Replicas(network.train())
        groups = replicas.groups(step.x.shape)
        answers.write(b"\n")
        with np.errstate(over="ignore", invalid="ignore"), one_blas_thread():  # the loss tells
            while _can_be_read(words, None) and words.read(1):
                part = slice(*step.part.tolist())
                sums, losses = replicas.gradients_of(groups[part], step.x, step.target, criterion)
                np.stack(sums, out=step.sums[part])
                step.losses[part] = losses
                answers.write(b"\n")


def _can_be_read(file: IO[bytes], seconds: float | None, *, spinning: float = _SPINNING) -> bool:
    """Wait until there is something in a pipe, or its end; no longer than some seconds, if there is a limit."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    until = time.perf_counter() + spinning
    while time.perf_counter() < until:
        if poll.poll(0):
            return True
    return bool(poll.poll(None if seconds is None else seconds * 1000))
