"""Training and validation pairs of a movie."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from n2n_cli.config import DataConfig
from n2n_cli.data.folders import check_channels
from n2n_cli.data.motion import DifferenceNoise, measure_noise
from n2n_cli.data.movie_pairs import Matched, MoviePairs, matched, matched_frames, middle_of
from n2n_cli.data.movies import Frames, Movie, Reader, Stacks, stacks_in_blocks
from n2n_cli.data.pairs import Dataset, how_often
from n2n_cli.data.set_values import values_note, values_of_pictures
from n2n_cli.errors import DataError, counted
from n2n_cli.images import Picture
from n2n_cli.nn.functional import Array, Pair
from n2n_cli.values.choice import SAMPLED

_MEASURED = 8
"""Pairs of frames measured before training, spread over the movie."""
_LEAST = 0.3
"""Minimum fraction of pixels that do not move."""


def open_movie(config: DataConfig, channels: int, movie: Movie, *, seed: int) -> Dataset:
    """Open training and validation pairs of a movie.

    Parameters
    ----------
    channels : int
        Channels of the network, over all its frames.
    movie : Movie
        Its `values` and `channels` are not used.

    Raises
    ------
    DataError
        When the movie is too short or too small, or when all of it moves.
    """
    colours, rest = divmod(channels, config.frames)
    if rest:
        raise DataError(
            f"the network takes {channels} channels, which do not fit {counted(config.frames, 'frame')}",
            hint="`network.channels` is `data.frames` for gray movies, three times as many for RGB",
        )
    check_channels(colours)
    train, held_out, count = stacks_in_blocks(movie.lengths, config.frames, config.frame_gap, movie.name)
    with movie.opened() as lines:
        values = values_of_pictures(_sample(lines), config.values)
        movie = replace(movie, values=values, channels=colours)
        read = movie.reader(lines, 2)
        height, width = read(0, 0).size
        if min(height, width) < config.size:
            raise DataError(
                f"the frames of `{movie.name}` are smaller than {config.size}x{config.size} pixels",
                hint="a smaller `data.size`",
            )
        found = _measured(read, train, movie)
    options = {"redraw": config.redraw, "recrop": config.recrop, "augment": config.augment}
    pairs = MoviePairs(movie, train, config.pairs, config.size, found.noise, seed=seed, **options)
    validation = MoviePairs(
        movie, held_out, config.validation_pairs, config.size, found.noise, seed=seed, validation=True
    )
    lines_text = "" if len(movie.lengths) == 1 else f" in {len(movie.lengths)} sequences"
    seen = f"stacks of {config.frames} frames, {config.frame_gap + 1} apart" if config.frames > 1 else "frames"
    far = "neighbouring" if config.frame_gap == 1 else f"up to {config.frame_gap} apart"
    notes = (
        f"{counted(sum(movie.lengths), 'frame')}{lines_text} of {width}x{height}; {count} of them, in "
        "blocks of time, are held out for validation",
        f"{counted(len(train), 'pair')} of {seen}; input and target are {far}, in both orders",
        *found.notes,
        f"frames drawn {how_often(config.redraw)}, crops cut {how_often(config.recrop)}, flips and rotations drawn "
        f"{how_often(config.augment)}",
        "there is no clean picture: validation PSNR is against another frame, whose noise keeps it low; it is the "
        "figure to watch, not one to quote",
    )
    return Dataset(pairs, validation, values_note(values) + notes, values)


def _sample(lines: Sequence[Frames]) -> Iterator[Picture]:
    places = [(line, number) for line in lines for number in range(len(line))]
    for line, number in places[:: math.ceil(len(places) / SAMPLED)]:
        yield line.page(number)


@dataclass(frozen=True)
class _Found:
    """Noise of differences, fraction of pixels that moved, and notes for the user."""

    noise: DifferenceNoise
    moved: float
    notes: tuple[str, ...]


def _measured(read: Reader, stacks: Stacks, movie: Movie) -> _Found:
    """Measure pairs of frames, spread over the movie, and the drift over its length."""
    pairs: list[tuple[Array, Array]] = []
    copies, shift, change = 0, (0, 0), 0.0
    chosen = range(0, len(stacks), math.ceil(len(stacks) / _MEASURED))
    for pair in chosen:
        line, inputs, targets = stacks.numbers(pair)
        two = matched_frames(read, line, inputs[0], targets[0])
        copies += two.copies
        shift = max(shift, two.shift, key=lambda found: math.hypot(*found))
        change = max(change, two.exposure.change if two.exposure.differs else 0.0)
        pairs.append(_known_part(two))
    if copies == len(chosen):
        raise DataError(
            f"the frames of `{movie.name}` are copies of each other, with the same noise",
            hint="use the original movie from the camera",
        )
    noise = measure_noise(pairs)
    moved = float(np.mean([noise.moved(*pair).mean() for pair in pairs]))
    if moved > 1 - _LEAST:
        raise DataError(
            f"{moved:.0%} of the pixels of `{movie.name}` move between its frames, which do not show one scene",
            hint="a smaller `--frame-gap`, or `--single-image` with a folder of the frames",
        )
    drift, far = _from_first_to_last(read, movie)
    found = (
        f"{moved:.1%} of the pixels moved between two frames; they do not count in the loss",
        f"brightness changes by {drift:+.1%} from the first frames to the last"
        + (f", by up to {change:.1%} of the range between two frames: matched" if change else ""),
        f"the scene shifts by {_shift(far)} pixels from the first frames to the last"
        + (f", by up to {_shift(shift)} between two frames: aligned" if shift != (0, 0) else ""),
        *([f"{copies} of {len(chosen)} pairs of frames are copies of each other: left out"] if copies else []),
    )
    return _Found(noise, moved, found)


def _shift(shift: Pair) -> str:
    return f"{shift[0]} down and {shift[1]} right"


def _from_first_to_last(read: Reader, movie: Movie) -> tuple[float, Pair]:
    """Measure brightness change and shift from the first to the last frames.

    The means of several frames of the longest line are compared, which have less noise than single frames.
    """
    line = int(np.argmax(movie.lengths))
    count = min(_MEASURED, movie.lengths[line] // 4)
    middle = middle_of(read(line, 0).size)
    first = np.mean([read(line, i).seen(*middle) for i in range(count)], axis=0)
    last = np.mean([read(line, movie.lengths[line] - 1 - i).seen(*middle) for i in range(count)], axis=0)
    found = matched(first, last)
    return (1 / found.exposure.gain - 1 if found.exposure.differs else 0.0), found.shift


def _known_part(two: Matched) -> tuple[Array, Array]:
    """Crop both frames to their common rows and columns.

    A single missing pixel is copied from the other frame.
    """
    frame, matched = two.frame, two.matched
    rows, columns = (~np.isnan(matched).all(axis=axes) for axes in ((1, 2), (0, 2)))
    frame, matched = frame[rows][:, columns], matched[rows][:, columns]
    return frame, np.where(np.isnan(matched), frame, matched)
