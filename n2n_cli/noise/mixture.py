"""Mixtures of noise models: each pair of views has the noise of one of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from n2n_cli.nn.functional import Array
from n2n_cli.noise.model import NoiseModel, Strength


class Mixture(NoiseModel):
    """Mixture of noise models; each pair of views uses one, with the same strengths.

    Parameters
    ----------
    parts : sequence of (float, type of NoiseModel, strengths)
        Weight of the model, with weights of any sum; arguments of `type(*strengths)`.

    Raises
    ------
    ArgumentError
        When a strength is out of range.
    """

    name, example = "mix", "mix: 2 gaussian:0-50; 1 poisson:4~1000"
    needed = "noise models, each after its weight, separated by `;`"

    def __init__(self, parts: Sequence[tuple[float, type[NoiseModel], Sequence[Strength]]]) -> None:
        self._parts = parts
        whole = [model(*strengths) for _, model, strengths in parts]
        self._text = "; ".join(f"{share:g} {model}" for (share, *_), model in zip(parts, whole, strict=True))
        shares = np.array([share for share, *_ in parts])
        self._shares = shares / shares.sum()
        self.floor = "the mean of the floors of its models"

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        return self._one(rng).draw(source, rng=rng)

    def draw_target(self, source: Array, *, rng: np.random.Generator) -> Array:
        return self._one(rng).draw_target(source, rng=rng)

    def draw_pair(self, source: Array, *, rng: np.random.Generator) -> tuple[Array, Array]:
        return self._one(rng).draw_pair(source, rng=rng)

    def _one(self, rng: np.random.Generator) -> NoiseModel:
        """Draw one of the models, and a value of each of its strengths."""
        _, model, strengths = self._parts[rng.choice(len(self._parts), p=self._shares)]
        values = [strength.draw(rng) for strength in strengths]
        return model(*(Strength(value, value) for value in values))

    def __str__(self) -> str:
        return f"mix: {self._text}"
