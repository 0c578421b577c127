"""Ranks that MPI connects: one sum a step, and an error of one is the end of all."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from n2n_cli.distributed.collectives import ASKED, FAILED, GAVE_UP, LOSS, PATIENCE, SIZE, TAIL, Meetings
from n2n_cli.distributed.ranks import ElsewhereError, Ranks, Value
from n2n_cli.distributed.shards import Shard
from n2n_cli.errors import N2NError, UsageError
from n2n_cli.nn.functional import Array
from n2n_cli.system.cpu import available_cores
from n2n_cli.system.stopping import StopError, Stopping

FAILURES_PATIENCE = 10.0
"""Seconds that a rank which has failed waits for the others, to end together with them, before it ends them."""
_LAST_WORDS = 5.0
"""Seconds that the first rank has to tell why it ends, where the ranks have lost each other."""
_FORWARDING = 0.5
"""Seconds in which launchers pass on what was printed last: of a process that aborts they may drop it."""
_SIGNALS = 128
"""Exit codes above it are those of signals, which all ranks may have got."""


class _StoppedTogetherError(StopError):
    """All ranks raise it at the same meeting."""


class MpiRanks(Ranks):
    """The processes of `MPI.COMM_WORLD`.

    Parameters
    ----------
    place : Shard
        Of this process, as the launcher's variables tell it.

    Raises
    ------
    UsageError
        When MPI knows of this process alone: the launcher is another MPI's.
    """

    def __init__(self, place: Shard) -> None:
        self._meetings = Meetings()
        self.rank, self.count = self._meetings.rank, self._meetings.count
        if self.count == 1:
            raise UsageError(
                f"{place.count} processes were started together ({place.reason}), but MPI does not connect them",
                hint="start them with the mpiexec of the MPI that mpi4py uses, or `srun --mpi=pmi2` or `--mpi=pmix`",
            )
        self._asked = self._speaks = False
        hosts = self.gathered((platform.node(), _affinity()))
        self._sharing = sum(host == platform.node() and bool(cores & _affinity()) for host, cores in hosts)
        self._first_here = [host for host, _ in hosts].index(platform.node()) == self.rank

    @property
    def threads(self) -> int:
        return max(1, available_cores() // self._sharing)

    @contextmanager
    def together(self) -> Iterator[None]:
        try:
            yield
            with self._meetings.meeting():
                self._meet()
        except ElsewhereError:
            raise
        except BaseException as error:
            if self._meetings.lost:
                raise
            own = _exit_code(error)
            self._meetings.until = time.perf_counter() + (PATIENCE if own > _SIGNALS else FAILURES_PATIENCE)
            try:
                with self._meetings.meeting():
                    self._meetings.add_up(failed=True)
                    codes = self._failures(own)
            except (StopError, KeyboardInterrupt, N2NError):
                self._speaks = own <= _SIGNALS
                raise error from None
            failed = [rank for rank, code in enumerate(codes) if code is not None]
            if failed[0] != self.rank:
                raise ElsewhereError(failed[0], codes[failed[0]] or 1) from None
            if self.rank and len(failed) < self.count and isinstance(error, N2NError):
                error.message = f"on rank {self.rank} ({platform.node()}): {error.message}"
            raise

    def from_first(self, make: Callable[[], Value]) -> Value:
        made = make() if self.first else None
        value: Value = self.gathered(made)[0]  # type: ignore[assignment]
        return value

    def in_turn(self, make: Callable[[], Value]) -> Value:
        made = make() if self._first_here else None
        with self._meetings.meeting():
            self._meet()
        return make() if made is None else made

    def gathered(self, value: Value) -> list[Value]:
        with self._meetings.meeting():
            self._meet()
            return self._meetings.exchanged(value)

    def any_of(self, value: Value | None) -> Value | None:
        if self._meetings.lost:
            return value
        return next((found for found in self.gathered(value) if found is not None), None)

    def gradients(self, size: int) -> Array:
        with self._meetings.meeting():
            self._meet()  # all have the old array until here
            self._meetings.array = np.zeros(size + TAIL, np.float32)
        return self._meetings.array[:size]

    def add_up(self, loss: float, size: int) -> float:
        grads = self._meetings.array[:-TAIL]
        with self._meetings.meeting(), np.errstate(over="ignore", invalid="ignore"):  # the loss tells
            grads *= np.float32(size)
            tail = self._meet(loss * size, size)
            grads *= 1 / tail[SIZE]
            self._asked = bool(tail[ASKED])
            return float(tail[LOSS] / tail[SIZE])

    def watch(self, asked: Callable[[], bool]) -> None:
        self._meetings.asks = asked

    def after_a_step(self, stopping: Stopping) -> None:
        if self._asked:
            self._stopped()

    def stop(self, error: StopError) -> None:
        if self._meetings.lost or isinstance(error, _StoppedTogetherError):
            return
        with self._meetings.meeting():
            tail = self._meetings.add_up(gave_up=True)
            self._meetings.asks = lambda: False
            if tail[FAILED]:
                self._failures(None)

    def tells(self, error: Exception) -> bool:
        if self._meetings.lost and not self.first and not self._speaks:
            time.sleep(_LAST_WORDS)  # the first does, if it still can
        return super().tells(error)

    def end(self, exit_code: int) -> None:
        if not self._meetings.lost:
            self._meetings.until = time.perf_counter() + _LAST_WORDS
            try:
                self._meetings.part_from_all()
            except (StopError, KeyboardInterrupt, N2NError):
                self._meetings.lost = True
        if self._meetings.lost:
            time.sleep(_FORWARDING)
            self._meetings.abort(exit_code)

    # Meetings

    def _meet(self, loss: float = 0, size: int = 0) -> Array:
        """The sums of the five numbers, where all are well.

        Raises
        ------
        ElsewhereError
            When another rank has failed.
        StopError
            When another has given up.
        """
        tail = self._meetings.add_up(loss=loss, size=size)
        if tail[FAILED]:
            self._failures(None)
        if tail[GAVE_UP]:
            self._stopped()
        return tail

    def _failures(self, own: int | None) -> list[int | None]:
        """The exit codes of those that have failed, by rank; all have met to say them.

        Raises
        ------
        ElsewhereError
            When this is none of them.
        """
        codes = self._meetings.exchanged(own)
        if own is None:
            raise ElsewhereError(*next((rank, code) for rank, code in enumerate(codes) if code is not None))
        return codes

    def _stopped(self) -> None:
        self._meetings.asks = lambda: False  # the others' wait for the first, which saves, has no end
        raise _StoppedTogetherError


def _affinity() -> frozenset[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return 130
    code: Any = getattr(error, "exit_code", 1)
    return code if isinstance(code, int) else 1
