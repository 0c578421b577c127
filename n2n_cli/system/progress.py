"""Progress of long work, reported to a listener.

A function calls `advance` as its work proceeds, at any depth of calls. A caller that divides its work into parts gives
each a share with `part_of_work`, and a progress bar receives the sum through `reported_to`. The listener belongs to the
context (`contextvars`) of the work, which its threads share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[Callable[[float], None]] = ContextVar("_listener", default=lambda part: None)


def advance(part: float) -> None:
    """Report that a fraction of the work is done.

    All fractions of a piece of work add up to 1. Any thread may call it.
    """
    _listener.get()(part)


@contextmanager
def reported_to(listener: Callable[[float], None]) -> Iterator[None]:
    """Send the progress of the work inside the block to a listener."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def part_of_work(share: float) -> Iterator[None]:
    """Weight the progress inside the block.

    Parameters
    ----------
    share : float
        Fraction of the surrounding work, in [0, 1].
    """
    outer = _listener.get()
    with reported_to(lambda part: outer(share * part)):
        yield


@contextmanager
def unreported() -> Iterator[None]:
    """Suppress progress inside the block.

    For calls whose progress the caller reports by itself.
    """
    with reported_to(lambda part: None):
        yield
