"""Movies: lines of frames in time, read as needed, split into blocks of time.

A movie has one line of frames for each depth, channel and file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from n2n_cli.data.set_values import seen_pixels, with_colours
from n2n_cli.errors import DataError
from n2n_cli.images import Picture, Stack, opened_stack, upright
from n2n_cli.images.pixels import to_float
from n2n_cli.images.sources import Source
from n2n_cli.images.stacks import frame_files
from n2n_cli.nn.functional import Array, Pair
from n2n_cli.values.transform import Values

_HELD_OUT = 8
"""Divisor of the duration: 1/8 is held out for validation, in up to `_BLOCKS` blocks."""
_BLOCKS = 4


_MAX_CACHE = 100_000_000
"""Maximum size of the frames kept in memory, in bytes."""

Reader: TypeAlias = Callable[[int, int], "Frame"]


class Frames(Protocol):
    """Frames of one depth, channel and file, ordered by time."""

    def __len__(self) -> int: ...

    def page(self, number: int) -> Picture:
        """Read a frame."""


@dataclass(frozen=True)
class Movie:
    """A source of frames, opened when some of them are read.

    Attributes
    ----------
    name : str
        Name of the movie in messages.
    opened : function
        Context that opens the source; returns its lines of frames.
    lengths : tuple of int
        Number of frames of each line.
    values : Values, optional
        The transform of measured values; None for display pictures.
    channels : int
        Channels that frames are converted to: 1 (gray) or 3 (RGB).
    """

    name: str
    opened: Callable[[], AbstractContextManager[Sequence[Frames]]]
    lengths: tuple[int, ...]
    values: Values | None
    channels: int

    def reader(self, lines: Sequence[Frames], cached: int) -> Reader:
        """Make a function that reads a frame, by numbers of line and frame.

        Up to `cached` recent frames are kept in memory, fewer if they are large.
        """

        def read(line: int, number: int) -> Frame:
            label = f"frame {number + 1} of `{self.name}`"
            return Frame(label, upright(lines[line].page(number)), self.values, self.channels)

        size = read(0, 0).picture.pixels.nbytes
        return lru_cache(max(2, min(cached, _MAX_CACHE // size)))(read)


@dataclass(frozen=True)
class Frame:
    """A frame, whose areas are converted to network input on request."""

    label: str
    picture: Picture
    values: Values | None
    channels: int

    @property
    def size(self) -> Pair:
        """(rows, columns)."""
        h, w = self.picture.pixels.shape[:2]
        return h, w

    def seen(self, rows: slice, columns: slice) -> Array:
        """Convert an area to (h, w, channels) float32 pixels; fill in missing values."""
        return self._converted(self._part(rows, columns))

    def known(self, rows: slice, columns: slice) -> Array:
        """Convert an area to (h, w, channels) float32 pixels; NaN for missing values."""
        part = self._part(rows, columns)
        pixels = self._converted(part)
        missing = np.asarray(np.any((self.values or Values("display")).missing(part.pixels), axis=2))
        if missing.any():
            pixels[missing] = np.nan
        return pixels

    def _part(self, rows: slice, columns: slice) -> Picture:
        return replace(self.picture, pixels=self.picture.pixels[rows, columns], alpha=None)

    def _converted(self, part: Picture) -> Array:
        return to_float(with_colours(seen_pixels(self.label, part, self.values), self.channels)).copy()


@dataclass(frozen=True)
class Stacks:
    """Numbered pairs of stacks of frames: the inputs of a network, and their targets.

    The inputs are `frames` frames, `gap + 1` apart. Each target is up to `gap` frames later or earlier than its input.
    No target is also an input, so their noise is independent.

    Attributes
    ----------
    first : (N, 3) array of int
        Line, first input, and offset of the targets.
    """

    first: Array
    frames: int
    gap: int

    def __len__(self) -> int:
        return len(self.first)

    def numbers(self, pair: int) -> tuple[int, list[int], list[int]]:
        """Numbers of the line, the input frames and the target frames of a pair."""
        line, start, offset = (int(value) for value in self.first[pair])
        inputs = [start + k * (self.gap + 1) for k in range(self.frames)]
        return line, inputs, [number + offset for number in inputs]


def stacks_in_blocks(lengths: Sequence[int], frames: int, gap: int, name: str) -> tuple[Stacks, Stacks, int]:
    """Split a movie into pairs for training and validation, in blocks of time.

    Also returns the number of held-out frames. No pair crosses the border of a block.

    Raises
    ------
    DataError
        When the movie is too short.
    """
    span = (frames - 1) * (gap + 1) + gap + 1  # frames that one pair needs
    if max(lengths) < 2 * span:
        raise DataError(
            f"`{name}` is too short: {max(lengths)} frames in time; training and validation need {span} each",
            hint="a longer movie"
            + (", a smaller `data.frames`" if frames > 1 else "")
            + ("" if gap == 1 else ", a smaller `--frame-gap`"),
        )
    trained, held_out, count = [], [], 0
    for line, length in enumerate(lengths):
        if length < 2 * span:
            continue
        blocks = max(1, min(_BLOCKS, length // (_HELD_OUT * span)))
        for i in range(blocks):
            start, stop = (length * k // blocks for k in (i, i + 1))
            border = stop - max(span, (stop - start) // _HELD_OUT)
            trained += _within(line, start, border, frames, gap)
            held_out += _within(line, border, stop, frames, gap)
            count += stop - border
    return Stacks(np.array(trained), frames, gap), Stacks(np.array(held_out), frames, gap), count


def _within(line: int, start: int, stop: int, frames: int, gap: int) -> list[tuple[int, int, int]]:
    reach = (frames - 1) * (gap + 1)
    return [
        (line, first, offset)
        for first in range(start, stop - reach)
        for offset in range(-gap, gap + 1)
        if offset and start <= first + offset and first + reach + offset < stop
    ]


def movie_of(source: str, axes: str = "") -> tuple[Movie, tuple[str, ...]]:
    """Find the movie of a file or folder; also returns notes for the user.

    A folder holds numbered frames, or files of several frames each. Each depth, each channel and each file of several
    frames is a separate line of frames.

    Parameters
    ----------
    axes : str
        Axes of the pages, as "TZCYX". Default: from the file.

    Raises
    ------
    DataError
        When the pages are not frames in time.
    ImageError, UsageError
        When a file cannot be read, or does not fit the axes.
    """
    path = Path(source)
    if not path.exists():
        raise DataError(f"there is no movie `{source}`", hint="a stack, as a TIFF file, or a folder of numbered frames")
    parts: list[Source] = [path]
    if path.is_dir():
        files, _ = frame_files(path)
        with opened_stack(files[0]) as first:
            parts = files if len(first) > 1 else parts

    @contextmanager
    def opened() -> Iterator[Sequence[Frames]]:
        with ExitStack() as opening:
            stacks = [opening.enter_context(opened_stack(part, axes or None)) for part in parts]
            yield [line for stack in stacks for line in _lines(stack)]

    with ExitStack() as opening:
        stacks = [opening.enter_context(opened_stack(part, axes or None)) for part in parts]
        lengths = tuple(len(line) for stack in stacks for line in _lines(stack))
        notes = tuple(dict.fromkeys(note for stack in stacks for note in stack.notes))
        if max(lengths) < 2:
            raise DataError(
                f"`{source}` is not a movie: its axes {stacks[0].axes}, {stacks[0].shape}, have no frames in time",
                hint="`--axes TYX` if its pages are frames in time; a Z stack or channels show different things",
            )
    return Movie(source, opened, lengths, None, 1), notes


class _Line:
    """Pages of a stack that differ only in time."""

    def __init__(self, stack: Stack, numbers: Sequence[int]) -> None:
        self._stack, self._numbers = stack, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def page(self, number: int) -> Picture:
        return self._stack.page(self._numbers[number])


def _lines(stack: Stack) -> list[_Line]:
    lines: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for number in range(len(stack)):
        place = stack.place(number)
        place.pop("T", None)
        lines.setdefault(tuple(sorted(place.items())), []).append(number)
    has_time = "T" in stack.axes
    return [_Line(stack, numbers if has_time else numbers[:1]) for numbers in lines.values()]
