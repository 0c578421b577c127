"""Progress bar of many pictures, or of a large one."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Self

from n2n_cli.cli.progress import LongWork

if TYPE_CHECKING:
    from rich.progress import ProgressColumn


class Bar:
    """Context that shows the progress of pictures.

    The bar also moves within a large picture.

    Parameters
    ----------
    count : int
        Number of pictures.
    delay : float
        Seconds before the bar is drawn; shorter work has no bar.
    """

    def __init__(self, count: int, *, delay: float = 0.5) -> None:
        self._count, self._done, self._part, self._name = count, 0, 0.0, ""
        self._lock = Lock()
        line = "{done}: {name}" if count > 1 else "{name}: {percent} done"
        self._work = LongWork(line, lambda: _columns(count), count, delay=delay, done="", name="", percent="")

    def __enter__(self) -> Self:
        self._work.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._work.__exit__(kind, error, trace)

    def begin(self, name: str) -> None:
        """Start the next picture."""
        with self._lock:
            self._name, self._part = name, 0.0

    def advance(self, part: float) -> None:
        """Report that a part of the picture is done; may be called by any thread."""
        with self._lock:
            self._part = min(self._part + part, 1)
            self._show()

    def end(self) -> None:
        """Report that the picture is finished."""
        with self._lock:
            self._done, self._part = self._done + 1, 0.0
            self._show()

    def _show(self) -> None:
        completed = self._done + self._part
        self._work.update(
            completed,
            done=f"{min(self._done + 1, self._count)}/{self._count}",
            name=self._name,
            percent=f"{completed / self._count:.0%}",
        )


def _columns(count: int) -> Iterable[ProgressColumn]:
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.table import Column

    if count > 1:
        yield TextColumn("{task.fields[done]}", justify="right")
    yield TextColumn("{task.fields[name]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"))
    yield BarColumn(bar_width=30)
    yield TaskProgressColumn()
