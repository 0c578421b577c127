"""Notes for the user from inside the work, sent to a listener.

Like `progress`, the listener belongs to the context (`contextvars`) of the work; without one, notes are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[Callable[[str], None]] = ContextVar("_listener", default=lambda text: None)


def note(text: str) -> None:
    """Send a note of one line to the listener."""
    _listener.get()(text)


@contextmanager
def noted_to(listener: Callable[[str], None]) -> Iterator[None]:
    """Send the notes of the work inside the block to a listener, equal ones only once."""
    seen: set[str] = set()

    def once(text: str) -> None:
        if text not in seen:
            seen.add(text)
            listener(text)

    token = _listener.set(once)
    try:
        yield
    finally:
        _listener.reset(token)
