"""Numbered pairs of two shots of the same place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from n2n_cli.data.pairs import augment, generator
from n2n_cli.data.scenes import Shots
from n2n_cli.data.shot_crops import ShotCrops
from n2n_cli.images.pixels import flip_rotate
from n2n_cli.nn.functional import Array

_AUGMENT = 33  # number of a random stream; every stream of this package has its own


class ShotPairs(ShotCrops):
    """Random crops of two shots of a scene, the same place in both, flipped at random.

    `ShotCrops` says what the parameters are. Scenes are at least `size` pixels high and wide. To train, the target is
    one of the scene's other shots; to measure, the mean of all of them. With `redraw`, every epoch goes on with the
    pairs of shots where the one before it ended, without it shows the same again. `augment` also takes at random which
    of the two is the target.
    """

    train_places, validation_places, recropped_places = 31, 32, 34

    @cached_property
    def shown(self) -> list[tuple[int, int, int]]:
        """(scene, shot, target shot) that pairs are cut from, in turn; scenes take turns, too.

        To measure, the target shot is not used.
        """
        pairs = [shots.scene.pairs for shots in self.scenes]
        if self.validation:
            pairs = [tuple((shot, shot) for shot in dict.fromkeys(shot for shot, _ in found)) for found in pairs]
        return [(scene, *pair) for scene, pair in in_turn(pairs)]

    def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
        # Channels last in memory, as pictures are stored and as the kernels like it.
        shape = (len(numbers), self.size, self.size, self.channels)
        noisy, target = (np.empty(shape, np.float32) for _ in range(2))
        for i, number in enumerate(map(int, numbers)):
            turn = number + (epoch * len(self) if self.redraw else 0)
            scene, shot, other = self.shown[turn % len(self.shown)]
            shots = self.scenes[scene]
            y, x, way = self._places.at(number, epoch, shots.size, self.size)
            targets = shots.scene.targets(shot) if self.validation else (other,)
            noisy[i] = flip_rotate(self._crop(shots, shot, y, x), way)
            target[i] = flip_rotate(np.mean([self._crop(shots, one, y, x) for one in targets], axis=0), way)
            if self.augmented:
                augment(noisy[i], target[i], rng=generator(self.seed, _AUGMENT, epoch, number))
        return np.moveaxis(noisy, -1, 1), np.moveaxis(target, -1, 1)  # (N, C, H, W)

    def _crop(self, shots: Shots, shot: int, y: int, x: int) -> Array:
        return shots.crop(shot, y, x, self.size, self.channels)


def in_turn(lists: Sequence[Sequence[tuple[int, int]]]) -> Iterable[tuple[int, tuple[int, int]]]:
    """(number of the list, item) of all items: first the first of every list, then the second of every list, ..."""
    for i in range(max(map(len, lists), default=0)):
        yield from ((number, items[i]) for number, items in enumerate(lists) if i < len(items))
