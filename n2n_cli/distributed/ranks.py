"""Ranks: the processes that do one piece of work together, as an MPI launcher has started them; mostly there is one."""

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
    """Another rank has failed and tells why; this one only ends, with the same exit code."""

    def __init__(self, rank: int, exit_code: int) -> None:
        super().__init__(f"rank {rank} has failed")
        self.exit_code = exit_code


class Ranks:
    """A process that works alone. What works together, as `MpiRanks`, has the same methods.

    Where there are several, each calls the same methods in the same order: they meet there. What one of them raises
    anywhere inside `together` ends all of them at their next meeting.

    Attributes
    ----------
    rank : int
        Of this process, from 0 on.
    count : int
        Of all.
    """

    rank = 0
    count = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    @property
    def threads(self) -> int:
        """Cores that this process may use, less what other ranks need of them."""
        return available_cores()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do the work of the block, at the end of which all meet.

        Raises
        ------
        ElsewhereError
            When another rank failed. Of those that fail between two meetings the lowest raises its own error.
        """
        yield

    def part(self, items: Array) -> Array:
        """This rank's part of an array: neighbours; the parts differ by one at the most, and may be empty."""
        n = len(items)
        return items[n * self.rank // self.count : n * (self.rank + 1) // self.count]

    def from_first(self, make: Callable[[], Value]) -> Value:
        """What the first rank makes, on all."""
        return make()

    def in_turn(self, make: Callable[[], Value]) -> Value:
        """What each makes, the first of each host before the others there, which then find what it has kept."""
        return make()

    def gathered(self, value: Value) -> list[Value]:
        """The value of every rank, on all, in their order."""
        return [value]

    def any_of(self, value: Value | None) -> Value | None:
        """The value of the lowest rank that has one, on all."""
        return value

    def gradients(self, size: int) -> Array:
        """The array of so many float32 that `add_up` adds up."""
        return np.zeros(size, np.float32)

    def add_up(self, loss: float, size: int) -> float:
        """Make the gradients those of the mean over the whole batch, on all.

        Parameters
        ----------
        loss : float
            Mean over this rank's part of the batch, to which its gradients belong.
        size : int
            Pictures in the part.

        Returns
        -------
        float
            The loss of the whole batch.

        Raises
        ------
        StopError
            When one was asked to stop and gave up its part; the gradients are then of no use.
        """
        return loss

    def watch(self, asked: Callable[[], bool]) -> None:
        """Let this rank say, from now on at each meeting, whether it was asked to stop."""

    def after_a_step(self, stopping: Stopping) -> None:
        """Stop, if any rank said at the last `add_up` that it was asked to.

        Raises
        ------
        StopError
        """
        stopping.after_a_step()

    def stop(self, error: StopError) -> None:
        """Let the others, at their next meeting, know that this one stops; all of them do."""

    def tells(self, error: Exception) -> bool:
        """Whether it is for this rank to tell the user of an error that ends it."""
        return not isinstance(error, ElsewhereError)

    def end(self, exit_code: int) -> None:
        """Before the process ends: wait for the others, or, where they cannot be reached any more, end them."""


ALONE = Ranks()
