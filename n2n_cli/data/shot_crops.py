"""Numbered random crops of shots: what pairs of two shots and those of single ones have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from n2n_cli.data.pairs import Places
from n2n_cli.data.scenes import Shots
from n2n_cli.nn.functional import Array


class ShotCrops(ABC):
    """Random crops of shots, flipped at random; `batch` makes pairs of them.

    Parameters
    ----------
    scenes : sequence of Shots
    count : int
        Number of crops.
    size : int
        Side of what the network sees, in pixels.
    channels : int
        Of the network: 1 or 3.
    seed : int
    validation : bool
        Whether the pairs are to measure or to train.
    redraw : bool
        Whether every epoch draws anew what is paired.
    recrop : bool
        Whether every epoch has crops of its own.
    augment : bool
        Whether every epoch flips and turns its crops at random.

    Attributes
    ----------
    train_places, validation_places, recropped_places : int
        Numbers of the class's random streams, which no other class uses: for the places of crops to train on, of those
        to measure on, and of those drawn anew every epoch.
    """

    train_places: ClassVar[int]
    validation_places: ClassVar[int]
    recropped_places: ClassVar[int]

    def __init__(
        self,
        scenes: Sequence[Shots],
        count: int,
        size: int,
        channels: int,
        *,
        seed: int,
        validation: bool = False,
        redraw: bool = False,
        recrop: bool = False,
        augment: bool = False,
    ) -> None:
        self.scenes, self.size, self.channels, self.seed = scenes, size, channels, seed
        self.validation, self.redraw, self.augmented = validation, redraw, augment
        stream = self.validation_places if validation else self.train_places
        self._places = Places(count, seed=seed, stream=stream, anew=self.recropped_places if recrop else None)

    def __len__(self) -> int:
        return len(self._places)

    @abstractmethod
    def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
        """Pairs `numbers` of an epoch, float32."""
