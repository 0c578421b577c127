"""Stop requests: work ends after the current step, or within it if that is slow."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 1.0
"""Maximum time from a stop request to the end of the step, in seconds; a slower step is abandoned."""


class StopError(Exception):
    """Work ends early because of a stop request; the caller catches this error."""


class Stopping:
    """A stop request and its time.

    Parameters
    ----------
    asked : function
        Returns True if work has to stop. Any thread may call it.
    """

    def __init__(self, asked: Callable[[], bool]) -> None:
        self._asked = asked
        self._since: float | None = None

    def after_a_step(self) -> None:
        """Stop if there is a request.

        Raises
        ------
        StopError
        """
        if self._time() is not None:
            raise StopError

    def within_a_step(self) -> None:
        """Stop if there is a request that is older than `PATIENCE`.

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
