"""Clock for tests of progress."""

from __future__ import annotations

import pytest


class Clock:
    """Clock that `n2n_cli.cli.progress` reads, set by the test.

    Attributes
    ----------
    seconds : float
        Elapsed time.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        monkeypatch.setattr("n2n_cli.cli.progress.time.monotonic", lambda: self.seconds)
