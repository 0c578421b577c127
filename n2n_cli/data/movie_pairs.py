"""Numbered pairs of crops of a movie's frames, read from the file as needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TypeAlias

import numpy as np

from n2n_cli.data.alignment import Exposure, measure_exposure, measure_shift
from n2n_cli.data.motion import DifferenceNoise, box_means
from n2n_cli.data.movies import Movie, Reader, Stacks
from n2n_cli.data.moving_patches import add_moving_patches
from n2n_cli.data.neighbour_sampling import draw_neighbours, neighbours
from n2n_cli.data.pairs import generator
from n2n_cli.images.pixels import flip_rotate
from n2n_cli.nn.functional import Array, Pair

Area: TypeAlias = tuple[slice, slice]
"""Slices of rows and columns."""

MAX_WINDOWS = 200_000_000
"""Maximum size of the windows of an epoch, in bytes."""
_WINDOW = 256
"""Side of the windows, in pixels."""
_MEASURED = 512
"""Side of the middle area in which shift and brightness are measured, in pixels."""
_CHANCE = 10.0
"""Minimum relative fall of the difference by a true shift, in units of one pixel's standard error."""
_PLACES = 16
"""Attempts to place a crop where enough pixels did not move."""
_KNOWN = 0.2
"""Minimum fraction of pixels of a crop or window that did not move."""
_HALVED = 0.7
"""Fraction of the crops of stacks that are of half the size, so that moving parts have targets, too."""
_CHOICE, _CROPS, _AUGMENT = 51, 52, 53  # numbers of random streams, used nowhere else in this package
_VALIDATION = 10  # added to them


@dataclass(frozen=True)
class Window:
    """One window of a stack of frames and of their targets.

    Attributes
    ----------
    noisy, target : (H, W, frames * channels) float32 arrays
        Network input, and targets; NaN where a target is unknown.
    """

    noisy: Array
    target: Array


class MoviePairs:
    """Random crops of stacks of frames and of their targets.

    An epoch uses windows of as many pairs of stacks as fit into memory; other epochs use other pairs. Targets are
    aligned to their inputs by whole pixels, matched in brightness, and NaN where the scene moved (see
    `nn.losses.KnownOnly`).

    With `augment`, most crops of stacks of several frames are sampled at half the size, one pixel of each 2x2 cell.
    Where the scene moved, another pixel of the cell is the target, so that a network learns to denoise moving parts
    from their own frame. In pixels, movement between half-size frames two apart equals that between successive
    full-size frames.

    Parameters
    ----------
    movie : Movie
    stacks : Stacks
    count : int
        Number of pairs.
    size : int
        Side of the crops, in pixels.
    noise : DifferenceNoise
    seed : int
    validation : bool
        Use the same pairs in every epoch.
    redraw : bool
        Choose new frames in every epoch.
    recrop : bool
        Cut new crops in every epoch.
    augment : bool
        In every epoch, flip and rotate the crops at random, reverse the time, and add simulated movement.
    max_bytes : int
        Maximum size of the windows of an epoch.

    References
    ----------
    Huang, Li, Jia, Lu, Liu (2021), "Neighbor2Neighbor", arXiv:2101.02824, section 4.1.
    """

    def __init__(
        self,
        movie: Movie,
        stacks: Stacks,
        count: int,
        size: int,
        noise: DifferenceNoise,
        *,
        seed: int,
        validation: bool = False,
        redraw: bool = False,
        recrop: bool = False,
        augment: bool = False,
        max_bytes: int = MAX_WINDOWS,
    ) -> None:
        self.movie, self.stacks, self.size, self.noise, self.seed = movie, stacks, size, noise, seed
        self.redraw, self.recrop, self.augmented = redraw, recrop, augment
        self.validation, self.max_bytes = validation, max_bytes
        self._count, self._lock = count, Lock()
        self._epoch, self._windows = -1, list[Window]()

    def __len__(self) -> int:
        return self._count

    def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
        windows = self._of_epoch(epoch if self.redraw else 0)
        depth = self.stacks.frames * self.movie.channels
        # Channels last in memory, as in pictures and in the engine's kernels.
        noisy, target = (np.empty((len(numbers), self.size, self.size, depth), np.float32) for _ in range(2))
        for i, number in enumerate(map(int, numbers)):
            noisy[i], target[i] = self._crop(windows[number % len(windows)], number, epoch)
        return np.moveaxis(noisy, -1, 1), np.moveaxis(target, -1, 1)  # (N, C, H, W)

    def _crop(self, window: Window, number: int, epoch: int) -> tuple[Array, Array]:
        rng = self._rng(_CROPS, epoch if self.recrop else 0, number)
        halved = self._may_halve(window) and rng.random() < _HALVED
        size = 2 * self.size if halved else self.size
        places = [tuple(int(rng.integers(side - size + 1)) for side in window.noisy.shape[:2]) for _ in range(_PLACES)]
        areas = [_square(place, size) for place in places]
        known = (np.isfinite(window.target[area]).mean() for area in areas)
        if halved:
            area = min(zip(known, areas, strict=True), key=lambda pair: pair[0])[1]
            noisy, target = _own_targets(window.noisy[area], window.target[area], rng)
        else:
            area = next((area for area, share in zip(areas, known, strict=True) if share >= _KNOWN), areas[0])
            noisy, target = window.noisy[area], window.target[area]
        if self.augmented:
            rng = self._rng(_AUGMENT, epoch, number)
            variant = int(rng.integers(8))
            noisy, target = flip_rotate(noisy, variant), flip_rotate(target, variant)
            if rng.integers(2):
                noisy, target = (self._reversed(part) for part in (noisy, target))
            if self.stacks.frames > 1:
                noisy, target = add_moving_patches(noisy, target, self.stacks.frames, rng=rng)
        return noisy, target

    def _may_halve(self, window: Window) -> bool:
        """True if crops of half the size may be used: augmented stacks of white noise."""
        enough = min(window.noisy.shape[:2]) >= 2 * self.size
        return self.augmented and self.stacks.frames > 1 and enough and self.noise.is_white

    def _reversed(self, stack: Array) -> Array:
        """Reverse the order of the frames of a stack."""
        return stack.reshape(*stack.shape[:2], self.stacks.frames, -1)[:, :, ::-1].reshape(stack.shape)

    def _of_epoch(self, epoch: int) -> list[Window]:
        """Read the windows of an epoch; they are kept until another epoch is read."""
        with self._lock:
            if self._epoch != epoch:
                self._windows = []  # free memory first
                self._windows = self._read(epoch)
                self._epoch = epoch
            return self._windows

    def _read(self, epoch: int) -> list[Window]:
        rng = self._rng(_CHOICE, epoch, 0)
        windows: list[Window] = []
        order = rng.permutation(len(self.stacks))
        with self.movie.opened() as lines:
            frames = self.movie.reader(lines, 2 * self.stacks.frames)  # consecutive pairs share frames
            one = self._window(frames, int(order[0]), rng.random(2))
            number = max(1, self.max_bytes // (one.noisy.nbytes + one.target.nbytes))
            for pair in np.sort(order[: min(number, self._count)]):
                windows.append(self._window(frames, int(pair), rng.random(2)))
        usable = [window for window in windows if np.isfinite(window.target).mean() >= _KNOWN]
        return usable or windows

    def _window(self, read: Reader, pair: int, place: Array) -> Window:
        line, inputs, targets = self.stacks.numbers(pair)
        side = max(_WINDOW, self.size)
        noisy, target = [], []
        for one, other in zip(inputs, targets, strict=True):
            size = read(line, one).size
            top, left = (int(place[axis] * (max(0, size[axis] - side) + 1)) for axis in (0, 1))
            area = slice(top, min(top + side, size[0])), slice(left, min(left + side, size[1]))
            two = matched_frames(read, line, one, other, area)
            filled = np.where(np.isnan(two.matched), two.frame, two.matched)
            unknown = np.isnan(two.matched).any(axis=2) | self.noise.moved(two.frame, filled)
            two.matched[unknown | two.copies] = np.nan
            noisy.append(two.frame)
            target.append(two.matched)
        return Window(np.concatenate(noisy, axis=2), np.concatenate(target, axis=2))

    def _rng(self, stream: int, epoch: int, number: int) -> np.random.Generator:
        return generator(self.seed, stream + _VALIDATION * self.validation, epoch, number)


@dataclass(frozen=True)
class Matched:
    """A frame, and another one aligned to it and matched in brightness.

    Attributes
    ----------
    frame, matched : (H, W, C) float32 arrays
        `matched` is NaN where it has no value.
    shift : (rows, columns)
    exposure : Exposure
    copies : bool
        True if both frames are the same, with the same noise.
    """

    frame: Array
    matched: Array
    shift: Pair
    exposure: Exposure
    copies: bool = False


def matched_frames(read: Reader, line: int, one: int, other: int, area: Area | None = None) -> Matched:
    """Read an area (default: the middle) of two frames of a line; match the second."""
    first, second = read(line, one), read(line, other)
    middle = middle_of(first.size)
    found = matched(first.seen(*middle), second.known(*middle))
    area = area or middle
    frame, same = first.seen(*area), second.known(*area)
    copies = bool((frame == same).all()) and frame.min() < frame.max()
    aligned = np.full_like(frame, np.nan)
    own, its = [], []
    for part, step, side in zip(area, found.shift, second.size, strict=True):
        start, stop = max(0, part.start + step), min(side, part.stop + step)
        its.append(slice(start, max(start, stop)))
        own.append(slice(start - step - part.start, max(start, stop) - step - part.start))
    aligned[own[0], own[1]] = second.known(its[0], its[1])
    if found.exposure.differs:
        aligned = found.exposure(aligned)
    return Matched(frame, aligned, found.shift, found.exposure, copies)


def matched(frame: Array, second: Array) -> Matched:
    """Match a second frame to a frame; its missing values become NaN."""
    known = np.where(np.isnan(second), frame, second)
    shift = _checked_shift(frame, known)
    aligned = shifted(second, shift)
    exposure = measure_exposure(frame, np.where(np.isnan(aligned), frame, aligned))
    return Matched(frame, exposure(aligned) if exposure.differs else aligned, shift, exposure)


def middle_of(size: Pair) -> Area:
    """Area in the middle of a frame in which shift and brightness are measured."""
    y, x = (max(0, side - _MEASURED) // 2 for side in size)
    return slice(y, min(y + _MEASURED, size[0])), slice(x, min(x + _MEASURED, size[1]))


def _checked_shift(frame: Array, second: Array) -> Pair:
    """Measure the shift of a second frame, and check that it improves the fit.

    Moving objects can mislead the measurement.
    """
    shift = measure_shift(frame, second)
    if shift is None or shift == (0, 0):
        return 0, 0
    moved = shifted(second, shift)
    known = np.asarray(~np.isnan(moved).any(axis=2))
    before, after = (
        float(np.median(np.abs(box_means((measure_exposure(frame, part)(part) - frame).mean(axis=2), 3)[known])))
        for part in (second, np.where(known[..., None], moved, frame))
    )
    return shift if after < before * (1 - _CHANCE / math.sqrt(known.sum())) else (0, 0)


def shifted(frame: Array, shift: Pair) -> Array:
    """Shift a float frame: result[y, x] = frame[y + rows, x + columns], NaN outside."""
    if shift == (0, 0):
        return frame
    result = np.full_like(frame, np.nan)
    own, its = [], []
    for step, side in zip(shift, frame.shape, strict=False):
        own.append(slice(max(0, -step), side - max(0, step)))
        its.append(slice(max(0, step), side - max(0, -step)))
    result[tuple(own)] = frame[tuple(its)]
    return result


def _own_targets(noisy: Array, target: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Sample a stack and its targets at half the size.

    Unknown targets are replaced by neighbouring pixels of the same frames.

    Parameters
    ----------
    noisy, target : (2 * size, 2 * size, frames * channels) arrays

    Returns
    -------
    noisy, target : (size, size, frames * channels) arrays
    """
    drawn = draw_neighbours(1, len(noisy) // 2, len(noisy) // 2, rng=rng)
    pairs = [neighbours(np.moveaxis(x, -1, 0)[None], drawn) for x in (noisy, target)]  # (1, C, size, size)
    (own, beside), (known, _) = pairs
    found = np.where(np.isnan(known), beside, known)
    return np.moveaxis(own[0], 0, -1), np.moveaxis(found[0], 0, -1)


def _square(place: tuple[int, ...], side: int) -> tuple[slice, slice]:
    y, x = place
    return slice(y, y + side), slice(x, x + side)
