"""Numbered training pairs, cut from pictures or read from a file.

A pair depends only on the seed, the epoch and its number, not on the batch or the order of requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from n2n_cli.data.shrinking import shrunk
from n2n_cli.images.pixels import flip_rotate, to_float, to_integer
from n2n_cli.nn.functional import Array
from n2n_cli.noise import NoiseModel
from n2n_cli.values.transform import Values

HELD_OUT = 20
"""Interval of held-out items: every 20th picture or scene is for validation."""

_CROPS, _NOISE, _AUGMENT, _RECROP, _RECOLOUR, _SHRINK, _CLIP, _GRAY = 1, 2, 3, 4, 5, 6, 7, 8
_SATURATION, _GAMMA = 3.0, 1.8
"""Maximum saturation factor and gamma of recolouring; the minima are the inverses."""


class Pairs(Protocol):
    """Numbered pairs of input and target."""

    def __len__(self) -> int: ...

    def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
        """Make noisy pictures and targets of an epoch, each (N, C, H, W) float32."""


@dataclass(frozen=True)
class Dataset:
    """Training pairs, validation pairs (noisy, clean), and notes for the user.

    `values` is the transform of measured values; None for display pictures.
    """

    train: Pairs
    validation: Pairs
    notes: tuple[str, ...]
    values: Values | None = None


class Places:
    """Random positions and flips of numbered crops.

    Parameters
    ----------
    count : int
        Number of crops.
    """

    def __init__(self, count: int, *, seed: int, stream: int, epoch_stream: int | None) -> None:
        self._seed, self._epoch_stream = seed, epoch_stream
        rng = generator(seed, stream, 0, 0)
        self._places = rng.random((count, 2), dtype=np.float32)  # fractions of the possible offsets
        self._flips = rng.integers(4, size=count, dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._places)

    def at(self, number: int, epoch: int, size: Sequence[int], side: int) -> tuple[int, int, int]:
        """Top, left and `flip_rotate` variant of a square crop of `side` pixels."""
        place = self._places[number]
        if self._epoch_stream is not None:
            place = generator(self._seed, self._epoch_stream, epoch, number).random(2)
        y, x = (int(place[axis] * (size[axis] - side + 1)) for axis in (0, 1))
        return y, x, int(self._flips[number])


class CropPairs:
    """Random crops of pictures, randomly flipped, with random noise.

    Parameters
    ----------
    pictures : sequence of (H, W, C) integer arrays
        Each at least size * noise.scale pixels high and wide.
    count : int
        Number of pairs.
    size : int
        Side of a noisy picture, in pixels.
    noise : NoiseModel
    target_noise : NoiseModel, optional
        Noise of the targets; `noise` by default. Input and target are swapped only if both have the same noise.
    seed : int
    validation : bool
        Use the clean picture as target, instead of a second noisy version.
    redraw : bool
        Draw new noise in every epoch.
    recrop : bool
        Cut new crops in every epoch.
    recolour : bool
        Change the colours of half of the crops at random in every epoch, by `recoloured`.
    gray : float
        Share of the crops of every epoch that are gray: all channels are equal, with the same noise.
    shrink : float
        Minimum scale, at most 1: in every epoch, half of the crops are scaled by a random factor from this to 1.
    clip_inputs : bool
        Clip a random half of the noisy pictures of every epoch and round them to 8 bits. Targets are never clipped:
        the network would learn the non-zero mean of clipped noise.
    augment : bool
        Flip, rotate and swap the pairs at random in every epoch.
    """

    def __init__(
        self,
        pictures: Sequence[Array],
        count: int,
        size: int,
        noise: NoiseModel,
        *,
        target_noise: NoiseModel | None = None,
        seed: int,
        validation: bool = False,
        redraw: bool = False,
        recrop: bool = False,
        recolour: bool = False,
        gray: float = 0,
        shrink: float = 1,
        clip_inputs: bool = False,
        augment: bool = False,
    ) -> None:
        self.pictures, self.size, self.noise, self.seed = pictures, size, noise, seed
        self.target_noise = noise if target_noise is None else target_noise
        self.validation, self.redraw, self.augmented = validation, redraw, augment
        self.recolour, self.gray = recolour, gray
        self.shrink, self.clip_inputs = shrink, clip_inputs
        self._crop = size * noise.scale
        self._places = Places(
            count, seed=seed, stream=_CROPS + 10 * validation, epoch_stream=_RECROP if recrop else None
        )

    def __len__(self) -> int:
        return len(self._places)

    def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
        channels = self.pictures[0].shape[2]
        # Channels last in memory, as in pictures and in the engine's kernels.
        noisy, target = (np.empty((len(numbers), self.size, self.size, channels), np.float32) for _ in range(2))
        for i, number in enumerate(numbers):
            source = self._source(int(number), epoch)
            rng = generator(self.seed, _NOISE + 10 * self.validation, epoch if self.redraw else 0, int(number))
            if not self.validation and self.target_noise is self.noise:
                noisy[i], target[i] = self.noise.draw_pair(source, rng=rng)
            else:
                noisy[i] = self.noise.draw(source, rng=rng)
                target[i] = (
                    self.noise.clean(source) if self.validation else self.target_noise.draw_target(source, rng=rng)
                )
            if self.augmented:
                swap = self.target_noise is self.noise
                augment(noisy[i], target[i], swap=swap, rng=generator(self.seed, _AUGMENT, epoch, int(number)))
            if self.clip_inputs and generator(self.seed, _CLIP, epoch, int(number)).integers(2):
                noisy[i] = to_float(to_integer(noisy[i], np.uint8))
        return np.moveaxis(noisy, -1, 1), np.moveaxis(target, -1, 1)  # (N, C, H, W)

    def _source(self, number: int, epoch: int) -> Array:
        picture = self.pictures[number % len(self.pictures)]
        side = self._side(number, epoch, picture.shape)
        y, x, way = self._places.at(number, epoch, picture.shape, side)
        crop = flip_rotate(picture[y : y + side, x : x + side], way)
        if side != self._crop:
            crop = shrunk(crop, self._crop)
        if self.recolour:
            rng = generator(self.seed, _RECOLOUR, epoch, number)
            crop = recoloured(crop, rng=rng) if rng.integers(2) else crop
        if self.gray and generator(self.seed, _GRAY, epoch, number).random() < self.gray:
            crop = to_float(crop).mean(axis=2, keepdims=True)
        return crop

    def _side(self, number: int, epoch: int, shape: Sequence[int]) -> int:
        """Side, in pixels, of the region that a crop is made from."""
        if self.shrink == 1:
            return self._crop
        rng = generator(self.seed, _SHRINK, epoch, number)
        scale = rng.uniform(self.shrink, 1) if rng.integers(2) else 1
        return min(round(self._crop / scale), *shape[:2])


class ArrayPairs:
    """Pairs given as arrays.

    Parameters
    ----------
    noisy, target : (N, C, H, W) integer arrays
        Inputs and targets, of the same shape.
    seed : int
    augment : bool
        Flip, rotate and swap the pairs at random in every epoch.
    """

    def __init__(self, noisy: Array, target: Array, *, seed: int = 0, augment: bool = False) -> None:
        self.noisy, self.target, self.seed, self.augmented = noisy, target, seed, augment

    def __len__(self) -> int:
        return len(self.noisy)

    def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
        chosen = np.asarray(numbers, np.intp)
        noisy, target = to_float(self.noisy[chosen]), to_float(self.target[chosen])
        if self.augmented:
            for i, number in enumerate(chosen):
                rng = generator(self.seed, _AUGMENT, epoch, int(number))
                augment(np.moveaxis(noisy[i], 0, -1), np.moveaxis(target[i], 0, -1), rng=rng)
        return noisy, target


def augment(noisy: Array, target: Array, *, swap: bool = True, rng: np.random.Generator) -> None:
    """Randomly flip, rotate and optionally swap a pair of (H, W, C) pictures in place.

    Input and target can be swapped if their noise has the same distribution. Only square pictures are rotated.
    """
    way = int(rng.integers(8 if noisy.shape[0] == noisy.shape[1] else 4))
    views = [flip_rotate(noisy, way).copy(), flip_rotate(target, way).copy()]
    if swap and rng.integers(2):
        views.reverse()
    noisy[...], target[...] = views


def recoloured(source: Array, *, rng: np.random.Generator) -> Array:
    """Change the colours of an (H, W, C) integer picture at random; float32 in [0, 1].

    Channels are permuted, the saturation is scaled, and each channel gets its own gamma, which makes gray detail
    coloured. In JPEG photographs, colour is smoother than brightness; a network trained only on them blurs saturated
    detail.
    """
    picture = to_float(source)[..., rng.permutation(source.shape[2])]
    gray = picture.mean(axis=2, keepdims=True)
    picture = gray + _spread(rng, _SATURATION, 1) * (picture - gray)
    result: Array = np.clip(picture, 0, 1) ** _spread(rng, _GAMMA, source.shape[2])
    return result


def _spread(rng: np.random.Generator, most: float, count: int) -> Array:
    """Draw factors from 1/most to most, uniform in the logarithm."""
    factors: Array = np.exp(np.log(most) * rng.uniform(-1, 1, count)).astype(np.float32)
    return factors


def how_often(every_epoch: bool) -> str:
    """Describe a flag for redrawing in words for the user."""
    return "again every epoch" if every_epoch else "once for all epochs"


def generator(seed: int, stream: int, epoch: int, number: int) -> np.random.Generator:
    """Make an independent random generator for each (seed, stream, epoch, number)."""
    # Philox counts with four words; drawing numbers advances the first.
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, epoch, number]))
