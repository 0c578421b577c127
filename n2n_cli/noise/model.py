"""Base class of the noise models, and their strengths."""

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
    """A number, or a range from which a number is drawn for every view.

    Parameters
    ----------
    low, high : float
    log : bool
        Draw uniformly in the logarithm, so that all octaves are equally likely.
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
        """Expected square of the drawn number."""
        if self.log and self.low < self.high:
            return (self.high**2 - self.low**2) / (2 * math.log(self.high / self.low))
        return (self.low**2 + self.low * self.high + self.high**2) / 3

    def __str__(self) -> str:
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g}{'~' if self.log else '-'}{self.high:g}"


class NoiseModel:
    """Base class of models that draw noisy views of a clean picture.

    Attributes
    ----------
    scale : int
        Pixels of the source per pixel of a view, along each axis.
    floor : str
        Description of the minimum Noise2Noise loss, for the log.
    """

    name: ClassVar[str]
    example: ClassVar[str]
    """Example of a model as text."""
    needed: ClassVar[str]
    """Range of its strengths, for messages."""
    strengths: ClassVar[int] = 1
    """Number of strengths in the text."""
    scale: int = 1
    floor: str = "the variance of the noise"

    def __init__(self, *strengths: Strength) -> None:
        raise NotImplementedError

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        """Draw an (H, W, C) float32 noisy view of an (H*scale, W*scale, C) picture."""
        raise NotImplementedError

    def draw_target(self, source: Array, *, rng: np.random.Generator) -> Array:
        """Draw a view as target, corrected if the mean view is not the clean picture."""
        return self.draw(source, rng=rng)

    def draw_pair(self, source: Array, *, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw a view and a target with independent noise."""
        return self.draw(source, rng=rng), self.draw_target(source, rng=rng)

    def clean(self, source: Array) -> Array:
        """Make the (H, W, C) float32 clean picture of the views."""
        return to_float(source)


def within(model: NoiseModel, strength: Strength | float, low: float, high: float) -> Strength:
    """Check that a strength of `model` is within limits; return it as a range.

    Raises
    ------
    ArgumentError
        When part of the range is outside `low` to `high`.
    """
    if not isinstance(strength, Strength):
        strength = Strength(strength, strength)
    if not low <= strength.low <= strength.high <= high:  # also refuses NaN
        raise ArgumentError(model.name, str(strength), model.needed)
    return strength
