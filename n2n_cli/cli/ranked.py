"""Commands that the ranks of an MPI job run together."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

from n2n_cli.cli.console import settings
from n2n_cli.errors import N2NError, UsageError

if TYPE_CHECKING:
    from n2n_cli.distributed.ranks import Ranks

Words = ParamSpec("Words")

_RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
_FIRST_PRINTS = 1.0
"""Seconds for the first of unconnected processes to print an error that all have."""

_ranks: Ranks | None = None
"""The ranks that this process belongs to, once it has connected to them."""


def on_ranks(command: Callable[Words, None]) -> Callable[Words, None]:
    """Run a command on all ranks together; only the first prints.

    An error on one rank ends all ranks, with one message and one exit code.
    """

    @wraps(command)
    def together(*words: Words.args, **options: Words.kwargs) -> None:
        global _ranks
        from n2n_cli.distributed.launchers import ranks_of_process

        _ranks = ranks_of_process()
        settings.quiet |= not _ranks.first
        with _ranks.together():
            command(*words, **options)

    return together


def show_nothing(items: Iterable[object]) -> None:
    """Consume all items silently; the first rank shows the same ones."""
    deque(items, maxlen=0)


def reports(error: Exception) -> bool:
    """True for the process that reports an error to the user."""
    if _ranks is not None:
        return _ranks.reports(error)
    same_for_all = isinstance(error, UsageError) or not isinstance(error, N2NError | OSError | MemoryError)
    if same_for_all and any(os.environ.get(name, "0") != "0" for name in _RANK_VARIABLES):
        from n2n_cli.distributed.launchers import place_of_process

        if place_of_process(os.environ).number > 1:
            time.sleep(_FIRST_PRINTS)  # some launchers end all processes as soon as one has failed
            return False
    return True


def leave_ranks(exit_code: int) -> None:
    """Disconnect from the other ranks: none then waits for this process or aborts it."""
    if _ranks is not None:
        _ranks.end(exit_code)
