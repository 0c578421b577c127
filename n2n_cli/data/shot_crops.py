"""Numbered random crops of shots, the base of `ShotPairs` and `SinglePairs`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from n2n_cli.data.pairs import Places
from n2n_cli.data.scenes import Shots
from n2n_cli.nn.functional import Array


class ShotCrops(ABC):
    """Random crops of shots, randomly flipped, from which `batch` makes pairs.

    Parameters
    ----------
    scenes : sequence of Shots
    count : int
        Number of crops.
    size : int
        Side of the network's input, in pixels.
    channels : int
        Channels of the network: 1 or 3.
    seed : int
    validation : bool
        Make pairs for validation instead of training.
    redraw : bool
        Draw new pairs in every epoch.
    recrop : bool
        Cut new crops in every epoch.
    augment : bool
        Flip and rotate the crops at random in every epoch.

    Attributes
    ----------
    train_places, validation_places, recropped_places : int
        Numbers of the random streams for the places of crops: of training, of validation, and of training with
        `recrop`. No other class uses the same numbers.
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
        self._places = Places(count, seed=seed, stream=stream, epoch_stream=self.recropped_places if recrop else None)

    def __len__(self) -> int:
        return len(self._places)

    @abstractmethod
    def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
        """Make the pairs of these numbers in an epoch, float32."""
