"""What all noise models have: strengths, drawn anew for every view, and ways to draw."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from n2n_cli.errors import ArgumentError
from n2n_cli.images.pixels import to_float
from n2n_cli.nn.functional import Array


@dataclass(frozen=True)
class Strength:
    """A number, or a range from which every view draws one.

    Parameters
    ----------
    low, high : float
    log : bool
        Whether the logarithm is uniform, so that each octave is as likely as the next; otherwise the number is.
    """

    low: float
    high: float
    log: bool = False

    def draw(self, rng: np.random.Generator) -> float:
        if self.low == self.high:
            return self.low
        if self.log:
            return math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return float(rng.uniform(self.low, self.high))

    def mean_square(self) -> float:
        """Of what is drawn."""
        if self.log and self.low < self.high:
            return (self.high**2 - self.low**2) / (2 * math.log(self.high / self.low))
        return (self.low**2 + self.low * self.high + self.high**2) / 3

    def __str__(self) -> str:
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g}{'~' if self.log else '-'}{self.high:g}"


class NoiseModel:
    """A way to draw noisy views of a picture.

    Attributes
    ----------
    scale : int
        Pixels of the source, along each axis, that make one pixel of a view.
    floor : str
        Where the Noise2Noise loss levels off, for the log.
    """

    name: ClassVar[str]
    example: ClassVar[str]
    """How it is written."""
    needed: ClassVar[str]
    """What its strengths must be."""
    strengths: ClassVar[int] = 1
    """Numbers behind its name."""
    scale: int = 1
    floor: str

    def __init__(self, *strengths: Strength) -> None:
        raise NotImplementedError

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        """(H*scale, W*scale, C) source, integer or in [0, 1] -> (H, W, C) float32 view, noisy."""
        raise NotImplementedError

    def draw_target(self, source: Array, *, rng: np.random.Generator) -> Array:
        """A view to learn from: the same, but for models whose views are not the clean picture in the mean."""
        return self.draw(source, rng=rng)

    def draw_pair(self, source: Array, *, rng: np.random.Generator) -> tuple[Array, Array]:
        """A view and a target, with independent noise."""
        return self.draw(source, rng=rng), self.draw_target(source, rng=rng)

    def clean(self, source: Array) -> Array:
        """(H*scale, W*scale, C) source -> (H, W, C) float32: what the views are noisy versions of."""
        return to_float(source)


def within(model: NoiseModel, strength: Strength | float, low: float, high: float) -> Strength:
    """A strength of `model`, as a range.

    Raises
    ------
    ArgumentError
        When part of it lies outside low to high.
    """
    if not isinstance(strength, Strength):
        strength = Strength(strength, strength)
    if not low <= strength.low <= strength.high <= high:  # also false for what is not a number
        raise ArgumentError(model.name, str(strength), model.needed)
    return strength
