"""Stacks of pages with axes (time, depth, channels), from a file or a folder."""

from __future__ import annotations

import bisect
import itertools
import math
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

from n2n_cli.errors import ImageError
from n2n_cli.images.axes import Axis, Description, page_axes, place_of
from n2n_cli.images.formats import FORMATS, has_ending
from n2n_cli.images.kinds import skipped_notes
from n2n_cli.images.picture import Picture
from n2n_cli.images.reading import Pages, opened_pages, spread
from n2n_cli.images.sources import MAX_PIXELS, Source, label_of, reading_errors

_DIGITS = re.compile(r"(\d+)")
_MOST_OPEN = 32  # maximum number of open files


@contextmanager
def opened_stack(
    source: Source,
    axes: str | None = None,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    max_memory: int | None = None,
) -> Iterator[Stack]:
    """Open a file of pages, or a folder of frames, as a context.

    Its pages can be read in any order inside the block.

    Parameters
    ----------
    source : path or binary file
        A file of pages, or a folder: all picture files directly in it are read, in natural order (frame 2 before
        frame 10), and if they hold several pages, these follow each other.
    axes : str, optional
        Letters of all axes, the slowest first, such as "TZCYX"; see `page_axes`. Default: the axes in the file's
        description (ImageJ, OME); pages without a description, and frames of a folder, are T (time).
    name : str, optional
        Name of the source in messages; the path by default.
    max_pixels : int
        Maximum pixels of a page; larger pages are refused before they are decoded.
    max_memory : int, optional
        Maximum memory of a page's pixels, in bytes; larger pages are refused before they are decoded.

    Raises
    ------
    ImageError
        When the source is missing, holds no pictures, is damaged, or its pages differ in size or type.
    UsageError
        When `axes` do not fit the number of pages.
    """
    label, notes, frames = label_of(source, name), tuple[str, ...](), [source]
    if isinstance(source, (str, Path)) and os.path.isdir(source):  # noqa: PTH112 - `is_dir` raises for an impossible name
        frames, notes = frame_files(Path(source))
    open_pages = partial(opened_pages, name=name, max_pixels=max_pixels, max_memory=max_memory)
    with ExitStack() as closing:
        files = closing.enter_context(_Files(open_pages, frames))
        yield Stack(label, files, axes, notes)


def frame_files(folder: Path) -> tuple[list[Source], tuple[str, ...]]:
    """List the picture files directly in a folder, in natural order.

    Also returns a note on pictures that cannot be read.

    Raises
    ------
    ImageError
        When the folder cannot be read or holds no picture files.
    """
    with reading_errors(f"`{folder}`"):
        files = [path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file()]
    frames = sorted((path for path in files if has_ending(path)), key=natural_key)
    notes = skipped_notes([path for path in files if not has_ending(path)], folder)
    if not frames:
        raise ImageError("; ".join([f"`{folder}` holds no frames", *notes]), hint="looked for " + ", ".join(FORMATS))
    return [*frames], notes


def natural_key(path: Path) -> tuple[list[str | int], str]:
    """Sort key that puts frame2.tif before frame10.tif."""
    parts = _DIGITS.split(path.name)
    return [int(part) if place % 2 else part.casefold() for place, part in enumerate(parts)], path.name


class Stack:
    """Pages of one size and type, with axes, each read on request.

    Attributes
    ----------
    axes : str
        Letters of the axes: those of the pages, the slowest first, then YX within a page, or YXS for RGB.
    shape : tuple of int
        Sizes in the order of `axes`.
    description : Description
        Description by the program that wrote the file.
    notes : tuple of str
        Messages for the user.
    """

    def __init__(self, label: str, files: _Files, axes: str | None, notes: tuple[str, ...] = ()) -> None:
        self._label, self._files, self._lock = label, files, threading.Lock()
        self.description = files.description
        self._page_axes = page_axes(label, len(files), self.description.axes, axes)
        first = self._read(0)
        self._kind = _kind(first)
        colours = first.pixels.shape[2]
        self.axes = "".join(axis.name for axis in self._page_axes) + ("YXS" if colours > 1 else "YX")
        self.shape = (*(axis.size for axis in self._page_axes), *first.pixels.shape[: len(self.axes.lstrip("TZC"))])
        self.notes = notes + files.notes + (self.description.notes if axes is None else ())

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[Picture]:
        return map(self.page, range(len(self)))

    def page(self, number: int) -> Picture:
        """Read a page; pages are numbered from 0. Any thread may call this.

        Raises
        ------
        ImageError
            When the page is damaged, or has another size or type than the first page.
        """
        picture = self._read(number)
        if _kind(picture) != self._kind:
            one, other = _text(self._kind), _text(_kind(picture))
            raise ImageError(
                f"page {number + 1} of {self._label} is {other}, its first page is {one}: they are not a stack",
                hint="save pages of one size and type in a separate file or folder",
            )
        return picture

    def sample(self, most: int) -> Iterator[Picture]:
        """Read at most `most` evenly spread pages after the first, with the last."""
        return map(self.page, spread(range(len(self)), most))

    def place(self, number: int) -> dict[str, int]:
        """Position of a page along each axis of pages, by its letter."""
        return place_of(self._page_axes, number)

    def _read(self, number: int) -> Picture:
        with self._lock:
            return self._files.page(number)


def _kind(picture: Picture) -> tuple[tuple[int, ...], str, bool]:
    return picture.pixels.shape, picture.pixels.dtype.name, picture.alpha is not None


def _text(kind: tuple[tuple[int, ...], str, bool]) -> str:
    (height, width, channels), dtype, alpha = kind
    return f"{width} x {height} x {channels}, {dtype}" + (", with alpha" if alpha else "")


class _Files:
    """Files whose pages follow each other; only a few are open at the same time.

    Parameters
    ----------
    open_pages : function
        Opens the pages of a file, as a context manager.
    sources : list
        The files; each is opened once to count its pages.
    """

    def __init__(self, open_pages: Callable[[Source], AbstractContextManager[Pages]], sources: list[Source]) -> None:
        self._open_pages, self._sources = open_pages, sources
        self._opened: dict[int, tuple[Pages, ExitStack]] = {}  # most recently used last

    def __enter__(self) -> Self:
        try:
            self._count()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def _count(self) -> None:
        self._kept: list[Sequence[int]] = []  # for each file, the pages that are not smaller versions of others
        descriptions, reduced = list[Description](), 0
        for number in range(len(self._sources)):
            pages = self._file(number)
            kept = [page for page in range(len(pages)) if not pages.is_reduced(page)]
            self._kept.append(range(len(pages)) if len(kept) == len(pages) else kept)
            reduced += len(pages) - len(kept)
            descriptions.append(pages.description)
        self._ends = list(itertools.accumulate(map(len, self._kept)))
        self.description = _joined(descriptions, len(self))
        what = "1 smaller version of a page was" if reduced == 1 else f"{reduced} smaller versions of pages were"
        self.notes = (f"{what} left out",) if reduced else ()

    def __len__(self) -> int:
        return self._ends[-1]

    def page(self, number: int) -> Picture:
        """Read a page; pages are numbered consecutively through all files."""
        if not 0 <= number < len(self):
            raise IndexError(f"there is no page {number} of {len(self)}")
        file = bisect.bisect_right(self._ends, number)
        return self._file(file).page(self._kept[file][number - self._ends[file]])

    def _file(self, number: int) -> Pages:
        entry = self._opened.pop(number, None)
        if entry is None:
            if len(self._opened) >= _MOST_OPEN:
                self._opened.pop(next(iter(self._opened)))[1].close()
            closing = ExitStack()
            entry = closing.enter_context(self._open_pages(self._sources[number])), closing
        self._opened[number] = entry
        return entry[0]

    def _close(self) -> None:
        while self._opened:
            self._opened.popitem()[1][1].close()


def _joined(descriptions: list[Description], count: int) -> Description:
    """Join descriptions of files whose pages follow each other.

    The files follow each other in time if all have the same other axes.
    """
    first = descriptions[0]
    if len(descriptions) == 1:
        return first
    others = {tuple(axis for axis in one.axes if axis != one.axes[0] or axis.name != "T") for one in descriptions}
    axes: tuple[Axis, ...] = others.pop() if len(others) == 1 else ()
    time, rest = divmod(count, math.prod(axis.size for axis in axes))
    return replace(first, axes=() if rest else (Axis("T", time), *axes))
