"""The progress of many pictures, or of a large one, on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from n2n_cli.cli.console import shows_progress, stderr
from n2n_cli.errors import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Bar:
    """A bar over pictures, which also moves within a large one.

    Parameters
    ----------
    count : int
        Number of pictures.
    delay : float
        Seconds before it is drawn: what is done by then needs no bar.
    """

    def __init__(self, count: int, delay: float) -> None:
        self._count, self._done, self._part, self._name = count, 0, 0.0, ""
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._lock = Lock()
        self._shown_from = time.monotonic() + delay

    def begin(self, name: str) -> None:
        """The next picture is in work."""
        with self._lock:
            self._name, self._part = name, 0.0

    def advance(self, part: float) -> None:
        """A part of the picture is done; may be called by any thread."""
        with self._lock:
            self._part = min(self._part + part, 1)
            self._show()

    def end(self) -> None:
        """The picture is done with."""
        with self._lock:
            self._done, self._part = self._done + 1, 0.0
            self._show()

    def close(self) -> None:
        """Take the bar away."""
        with self._lock:
            if self._progress is not None:
                self._progress.stop()

    def _show(self) -> None:
        if self._progress is None:
            if time.monotonic() < self._shown_from:
                return
            self._progress = _progress(self._count)
            self._task = self._progress.add_task("", total=self._count, done="", name="")
            self._progress.start()
        assert self._task is not None
        done = f"{min(self._done + 1, self._count)}/{self._count}"
        self._progress.update(self._task, completed=self._done + self._part, done=done, name=printable(self._name))


def _progress(count: int) -> Progress:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    name = TextColumn("{task.fields[name]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"))
    place = TextColumn("{task.fields[done]}", justify="right")
    columns = (
        *((place,) if count > 1 else ()),
        name,
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    # Results go their own way where that is not the terminal.
    both = sys.stdout is not None and sys.stdout.isatty()
    return Progress(*columns, console=stderr(), transient=True, expand=True, redirect_stdout=both)


@contextmanager
def bar(count: int, *, delay: float = 0.5) -> Iterator[Bar | None]:
    """A bar inside the block; None where no progress is shown."""
    if not shows_progress():
        yield None
        return
    shown = Bar(count, delay)
    try:
        yield shown
    finally:
        shown.close()
