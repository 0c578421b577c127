"""Frames of a movie with their neighbours in time.

A network of several frames takes them as its channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from n2n_cli.denoising.tasks import DenoiseOptions
from n2n_cli.denoising.transforms import Chosen
from n2n_cli.errors import ImageError
from n2n_cli.images import Picture, Stack, opened_stack
from n2n_cli.images.sources import Source
from n2n_cli.images.stacks import frame_files
from n2n_cli.models.model import Model

_HINT = "a movie: a stack with an axis T, or a folder of numbered frames; `--model photo` denoises single pictures"


def times_around(number: int, length: int, frames: int) -> list[int]:
    """Numbers of the `frames` frames around a frame of a movie.

    The movie is mirrored at its ends.
    """
    period = max(1, 2 * length - 2)
    places = [(number + k) % period for k in range(-(frames // 2), frames // 2 + 1)]
    return [min(place, period - place) for place in places]


class TimeNeighbours:
    """Neighbours in time of the pages of files.

    The last file, or folder of frames, stays open.

    Parameters
    ----------
    model : Model, optional
        Takes `model.frames` frames.
    options : DenoiseOptions
        Its axes are by default those of the training.

    Attributes
    ----------
    chosen : dict
        Transforms shared by the files of the folder that is open: see `Transforms`.
    """

    def __init__(self, model: Model | None, options: DenoiseOptions) -> None:
        self._frames = 1 if model is None else model.frames
        trained = None if model is None or self._frames == 1 else model.config.data.axes or None
        self._options = options if options.axes else replace(options, axes=trained)
        self._closing = ExitStack()
        self._opened: tuple[Path, Stack] | None = None
        self._read: dict[int, Picture] = {}
        self._numbers: dict[Source, int] = {}  # place of each frame in its folder
        self.chosen: Chosen = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing.close()

    def of(self, source: Path | None, page: int) -> tuple[Picture, ...]:
        """Frames around a page, in the order of time.

        There are none for a model of single pictures. A file of one page is a frame of its folder.

        Parameters
        ----------
        source : Path, optional
            None for a stream.

        Raises
        ------
        ImageError
            When the page has no neighbours in time.
        """
        if self._frames == 1:
            return ()
        if source is None:
            raise ImageError(
                f"the model takes {self._frames} frames of a movie, which a stream cannot give", hint=_HINT
            )
        folder = self.folder_of(source)
        stack = self._stack(source) if folder is None else folder
        page = page if folder is None else self._numbers[source]
        place = stack.place(page)
        if place.get("T") is None or len(stack) == 1:
            raise ImageError(f"the model takes {self._frames} frames of a movie, `{source}` has none", hint=_HINT)
        length = stack.shape[stack.axes.index("T")]
        apart = int(np.prod(stack.shape[stack.axes.index("T") + 1 : len(place)], dtype=int))
        numbers = [page + (t - place["T"]) * apart for t in times_around(place["T"], length, self._frames)]
        self._read = {number: self._read.get(number) or stack.page(number) for number in numbers}
        return tuple(self._read[number] for number in numbers)

    def folder_of(self, source: Path | None) -> Stack | None:
        """Open the folder of a file of one page as a movie; None for other sources.

        The folder stays open for the next frame.
        """
        if self._frames == 1 or source is None:
            return None
        if source not in self._numbers and len(self._stack(source)) == 1:
            files, _ = frame_files(source.parent)
            self._numbers = {file: number for number, file in enumerate(files)}
        return self._stack(source.parent) if source in self._numbers else None

    def _stack(self, source: Path) -> Stack:
        if self._opened is None or self._opened[0] != source:
            self._closing.close()
            own = self._options
            opening = opened_stack(source, own.axes, max_pixels=own.max_pixels, max_memory=own.max_memory)
            self._opened, self._read = (source, self._closing.enter_context(opening)), {}
            self.chosen = {}
        return self._opened[1]


def denoise_in_time(frames: Sequence[Picture], model: Model, denoise: Callable[[Picture], Picture]) -> Picture:
    """Denoise several frames together, and return the middle one.

    Parameters
    ----------
    frames : sequence of Picture
        As many as `model.frames`, in the order of time.
    denoise : function
        Denoises a picture whose channels are those of all frames, frame by frame.
    """
    own, colours = frames[len(frames) // 2], model.channels // model.frames
    found = own.pixels.shape[2]
    # A gray network denoises each colour; an RGB one sees gray as three equal colours.
    groups = [slice(None)] if found == colours else [slice(c, c + 1) for c in range(found)]
    made = []
    for group in groups:
        parts = [frame.pixels[..., group] for frame in frames]
        if parts[0].shape[2] < colours:
            parts = [np.repeat(part, colours, axis=2) for part in parts]
        stacked = denoise(replace(own, pixels=np.concatenate(parts, axis=2), alpha=None))
        middle = len(frames) // 2 * colours
        result = stacked.pixels[..., middle : middle + colours]
        if colours > found:
            mean = result.mean(axis=2, keepdims=True)
            result = (mean if result.dtype.kind == "f" else np.rint(mean)).astype(result.dtype)
        made.append(result)
    return replace(own, pixels=np.concatenate(made, axis=2))
