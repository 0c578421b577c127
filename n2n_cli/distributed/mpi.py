"""Ranks connected by MPI.

An error on one rank ends all ranks, and no rank waits for ever: every exchange, called a meeting, begins with the same
collective operation, which gathers a few numbers from each rank. They state whether the rank has failed, has given up
its step or was asked to stop, so a rank that fails can join whichever meeting the others reach next. Gradients or
values are exchanged only if no rank has failed. Ranks wait by polling, so that they notice signals and lost ranks.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from mpi4py import MPI

from n2n_cli.distributed.ranks import ElsewhereError, Ranks, Value
from n2n_cli.distributed.shards import Shard
from n2n_cli.errors import N2NError, UsageError
from n2n_cli.nn.functional import Array
from n2n_cli.system.cpu import affinity, available_cores
from n2n_cli.system.stopping import StopError, Stopping

PATIENCE, OTHERS_PATIENCE = 3.0, 30.0
"""Time, in seconds, that a rank which was asked to stop waits for the others before it ends alone: of the first rank,
which then saves, and of the others, which give it the time to do so."""
FAILURES_PATIENCE = 10.0
"""Time, in seconds, that a failed rank waits for the others to end together with them."""
_LAST_WORDS = 5.0
"""Time, in seconds, for the first rank to report an error if the ranks have lost their connection."""
_FORWARDING = 0.5
"""Time, in seconds, for the launcher to forward the last output, which it may drop when a process aborts."""
_SPINNING, _PAUSE = 2e-4, 2e-5
"""Time, in seconds, in which a waiting rank polls without a pause, and the pause between later polls."""
_SIGNALS = 128
"""Exit codes above this are those of signals, which all ranks may have received."""
_FAILED, _GAVE_UP, _ASKED, _LOSS, _SIZE = range(5)
"""Columns of the numbers that a meeting gathers: exit code or 0; two flags; loss, summed over the rank's part of a
batch; pictures in the part, or bytes of another value."""


class MpiRanks(Ranks):
    """The processes of `MPI.COMM_WORLD`.

    Parameters
    ----------
    place : Shard
        Place of this process according to the launcher's environment variables.

    Raises
    ------
    UsageError
        If MPI finds only this process: the launcher belongs to another MPI library.
    """

    def __init__(self, place: Shard) -> None:
        self._world = MPI.COMM_WORLD
        self.rank, self.count = self._world.rank, self._world.size
        if self.count == 1:
            raise UsageError(
                f"{place.count} processes were started together ({place.reason}), but MPI does not connect them",
                hint="start them with the mpiexec of the MPI that mpi4py uses, or `srun --mpi=pmi2` or `--mpi=pmix`",
            )
        self._gradients: Array = np.zeros(0, np.float32)
        self._asks: Callable[[], bool] = lambda: False
        self._asked = self._stopped = self._lost = False
        self._until = math.inf  # deadline of all waiting
        self._interrupt: KeyboardInterrupt | None = None  # caught while waiting; raised at the next meeting
        hosts = self.gathered((platform.node(), affinity()))
        self._sharing = sum(host == platform.node() and bool(cores & affinity()) for host, cores in hosts)
        self._first_here = [host for host, _ in hosts].index(platform.node()) == self.rank

    @property
    def threads(self) -> int:
        return max(1, available_cores() // self._sharing)

    @contextmanager
    def together(self) -> Iterator[None]:
        try:
            yield
            self._meet()
        except ElsewhereError:
            raise
        except BaseException as error:
            if not self._lost:
                self._fail(error)
            raise

    def _fail(self, error: BaseException) -> None:
        """End together with the others; raises ElsewhereError if a lower rank failed."""
        code = _exit_code(error)
        self._until = time.perf_counter() + (PATIENCE if code > _SIGNALS else FAILURES_PATIENCE)
        try:
            failed = self._meet(failed=code)[:, _FAILED] != 0
        except (StopError, KeyboardInterrupt, N2NError):
            if not self._lost:  # an ElsewhereError
                raise
            return
        if self.rank and not failed.all() and isinstance(error, N2NError):
            error.message = f"on rank {self.rank} ({platform.node()}): {error.message}"

    def from_first(self, make: Callable[[], Value]) -> Value:
        made = make() if self.first else None
        value: Value = self.gathered(made)[0]  # type: ignore[assignment]
        return value

    def in_turn(self, make: Callable[[], Value]) -> Value:
        made = make() if self._first_here else None
        self._meet()
        return make() if made is None else made

    def gathered(self, value: Value) -> list[Value]:
        # Unpickling is safe here: the ranks are copies of one program, started by one user.
        own = np.frombuffer(MPI.pickle.dumps(value), np.uint8)
        sizes = self._meet(size=own.size)[:, _SIZE].astype(np.int64)
        ends = np.cumsum(sizes)
        everything = np.empty(ends[-1], np.uint8)
        self._wait(self._world.Iallgatherv(own, [everything, (sizes, ends - sizes)]))
        return [MPI.pickle.loads(part.tobytes()) for part in np.split(everything, ends[:-1])]

    def any_of(self, value: Value | None) -> Value | None:
        if self._lost:
            return value
        return next((found for found in self.gathered(value) if found is not None), None)

    def gradients(self, size: int) -> Array:
        self._gradients = np.zeros(size, np.float32)
        return self._gradients

    def add_up(self, loss: float, size: int) -> float:
        met = self._meet(loss=loss * size, size=size)
        batch = met[:, _SIZE].sum()
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is visible in the loss
            self._gradients *= np.float32(size / batch)
            self._wait(self._world.Iallreduce(MPI.IN_PLACE, self._gradients))
            self._asked = bool(met[:, _ASKED].any())
            return float(met[:, _LOSS].sum() / batch)

    def watch(self, asked: Callable[[], bool]) -> None:
        self._asks = lambda: not self._stopped and asked()  # once all ranks stop, the first must have time to save

    def after_a_step(self, stopping: Stopping) -> None:
        if self._asked:
            self._stopped = True
            raise StopError

    def stop(self, error: StopError) -> None:
        if not (self._lost or self._stopped):
            with suppress(StopError):  # the others do not reach a meeting in time
                self._meet(gave_up=True)
            self._stopped = True

    def reports(self, error: Exception) -> bool:
        if self._lost and not self.first:
            time.sleep(_LAST_WORDS)  # the first rank reports, if it still can
        return super().reports(error)

    def end(self, exit_code: int) -> None:
        if not self._lost:
            self._until = time.perf_counter() + _LAST_WORDS
            with suppress(StopError, KeyboardInterrupt, N2NError):
                self._wait(self._world.Ibarrier())
        if self._lost:
            time.sleep(_FORWARDING)
            self._world.Abort(exit_code)

    def _meet(self, *, failed: int = 0, gave_up: bool = False, loss: float = 0, size: int = 0) -> Array:
        """Gather the numbers of all ranks, one row per rank; columns as `_FAILED` etc.

        Raises
        ------
        ElsewhereError
            If ranks have failed, and the lowest of them is not this one.
        StopError
            If another rank has given up its step.
        KeyboardInterrupt
            If a signal was received during an earlier meeting.
        """
        if self._interrupt is not None and not failed:
            interrupt, self._interrupt = self._interrupt, None
            raise interrupt
        own = np.array([failed, gave_up, self._asks(), loss, size], np.float64)
        met: Array = np.empty((self.count, own.size))
        self._wait(self._world.Iallgather(own, met))
        (ranks,) = np.nonzero(met[:, _FAILED])
        if len(ranks) and ranks[0] != self.rank:
            raise ElsewhereError(int(ranks[0]), int(met[ranks[0], _FAILED])) from None
        if not failed and not gave_up and met[:, _GAVE_UP].any():
            self._stopped = True
            raise StopError
        return met

    def _wait(self, request: MPI.Request) -> None:
        """Wait until all ranks have joined, or until a deadline, which a signal sets.

        Raises
        ------
        KeyboardInterrupt, StopError
            If the others have not joined by the deadline. If they have, the first signal is raised at the next
            meeting; a second signal is raised at once.
        N2NError
            If the connection is lost.
        """
        patience = PATIENCE if self.first else OTHERS_PATIENCE
        began, until = time.perf_counter(), self._until
        self._lost = True  # until the others have joined
        while True:
            try:
                if request.Test():
                    self._lost = False
                    return
                now = time.perf_counter()
                if now > began + _SPINNING:
                    time.sleep(_PAUSE)
                if until > now + patience and (self._interrupt is not None or self._asks()):
                    until = now + patience
                if now > until:
                    raise self._interrupt or StopError
            except KeyboardInterrupt as interrupt:
                if self._interrupt is not None:
                    raise
                self._interrupt = interrupt
            except MPI.Exception as error:
                raise N2NError(
                    f"rank {self.rank} has lost the connection to the others: {error}",
                    hint="`n2n train --resume RUN` continues a training, on any number of ranks",
                ) from None


def _exit_code(error: BaseException) -> int:
    """Exit code of a process that ends with this error; never 0."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    code: Any = getattr(error, "exit_code", 1)
    return (isinstance(code, int) and code) or 1
