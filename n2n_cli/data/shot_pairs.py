"""Numbered pairs of two shots of the same scene."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from n2n_cli.data.pairs import augment, generator
from n2n_cli.data.scenes import Shots
from n2n_cli.data.shot_crops import ShotCrops
from n2n_cli.images.pixels import flip_rotate
from n2n_cli.nn.functional import Array

_AUGMENT = 33  # number of a random stream, used nowhere else in this package


class ShotPairs(ShotCrops):
    """Random crops of two shots of a scene, at the same place, randomly flipped.

    Parameters are those of `ShotCrops`. Scenes are at least `size` pixels high and wide. In training the target is one
    of the scene's other shots, in validation the mean of all of them. With `redraw`, each epoch continues with the next
    pairs of shots; without it, every epoch shows the same ones. `augment` also swaps input and target at random.
    """

    train_places, validation_places, recropped_places = 31, 32, 34

    @cached_property
    def shown(self) -> list[tuple[int, int, int]]:
        """List (scene, shot, target shot) of the pairs, one from each scene in turn.

        In validation, the target shot is not used.
        """
        pairs = [shots.scene.pairs for shots in self.scenes]
        if self.validation:
            pairs = [tuple((shot, shot) for shot in dict.fromkeys(shot for shot, _ in found)) for found in pairs]
        return [(scene, *pair) for scene, pair in in_turn(pairs)]

    def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
        # Channels last in memory, as in pictures and in the engine's kernels.
        shape = (len(numbers), self.size, self.size, self.channels)
        noisy, target = (np.empty(shape, np.float32) for _ in range(2))
        for i, number in enumerate(map(int, numbers)):
            turn = number + (epoch * len(self) if self.redraw else 0)
            scene, shot, other = self.shown[turn % len(self.shown)]
            shots = self.scenes[scene]
            y, x, variant = self._places.at(number, epoch, shots.size, self.size)
            targets = shots.scene.targets(shot) if self.validation else (other,)
            noisy[i] = flip_rotate(self._crop(shots, shot, y, x), variant)
            target[i] = flip_rotate(np.mean([self._crop(shots, one, y, x) for one in targets], axis=0), variant)
            if self.augmented:
                augment(noisy[i], target[i], rng=generator(self.seed, _AUGMENT, epoch, number))
        return np.moveaxis(noisy, -1, 1), np.moveaxis(target, -1, 1)  # (N, C, H, W)

    def _crop(self, shots: Shots, shot: int, y: int, x: int) -> Array:
        return shots.crop(shot, y, x, self.size, self.channels)


def in_turn(lists: Sequence[Sequence[tuple[int, int]]]) -> Iterable[tuple[int, tuple[int, int]]]:
    """Interleave lists: yield (number of the list, item), one from each list in turn."""
    for i in range(max(map(len, lists), default=0)):
        yield from ((number, items[i]) for number, items in enumerate(lists) if i < len(items))
