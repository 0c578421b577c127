"""Meetings of MPI's ranks: sums and exchanges from which no rank is left waiting for one that has failed.

Every meeting begins with the same sum over the same array; in a step the gradients are in it. Behind them stand five
numbers, which also tell whether a rank has failed or given up: thus one that fails, wherever it is, meets the others at
whatever they do next. All waiting is asking again and again, so that signals are heard and lost ranks are noticed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from mpi4py import MPI

from n2n_cli.errors import N2NError
from n2n_cli.nn.functional import Array
from n2n_cli.system.stopping import StopError

Value = TypeVar("Value")

PATIENCE, OTHERS_PATIENCE = 3.0, 30.0
"""Seconds that a rank which was asked to stop waits for the others before it ends without them: the first, which then
saves, and the others, which let it."""
FAILED, GAVE_UP, ASKED, LOSS, SIZE, TAIL = range(6)
"""Places of the numbers behind the gradients, and how many they are."""

_SPINNING, _PAUSE = 2e-4, 2e-5
"""Seconds that a rank asks without a pause for those who are nearly there, and then between two questions."""


class Meetings:
    """Where the processes of `MPI.COMM_WORLD` meet. Whoever leaves a meeting in the middle of it has lost the others.

    Attributes
    ----------
    rank, count : int
        Of this process, and of all.
    array : array of float32
        What is added up: gradients, and the numbers behind them.
    asks : function
        Says whether this process was asked to stop.
    until : float
        When all waiting ends, as `time.perf_counter` counts.
    lost : bool
        Whether the others can be met no more.
    """

    def __init__(self) -> None:
        self._world = MPI.COMM_WORLD
        self.rank, self.count = self._world.rank, self._world.size
        self.array: Array = np.zeros(TAIL, np.float32)
        self.asks: Callable[[], bool] = lambda: False
        self.until = math.inf
        self.lost = False
        self._interrupt: KeyboardInterrupt | None = None

    @contextmanager
    def meeting(self) -> Iterator[None]:
        """Meet in the block; an interrupt in the middle of it, for which the others had time, is raised at its end."""
        try:
            yield
        except KeyboardInterrupt:
            self.lost = True
            raise
        if self._interrupt is not None:
            interrupt, self._interrupt = self._interrupt, None
            raise interrupt

    def add_up(self, *, failed: bool = False, gave_up: bool = False, loss: float = 0, size: int = 0) -> Array:
        """Add up `array` over all ranks, in place; gives the numbers at its end."""
        tail = self.array[-TAIL:]
        tail[:] = failed, gave_up, self.asks(), loss, size
        self.wait(self._world.Iallreduce(MPI.IN_PLACE, self.array))
        return tail

    def exchanged(self, value: Value) -> list[Value]:
        """The value of every rank.

        The ranks are copies of one program that one user has started: they trust what they send each other, as they
        trust no file.
        """
        own = np.frombuffer(MPI.pickle.dumps(value), np.uint8)
        sizes = np.zeros(self.count, np.int64)
        self.wait(self._world.Iallgather(np.array([own.size], np.int64), sizes))
        ends = np.cumsum(sizes)
        everything = np.empty(ends[-1], np.uint8)
        self.wait(self._world.Iallgatherv(own, [everything, (sizes, ends - sizes)]))
        return [MPI.pickle.loads(everything[end - size : end].tobytes()) for end, size in zip(ends, sizes, strict=True)]

    def wait(self, request: MPI.Request) -> None:
        """Wait for the others. An interrupt is raised when the meeting is over.

        Raises
        ------
        KeyboardInterrupt, StopError
            When a signal came and they have not come, or another signal.
        N2NError
            When the connection is lost.
        """
        patience = PATIENCE if self.rank == 0 else OTHERS_PATIENCE
        began, until = time.perf_counter(), self.until
        while True:
            try:
                if request.Test():
                    return
                now = time.perf_counter()
                if now > began + _SPINNING:
                    time.sleep(_PAUSE)
                if until > now + patience and (self._interrupt is not None or self.asks()):
                    until = now + patience
                if now > until:
                    self.lost = True
                    raise self._interrupt or StopError
            except KeyboardInterrupt as interrupt:
                if self._interrupt is not None:
                    self.lost = True
                    raise
                self._interrupt = interrupt
            except MPI.Exception as error:
                self.lost = True
                raise N2NError(
                    f"rank {self.rank} has lost the others: {error}",
                    hint="a training goes on with `n2n train --resume RUN`, on any number of ranks",
                ) from None

    def part_from_all(self) -> None:
        """Wait until all have nothing more to do."""
        self.wait(self._world.Ibarrier())

    def abort(self, exit_code: int) -> None:
        """End all processes."""
        self._world.Abort(exit_code)
