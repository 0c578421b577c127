"""Numbered pairs of neighbouring pixels, from crops of single noisy pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from n2n_cli.data.neighbour_sampling import draw_neighbours, neighbours
from n2n_cli.data.pairs import generator
from n2n_cli.data.shot_crops import ShotCrops
from n2n_cli.images.pixels import flip_rotate
from n2n_cli.nn.functional import Array

_AUGMENT, _DRAWN, _DRAWN_VALIDATION = 43, 45, 46  # numbers of random streams, used nowhere else in this package


class SinglePairs(ShotCrops):
    """Random crops of single noisy pictures, and random neighbours in their 2x2 cells.

    In training, a batch holds crops of twice the size, (N, C, 2*size, 2*size), and the numbers of the pixels drawn
    from each cell, (N, 2, size, size). From these, `SingleImageModel` makes input and target, both of which depend on
    the network. In validation, a batch holds the two drawn neighbours, each (N, C, size, size).

    Parameters are those of `ShotCrops`. Scenes have one shot each, at least 2*size pixels high and wide. With `redraw`,
    neighbours are drawn again in every epoch.

    References
    ----------
    Huang, Li, Jia, Lu, Liu (2021), "Neighbor2Neighbor", arXiv:2101.02824, section 4.1.
    """

    train_places, validation_places, recropped_places = 41, 42, 44

    def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
        n, side = len(numbers), 2 * self.size
        crops = np.empty((n, side, side, self.channels), np.float32)
        drawn = np.empty((2, n, 1, 1, self.size, self.size), np.intp)
        stream = _DRAWN_VALIDATION if self.validation else _DRAWN
        for i, number in enumerate(map(int, numbers)):
            crops[i] = self._crop(number, epoch)
            rng = generator(self.seed, stream, epoch if self.redraw else 0, number)
            drawn[:, i : i + 1] = draw_neighbours(1, self.size, self.size, rng=rng)
        x = np.moveaxis(crops, -1, 1)  # (N, C, H, W)
        if self.validation:
            return neighbours(x, drawn)
        return x, np.moveaxis(drawn[:, :, 0, 0], 0, 1).astype(np.float32)

    def _crop(self, number: int, epoch: int) -> Array:
        picture, side = self.scenes[number % len(self.scenes)], 2 * self.size
        y, x, variant = self._places.at(number, epoch, picture.size, side)
        if self.augmented:
            variant = int(generator(self.seed, _AUGMENT, epoch, number).integers(8))
        return flip_rotate(picture.crop(0, y, x, side, self.channels), variant)


def drawn_in(target: Array) -> Array:
    """Reshape drawn pixels for `neighbours`: (N, 2, H, W) -> (2, N, 1, 1, H, W)."""
    drawn: Array = np.moveaxis(target, 1, 0)[:, :, None, None].astype(np.intp)
    return drawn
