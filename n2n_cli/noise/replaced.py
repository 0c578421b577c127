"""Noise that replaces pixels: lost pixels, wrong colours, letters."""

from __future__ import annotations

import numpy as np

from n2n_cli.images.pixels import to_float
from n2n_cli.nn.functional import Array
from n2n_cli.noise.lettering import cover_with_text
from n2n_cli.noise.model import NoiseModel, Strength, within


class Bernoulli(NoiseModel):
    """Lost pixels, black in all channels.

    Targets are divided by the fraction of kept pixels, so that their mean is the clean picture.

    Parameters
    ----------
    lost : Strength or float
        Fraction of lost pixels.
    """

    name, example, needed = "bernoulli", "bernoulli:0.5", "the fraction of lost pixels, from 0 to 0.95"
    floor = "the mean square of the pictures, times lost / (1 - lost)"

    def __init__(self, lost: Strength | float) -> None:
        self.lost = within(self, lost, 0, 0.95)

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        return self._drawn(source, rng)[0]

    def draw_target(self, source: Array, *, rng: np.random.Generator) -> Array:
        view, lost = self._drawn(source, rng)
        return view / np.float32(1 - lost)

    def _drawn(self, source: Array, rng: np.random.Generator) -> tuple[Array, float]:
        lost = self.lost.draw(rng)
        kept = rng.random((*source.shape[:2], 1), dtype=np.float32) >= lost
        return to_float(source) * kept, lost

    def __str__(self) -> str:
        return f"bernoulli:{self.lost}"


class Impulse(NoiseModel):
    """Pixels replaced by random colours.

    Targets are scaled and shifted so that their mean is the clean picture.

    Parameters
    ----------
    wrong : Strength or float
        Fraction of replaced pixels.
    """

    name, example, needed = "impulse", "impulse:0.3", "the fraction of wrong pixels, from 0 to 0.95"
    floor = "the mean square of the change by wrong colours, times 1 / (1 - wrong)"

    def __init__(self, wrong: Strength | float) -> None:
        self.wrong = within(self, wrong, 0, 0.95)

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        return self._drawn(source, rng)[0]

    def draw_target(self, source: Array, *, rng: np.random.Generator) -> Array:
        # The mean of a value is (1 - wrong) * clean + wrong / 2.
        view, wrong = self._drawn(source, rng)
        view -= np.float32(wrong / 2)
        view /= np.float32(1 - wrong)
        return view

    def _drawn(self, source: Array, rng: np.random.Generator) -> tuple[Array, float]:
        wrong = self.wrong.draw(rng)
        hit = rng.random((*source.shape[:2], 1), dtype=np.float32) < wrong
        return np.where(hit, rng.random(source.shape, dtype=np.float32), to_float(source)), wrong

    def __str__(self) -> str:
        return f"impulse:{self.wrong}"


class Text(NoiseModel):
    """Random letters all over the picture.

    The median of the views, not their mean, is the clean picture: the loss should be L1.

    Parameters
    ----------
    covered : Strength or float
        Approximate fraction of the pixels under letters.
    """

    name, example, needed = "text", "text:0.25", "the fraction of pixels under letters, from 0 to 0.45"
    floor = "the mean absolute change by the letters; the loss should be L1"

    def __init__(self, covered: Strength | float) -> None:
        self.covered = within(self, covered, 0, 0.45)

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        return cover_with_text(to_float(source), self.covered.draw(rng), rng=rng)

    def __str__(self) -> str:
        return f"text:{self.covered}"
