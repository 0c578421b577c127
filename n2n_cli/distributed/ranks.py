"""Ranks: cooperating processes, or a process that works alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from n2n_cli.errors import N2NError
from n2n_cli.nn.functional import Array
from n2n_cli.system.cpu import available_cores
from n2n_cli.system.stopping import StopError, Stopping

Value = TypeVar("Value")


class ElsewhereError(N2NError):
    """Another rank has failed and reports the error; this one has its exit code."""

    def __init__(self, rank: int, exit_code: int) -> None:
        super().__init__(f"rank {rank} has failed")
        self.exit_code = exit_code


class Ranks:
    """A process that works alone; `MpiRanks` has the same methods for several.

    All ranks call the same methods in the same order; each call in which they exchange data is a meeting. An error on
    one rank, anywhere inside `together`, ends all ranks at their next meeting.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    count : int
        Number of ranks.
    """

    rank = 0
    count = 1

    @property
    def first(self) -> bool:
        """True for the rank that writes and prints."""
        return self.rank == 0

    @property
    def threads(self) -> int:
        """Number of cores that this process may use, divided by the ranks that share them."""
        return available_cores()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Context of the work that the ranks do together; they meet at its end.

        Raises
        ------
        ElsewhereError
            If another rank failed. If several fail between two meetings, the lowest raises its own error.
        """
        yield

    def part(self, items: Array) -> Array:
        """This rank's part of an array: consecutive items.

        Parts differ in length by at most 1, and may be empty.
        """
        n = len(items)
        return items[n * self.rank // self.count : n * (self.rank + 1) // self.count]

    def from_first(self, make: Callable[[], Value]) -> Value:
        """Call `make` on the first rank, and return its result on all ranks."""
        return make()

    def in_turn(self, make: Callable[[], Value]) -> Value:
        """Call `make` on all ranks, on one rank of each host before the others.

        The other ranks of the host then find the files that the first has written.
        """
        return make()

    def gathered(self, value: Value) -> list[Value]:
        """Return the values of all ranks, in order, on all ranks."""
        return [value]

    def any_of(self, value: Value | None) -> Value | None:
        """Return the value of the lowest rank that has one (not None), on all ranks."""
        return value

    def gradients(self, size: int) -> Array:
        """Allocate the array of gradients, `size` float32 zeros, which `add_up` sums."""
        return np.zeros(size, np.float32)

    def add_up(self, loss: float, size: int) -> float:
        """Replace the gradients of each rank by those of the whole batch.

        Parameters
        ----------
        loss : float
            Mean over this rank's part of the batch, whose gradients are in the array.
        size : int
            Number of pictures in the part.

        Returns
        -------
        float
            The loss of the whole batch.

        Raises
        ------
        StopError
            If a rank was asked to stop and gave up its part; the gradients are then invalid.
        """
        return loss

    def watch(self, asked: Callable[[], bool]) -> None:
        """From now on, report the result of `asked()` to the others at each meeting."""

    def after_a_step(self, stopping: Stopping) -> None:
        """Stop if any rank reported a stop request at the last `add_up`.

        Raises
        ------
        StopError
        """
        stopping.after_a_step()

    def stop(self, error: StopError) -> None:
        """Make all other ranks stop at their next meeting."""

    def reports(self, error: Exception) -> bool:
        """True for the rank that reports an error to the user."""
        return not isinstance(error, ElsewhereError)

    def end(self, exit_code: int) -> None:
        """Wait for the others before this process ends, or abort them if they are lost."""


ALONE = Ranks()
