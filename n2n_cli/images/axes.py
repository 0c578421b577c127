"""Axes of a file's pages: time, depth and channels, named by the file or the user."""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from n2n_cli.errors import UsageError

PAGE_AXES = "TZC"
"""Letters of the axes that count pages: time, depth, channels."""
_TEXT = re.compile(r"((?:[TZC]\d*)*)YXS?")
_AXIS = re.compile(r"([TZC])(\d*)")


class Axis(NamedTuple):
    """An axis of pages: its letter and its size."""

    name: str
    size: int


@dataclass(frozen=True)
class Description:
    """Description of a file's pages by the program that wrote it.

    Attributes
    ----------
    axes : tuple of Axis
        Axes of the pages, the slowest first, without those of size 1; empty if unknown.
    writer : str
        Source of the description, such as ``ImageJ``; empty if there is none.
    pixel_size : mapping
        Pixel size along each axis, with its unit, by the axis' letter.
    channels : tuple of str
        Names of the channels.
    notes : tuple of str
        Messages for the user about contradictions.
    images : tuple of int
        Number of pages of each image, in a file of several; `channels` are then the names of the images.
    """

    axes: tuple[Axis, ...] = ()
    writer: str = ""
    pixel_size: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    images: tuple[int, ...] = ()

    def pages_of_image(self, number: int) -> range:
        """Range of the pages of one of several images."""
        start = sum(self.images[:number])
        return range(start, start + self.images[number])

    def image_of(self, page: int) -> int:
        """Number of the image that a page belongs to; 0 in a file of one image."""
        return bisect.bisect_right(list(itertools.accumulate(self.images)), page)


def place_of(axes: tuple[Axis, ...], number: int) -> dict[str, int]:
    """Position of a page along each axis of pages, by its letter."""
    found = {}
    for name, size in reversed(axes):
        number, found[name] = divmod(number, size)
    return found


def pages_of_channel(axes: tuple[Axis, ...], count: int, channel: int) -> list[int]:
    """List the pages of a channel, or all pages if there is no axis C."""
    return [number for number in range(count) if place_of(axes, number).get("C", 0) == channel]


def page_axes(label: str, count: int, described: tuple[Axis, ...], text: str | None = None) -> tuple[Axis, ...]:
    """Determine the axes of pages: from `text`, else from the file, else time.

    Parameters
    ----------
    label : str
        Name of the file in messages.
    count : int
        Number of pages.
    described : tuple of Axis
        Axes by the file's description; empty if there is none.
    text : str, optional
        Letters of all axes, the slowest first, such as ``TZCYX``. A number after a letter is the size of that axis, as
        in ``T20Z5YX``. One size may be left out, since the number of pages determines it; all sizes may be left out if
        the file's description has as many axes.

    Raises
    ------
    UsageError
        When the text is not a list of axes, or does not fit the number of pages.
    """
    if text is None:
        return described or ((Axis("T", count),) if count > 1 else ())
    match = _TEXT.fullmatch(text.upper())
    found = [] if match is None else _AXIS.findall(match[1])
    names = [name for name, _ in found]
    if match is None or len(names) != len(set(names)):
        raise UsageError(
            f"`--axes {text}` names no axes: T (time), Z (depth) and C (channels), each once, then YX, or YXS for RGB",
            hint="the axis along which pages follow each other comes last, as in `--axes TZCYX`",
        )
    sizes = [int(size) if size else None for _, size in found]
    if len(sizes) > 1 and not any(sizes) and len(described) == len(sizes):
        sizes = [axis.size for axis in described]
    known = math.prod(size for size in sizes if size is not None)
    if sizes.count(None) == 1 and known and count % known == 0:
        sizes = [count // known if size is None else size for size in sizes]
    if None in sizes or math.prod(size or 0 for size in sizes) != count:
        open_sizes = sizes.count(None) > 1
        pages = f"{count} page{'s' * (count != 1)}" + "".join(f", {axis.name} {axis.size}" for axis in described)
        example = "".join(f"{name}{size or 'N'}" for name, size in zip(names, sizes, strict=True))
        raise UsageError(
            f"`--axes {text}` does not fit {label}, which has {pages}",
            hint=f"add the sizes: `--axes {example}YX` with a number for each N"
            if open_sizes
            else "the sizes of T, Z and C multiply to the number of pages; `n2n info` shows the axes of the file",
        )
    return tuple(Axis(name, size or 0) for name, size in zip(names, sizes, strict=True))
