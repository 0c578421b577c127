"""Being asked to stop: what is begun comes to its end, unless that takes long."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 1.0
"""Seconds that a step has to come to its end when training is asked to stop; a slower one is given up."""


class StopError(Exception):
    """The work was asked to stop; for whoever began it to catch."""


class Stopping:
    """Whether work was asked to stop, and since when.

    Parameters
    ----------
    asked : function
        Says so. It may be called by any thread.
    """

    def __init__(self, asked: Callable[[], bool]) -> None:
        self._asked = asked
        self._since: float | None = None

    def after_a_step(self) -> None:
        """Stop, if it was asked for.

        Raises
        ------
        StopError
        """
        if self._time() is not None:
            raise StopError

    def within_a_step(self) -> None:
        """Stop, if it was asked for some time ago.

        Raises
        ------
        StopError
        """
        since = self._time()
        if since is not None and time.perf_counter() >= since + PATIENCE:
            raise StopError

    def _time(self) -> float | None:
        if self._since is None and self._asked():
            self._since = time.perf_counter()
        return self._since
