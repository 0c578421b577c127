"""The denoiser of one picture: a given model, or one trained on the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from n2n_cli.images import Picture
from n2n_cli.models.model import Model
from n2n_cli.models.predictor import Predictor
from n2n_cli.system.progress import advance

if TYPE_CHECKING:
    from n2n_cli.single_image.learner import Learned

LEARNING = 0.95
"""Approximate fraction of the time for a picture that training on it takes."""
_MANY = 10**6
"""Number of steps that is never reached: the time limit or early stopping comes first."""


@dataclass
class Denoiser:
    """A model, and a report of how it was made.

    Attributes
    ----------
    notes : list of str
        Messages for the user.
    learned : list of Learned
        Result of the training, if there was one.
    """

    model: Model | Predictor
    notes: list[str] = field(default_factory=list)
    learned: list[Learned] = field(default_factory=list)


def learn_to_denoise(parts: Sequence[Picture], *, seconds: float | None = None, threads: int | None = None) -> Denoiser:
    """Train a new network on a picture by Zero-Shot Noise2Noise, see `zero_shot`.

    Parameters
    ----------
    parts : sequence of Picture
        The picture, or the parts that it was split into.
    seconds : float, optional
        Time limit of learning. Default: the number of steps of `zero_shot.EFFORT`.
    threads : int, optional
        Number of threads of the network, as in `Model`; training uses as many processes instead.
    """
    from n2n_cli.single_image import zero_shot  # imported here: not needed with a given model
    from n2n_cli.single_image.learner import Crops

    if min(min(part.pixels.shape[:2]) for part in parts) < zero_shot.MIN_SIDE:
        advance(1)
        note = f"too small to learn from, a side is shorter than {zero_shot.MIN_SIDE} pixels; it stays as it is"
        return Denoiser(zero_shot.unchanging(parts[0].pixels.shape[2], threads=threads), [note])
    rng = np.random.default_rng(0)
    learner = zero_shot.ZeroShotLearner(Crops(parts, rng=rng), rng=rng, threads=threads)
    effort = zero_shot.EFFORT if seconds is None else replace(zero_shot.EFFORT, steps=_MANY, seconds=seconds)
    predictor, learned = learner.learn(effort)
    return Denoiser(predictor, [], [learned])
