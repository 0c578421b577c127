"""Numbered pairs of two shots of the same place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from n2n_cli.data.pairs import Places, augment, generator, turned
from n2n_cli.data.scenes import Shots
from n2n_cli.nn.functional import Array

_PLACES, _MEASURED, _AUGMENT, _RECROP = 31, 32, 33, 34  # streams of random numbers, none of which `CropPairs` has


class ShotPairs:
    """Random crops of two shots of a scene, the same place in both, flipped at random.

    Parameters
    ----------
    scenes : sequence of Shots
        Each at least `size` pixels high and wide.
    count : int
        Number of pairs.
    size : int
        Side of a crop, in pixels.
    channels : int
        Of the network: 1 or 3.
    seed : int
    measured : bool
        Whether the target is the mean of all targets of the shot (to measure) or one of them (to train).
    redraw : bool
        Whether every epoch goes on with the pairs of shots where the one before it ended, or shows the same again.
    recrop : bool
        Whether every epoch has crops of its own.
    augment : bool
        Whether every epoch flips and turns its pairs at random, and takes at random which of the two is the target.

    Attributes
    ----------
    shown : list of (scene, shot, target shot)
        What the pairs are cut from, in turn; scenes take turns, too. To measure, the target shot is not used.
    """

    def __init__(
        self,
        scenes: Sequence[Shots],
        count: int,
        size: int,
        channels: int,
        *,
        seed: int,
        measured: bool = False,
        redraw: bool = False,
        recrop: bool = False,
        augment: bool = False,
    ) -> None:
        self.scenes, self.size, self.channels, self.seed = scenes, size, channels, seed
        self.measured, self.redraw, self.augment = measured, redraw, augment
        pairs = [shots.scene.pairs for shots in scenes]
        if measured:
            pairs = [tuple((shot, shot) for shot in dict.fromkeys(shot for shot, _ in found)) for found in pairs]
        self.shown = [(scene, *pair) for scene, pair in in_turn(pairs)]
        stream = _MEASURED if measured else _PLACES
        self._places = Places(count, seed=seed, stream=stream, anew=_RECROP if recrop else None)

    def __len__(self) -> int:
        return len(self._places)

    def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
        # Channels last in memory, as pictures are stored and as the kernels like it.
        shape = (len(numbers), self.size, self.size, self.channels)
        noisy, target = (np.empty(shape, np.float32) for _ in range(2))
        for i, number in enumerate(map(int, numbers)):
            turn = number + (epoch * len(self) if self.redraw else 0)
            scene, shot, other = self.shown[turn % len(self.shown)]
            shots = self.scenes[scene]
            y, x, way = self._places.at(number, epoch, shots.size, self.size)
            targets = shots.scene.targets(shot) if self.measured else (other,)
            noisy[i] = turned(self._crop(shots, shot, y, x), way)
            target[i] = turned(np.mean([self._crop(shots, one, y, x) for one in targets], axis=0), way)
            if self.augment:
                augment(noisy[i], target[i], rng=generator(self.seed, _AUGMENT, epoch, number))
        return np.moveaxis(noisy, -1, 1), np.moveaxis(target, -1, 1)  # (N, C, H, W)

    def _crop(self, shots: Shots, shot: int, y: int, x: int) -> Array:
        return shots.crop(shot, y, x, self.size, self.channels)


def in_turn(lists: Sequence[Sequence[tuple[int, int]]]) -> Iterable[tuple[int, tuple[int, int]]]:
    """(number of the list, item) of all items: first the first of every list, then the second of every list, ..."""
    for i in range(max(map(len, lists), default=0)):
        yield from ((number, items[i]) for number, items in enumerate(lists) if i < len(items))
