"""Progress of long work: a bar on a terminal, else a line every 30 seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

from n2n_cli.cli.console import log, shows_progress, stderr
from n2n_cli.errors import printable

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

FIRST, EVERY = 5.0, 30.0
"""Seconds before the first line with the time left, and between two such lines."""
SHORT = 10.0
"""Remaining time, in seconds, below which it is not printed."""
_MINUTE, _HOUR = 60, 3600


def duration(seconds: float) -> str:
    """Format a rough time: "40 s", "12 min", "2 h 10 min"."""
    if seconds < 1.5 * _MINUTE:
        return f"{max(5, 5 * round(seconds / 5))} s"
    if seconds < 1.5 * _HOUR:
        return f"{round(seconds / _MINUTE)} min"
    hours, minutes = divmod(round(seconds / _MINUTE / 10) * 10, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


class LongWork:
    """Context that shows the progress of work and an estimate of the time left.

    Any thread may report progress.

    Parameters
    ----------
    line : str
        Format of a log line, with the names of `fields`.
    columns : function
        Returns the columns of the bar; the time left is appended to them.
    total : float, optional
        Amount of work, in any unit; unknown until `start`.
    delay : float
        Seconds before a bar is drawn; shorter work shows none.
    **fields : objects
        Initial values of the fields that `line` and `columns` show.
    """

    def __init__(
        self,
        line: str,
        columns: Callable[[], Iterable[ProgressColumn]],
        total: float | None = None,
        *,
        delay: float = 0.0,
        **fields: Any,
    ) -> None:
        self._line, self._columns, self._fields = line, columns, fields
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._lock = Lock()
        self._delay, self._draws = delay, shows_progress()
        self.start(total)

    def start(self, total: float | None, completed: int = 0) -> None:
        """Begin, or begin again, with some work already completed."""
        self._total, self._completed, self._first = total, float(completed), completed
        self._began = time.monotonic()
        self._next = self._began + FIRST
        if self._bar is not None and self._task is not None:
            # Advancing the bar instead would count work of an earlier session in its estimate of the time left.
            self._bar.reset(self._task, total=total, completed=completed)

    def __enter__(self) -> Self:
        if self._delay == 0:
            with self._lock:
                self._draw()
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.stop()

    def update(self, completed: float = 0.0, **fields: Any) -> None:
        """Raise the amount of completed work, and set new values of fields."""
        with self._lock:
            self._completed = max(self._completed, completed)
            self._fields |= fields
            self._show()

    def advance(self, part: float) -> None:
        """Add to the amount of completed work."""
        with self._lock:
            self._completed += part
            self._show()

    def log(self, message: str) -> None:
        """Print a log line, with the time left if no bar shows it."""
        with self._lock:
            log(message + ("" if self._draws else self._left()))

    def _left(self) -> str:
        """Suffix with the time left; empty if it is short or not yet known."""
        now, done = time.monotonic(), self._completed - self._first
        if self._total is None or done <= 0 or now < self._began + FIRST:
            return ""
        left = (now - self._began) * (self._total - self._completed) / done
        if left < SHORT:
            return ""
        self._next = now + EVERY
        return f", about {duration(left)} left"

    def _show(self) -> None:
        self._draw()
        if not self._draws and time.monotonic() >= self._next and (left := self._left()):
            log(self._line.format(**self._fields) + left)

    def _draw(self) -> None:
        if self._bar is None:
            if not self._draws or time.monotonic() < self._began + self._delay:
                return
            self._bar = _bar(self._columns())
            self._task = self._bar.add_task("", total=self._total, **self._shown())
            self._bar.start()
        if self._task is not None:
            self._bar.update(self._task, completed=self._completed, **self._shown())

    def _shown(self) -> dict[str, Any]:
        return {name: printable(value) if isinstance(value, str) else value for name, value in self._fields.items()}


def _bar(columns: Iterable[ProgressColumn]) -> Progress:
    from rich.progress import Progress, TextColumn, TimeRemainingColumn

    # rich redirects stdout to the bar's console, stderr: wanted only where both are the terminal.
    both = sys.stdout is not None and sys.stdout.isatty()
    return Progress(
        *columns,
        TimeRemainingColumn(),
        TextColumn("left"),
        console=stderr(),
        transient=True,
        expand=True,
        redirect_stdout=both,
    )
