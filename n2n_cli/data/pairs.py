"""Numbered training pairs, cut from pictures or given.

A pair has a number, and what it shows depends on the seed, the epoch and that number alone: not on the order in which
pairs are asked for, nor on how many are asked for at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from n2n_cli.data.shrinking import shrunk
from n2n_cli.images.pixels import to_float, to_integer, turned
from n2n_cli.nn.functional import Array
from n2n_cli.noise import NoiseModel

HELD_OUT = 20
"""Every 20th picture or scene is kept from training, to measure it."""

_CROPS, _NOISE, _AUGMENT, _RECROP, _RECOLOUR, _SHRINK, _CLIP = 1, 2, 3, 4, 5, 6, 7
_SATURATION, _GAMMA = 3.0, 1.8
"""The most that recolouring stretches colours and bends a channel's curve; the least are their inverses."""


class Pairs(Protocol):
    """Numbered pairs of pictures."""

    def __len__(self) -> int: ...

    def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
        """Pairs `numbers` of an epoch: noisy pictures and their targets, each (N, C, H, W) float32."""


@dataclass(frozen=True)
class Dataset:
    """What a training learns from and what it is measured on (noisy and clean); `notes` tell the user about it."""

    train: Pairs
    validation: Pairs
    notes: tuple[str, ...]


class Places:
    """Where numbered crops lie in their pictures, and in which of four ways each is flipped.

    Parameters
    ----------
    count : int
        Of crops.
    seed : int
    stream : int
        Of random numbers.
    anew : int, optional
        The stream of places that every epoch has of its own; by default they are the same for all epochs.
    """

    def __init__(self, count: int, *, seed: int, stream: int, anew: int | None) -> None:
        self._seed, self._anew = seed, anew
        rng = generator(seed, stream, 0, 0)
        self._places = rng.random((count, 2), dtype=np.float32)  # each way in [0, 1)
        self._flips = rng.integers(4, size=count, dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._places)

    def at(self, number: int, epoch: int, size: Sequence[int], side: int) -> tuple[int, int, int]:
        """Top and left, in pixels, of a crop of side x side in a picture of `size`, and its way as in `turned`."""
        place = self._places[number]
        if self._anew is not None:
            place = generator(self._seed, self._anew, epoch, number).random(2)
        y, x = (int(place[axis] * (size[axis] - side + 1)) for axis in (0, 1))
        return y, x, int(self._flips[number])


class CropPairs:
    """Random crops of pictures, flipped at random, with noise drawn on top.

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
        Of the targets, where it is another; input and target then never change places.
    seed : int
    validation : bool
        Whether the pairs are for validation, with the clean picture as target, or for training, with a second noisy
        view.
    redraw : bool
        Whether every epoch has noise of its own.
    recrop : bool
        Whether every epoch has crops of its own.
    recolour : bool
        Whether every epoch changes the colours of half of its crops at random, as `recoloured` does.
    shrink : float
        Half of each epoch's crops are cut from pictures made smaller, to a part of their size between this and 1.
    clip_inputs : bool
        Whether half of the noisy pictures, anew every epoch, are clipped and rounded as pictures of 8 bits are. Targets
        never are: the mean of clipped noise is not zero, and the network would learn it.
    augment : bool
        Whether every epoch flips and turns its pairs at random, and takes at random which of the two is the target.
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
        shrink: float = 1,
        clip_inputs: bool = False,
        augment: bool = False,
    ) -> None:
        self.pictures, self.size, self.noise, self.seed = pictures, size, noise, seed
        self.target_noise = noise if target_noise is None else target_noise
        self.validation, self.redraw, self.augmented = validation, redraw, augment
        self.recolour, self.shrink, self.clip_inputs = recolour, shrink, clip_inputs
        self._crop = size * noise.scale
        self._places = Places(count, seed=seed, stream=_CROPS + 10 * validation, anew=_RECROP if recrop else None)

    def __len__(self) -> int:
        return len(self._places)

    def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
        channels = self.pictures[0].shape[2]
        # Channels last in memory, as pictures are stored and as the kernels like it.
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
        crop = turned(picture[y : y + side, x : x + side], way)
        if side != self._crop:
            crop = shrunk(crop, self._crop)
        if self.recolour:
            rng = generator(self.seed, _RECOLOUR, epoch, number)
            crop = recoloured(crop, rng=rng) if rng.integers(2) else crop
        return crop

    def _side(self, number: int, epoch: int, shape: Sequence[int]) -> int:
        """Of what is cut from a picture of `shape` for a crop, in pixels."""
        if self.shrink == 1:
            return self._crop
        rng = generator(self.seed, _SHRINK, epoch, number)
        scale = rng.uniform(self.shrink, 1) if rng.integers(2) else 1
        return min(round(self._crop / scale), *shape[:2])


class ArrayPairs:
    """Pairs that are given.

    Parameters
    ----------
    noisy, target : (N, C, H, W) integer arrays
        Of the same shape.
    seed : int
    augment : bool
        Whether every epoch flips and turns its pairs at random, and takes at random which of the two is the target.
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
    """Flip and turn a pair of (H, W, C) pictures at random, and swap them or not, in place.

    Noise2Noise learns from both as well where their noise is alike. Pictures that are not square are not turned.
    """
    way = int(rng.integers(8 if noisy.shape[0] == noisy.shape[1] else 4))
    views = [turned(noisy, way).copy(), turned(target, way).copy()]
    if swap and rng.integers(2):
        views.reverse()
    noisy[...], target[...] = views


def recoloured(source: Array, *, rng: np.random.Generator) -> Array:
    """An (H, W, C) integer source with other colours, float32 in [0, 1].

    Channels change places, are drawn apart from their mean or towards it, and each gets a curve of its own: so detail
    that was gray becomes coloured. Photographs that were JPEGs have colours that are smoother than their brightness; a
    network that sees no others blurs saturated detail.
    """
    picture = to_float(source)[..., rng.permutation(source.shape[2])]
    gray = picture.mean(axis=2, keepdims=True)
    picture = gray + _spread(rng, _SATURATION, 1) * (picture - gray)
    result: Array = np.clip(picture, 0, 1) ** _spread(rng, _GAMMA, source.shape[2])
    return result


def _spread(rng: np.random.Generator, most: float, count: int) -> Array:
    """Factors from 1/most to most, small and large ones alike."""
    factors: Array = np.exp(np.log(most) * rng.uniform(-1, 1, count)).astype(np.float32)
    return factors


def how_often(anew: bool) -> str:
    """What a flag says, for the user."""
    return "anew every epoch" if anew else "once for all epochs"


def generator(seed: int, stream: int, epoch: int, number: int) -> np.random.Generator:
    """A generator for one sample: Philox counts, so that any (seed, stream, epoch, number) has numbers of its own."""
    # The lowest word of the counter runs while numbers are drawn.
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, epoch, number]))
