"""Progress of long work, reported to whoever listens.

Work calls `advance`, however deep inside other work; only who shows progress and who knows the parts of its work say
more. The listener belongs to the context (`contextvars`) of the work, which its threads share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[Callable[[float], None]] = ContextVar("_listener", default=lambda part: None)


def advance(part: float) -> None:
    """Report that a part of the work is done; all parts of a piece of work add up to 1. Any thread may call it."""
    _listener.get()(part)


@contextmanager
def reported_to(listener: Callable[[float], None]) -> Iterator[None]:
    """Let the listener hear of the progress of the work inside the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def part_of_work(share: float) -> Iterator[None]:
    """Count the work inside the block as a part of the work around it; `share` is in [0, 1]."""
    outer = _listener.get()
    with reported_to(lambda part: outer(share * part)):
        yield


@contextmanager
def unreported() -> Iterator[None]:
    """Report no progress of the work inside the block: it is a step of work that reports by itself."""
    with reported_to(lambda part: None):
        yield
