"""Signal handling for tests, independent of the shell, and a time limit.

`nohup` ignores SIGHUP, and a shell ignores SIGINT for its background jobs; both are inherited by all children.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN = 10.0  # seconds; the alarm repeats, as the cleanup of a stopped test may wait, too


def default_signals() -> None:
    """Restore the default handling of stopping signals.

    A child process calls this before its program runs.
    """
    for number in _STOPPING:
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def signals_as_usual() -> Iterator[None]:
    """Context in which this process has Python's default handling of stopping signals."""
    before = {number: signal.getsignal(number) for number in _STOPPING}
    default_signals()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Fail a test that takes longer than `seconds`."""

    def stop(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
