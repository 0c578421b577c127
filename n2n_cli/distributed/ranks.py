"""Ranks: processes that work together, or one process alone."""

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
    """Another rank has failed and reports why; this one ends with its exit code."""

    def __init__(self, rank: int, exit_code: int) -> None:
        super().__init__(f"rank {rank} has failed")
        self.exit_code = exit_code


class Ranks:
    """A process that works alone; `MpiRanks` has the same methods for several.

    All ranks call the same methods in the same order, and meet there. An error that one of them raises anywhere inside
    `together` ends all of them at their next meeting.

    Attributes
    ----------
    rank : int
        This process's number, from 0 on.
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
        """Number of cores that this process may use, divided by the ranks on them."""
        return available_cores()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do the work of the block together, and meet at its end.

        Raises
        ------
        ElsewhereError
            When another rank failed. If several fail between two meetings, the lowest raises its own error.
        """
        yield

    def part(self, items: Array) -> Array:
        """This rank's part of an array: consecutive items.

        Parts differ in length by at most 1, and may be empty.
        """
        n = len(items)
        return items[n * self.rank // self.count : n * (self.rank + 1) // self.count]

    def from_first(self, make: Callable[[], Value]) -> Value:
        """Return on all ranks what the first rank makes."""
        return make()

    def in_turn(self, make: Callable[[], Value]) -> Value:
        """Make the same on all ranks, one rank of each host first.

        The others on the host then find the files that it has written.
        """
        return make()

    def gathered(self, value: Value) -> list[Value]:
        """Return on all ranks the value of every rank, in their order."""
        return [value]

    def any_of(self, value: Value | None) -> Value | None:
        """Return on all ranks the value of the lowest rank whose value is not None."""
        return value

    def gradients(self, size: int) -> Array:
        """Make the array of `size` float32 zeros that `add_up` adds up."""
        return np.zeros(size, np.float32)

    def add_up(self, loss: float, size: int) -> float:
        """Replace each rank's gradients with those of the whole batch.

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
            When a rank was asked to stop and gave up its part; the gradients are then of no use.
        """
        return loss

    def watch(self, asked: Callable[[], bool]) -> None:
        """Report at each meeting from now on whether this rank was asked to stop."""

    def after_a_step(self, stopping: Stopping) -> None:
        """Stop if any rank reported at the last `add_up` that it was asked to.

        Raises
        ------
        StopError
        """
        stopping.after_a_step()

    def stop(self, error: StopError) -> None:
        """Make all ranks stop at their next meeting, as this one does."""

    def tells(self, error: Exception) -> bool:
        """True for the rank that reports an error to the user."""
        return not isinstance(error, ElsewhereError)

    def end(self, exit_code: int) -> None:
        """Wait for the others before this process ends, or end those that are lost."""


ALONE = Ranks()
