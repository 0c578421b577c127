"""Shots that are pages of a stack, each read when it is needed."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeAlias

from n2n_cli.images import FORMATS, PAGED_FORMATS, Picture, Stack, ending_of, opened_stack, read_picture, upright


class StackPage(NamedTuple):
    """A page of a stack as a shot; pages are numbered from 0."""

    path: Path
    number: int

    def __str__(self) -> str:
        return f"{self.path}, page {self.number + 1}"


Shot: TypeAlias = Path | StackPage


def shot_file(shot: Shot) -> Path:
    """Path of the file that holds a shot."""
    return shot.path if isinstance(shot, StackPage) else shot


def views_of(files: Iterable[Path]) -> dict[str, list[Shot]]:
    """Group the shots in picture files and stacks by scene.

    The pages of a stack along its time axis are shots of one scene. Each depth and each channel is a separate scene,
    with a name such as "Z 2, C 1". The name is empty for single pictures and for stacks without these axes.

    Raises
    ------
    ImageError
        When a file that may hold pages cannot be read.
    """
    found: dict[str, list[Shot]] = {}
    for path in files:
        if FORMATS.get(ending_of(path)) not in PAGED_FORMATS:
            found.setdefault("", []).append(path)
            continue
        with opened_stack(path) as stack:
            if len(stack) == 1:
                found.setdefault("", []).append(path)
                continue
            for number in range(len(stack)):
                place = stack.place(number)
                view = ", ".join(f"{axis} {place[axis] + 1}" for axis in "ZC" if axis in place)
                found.setdefault(view, []).append(StackPage(path, number))
    return found


class ShotReader:
    """Reader of upright shots; a context that keeps the stack of the last shot open."""

    def __init__(self) -> None:
        self._opened: tuple[Path, Stack] | None = None
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.close()

    def read(self, shot: Shot) -> Picture:
        """Read a shot; raises the errors of `read_picture`."""
        if not isinstance(shot, StackPage):
            return upright(read_picture(shot))
        if self._opened is None or self._opened[0] != shot.path:
            self._opened = None
            self._closing.close()
            self._opened = shot.path, self._closing.enter_context(opened_stack(shot.path))
        return upright(self._opened[1].page(shot.number))
