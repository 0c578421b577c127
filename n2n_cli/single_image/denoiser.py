"""The denoiser of one picture: the model that was chosen, or one that learns from the picture first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from n2n_cli.errors import ArgumentError
from n2n_cli.images import Picture
from n2n_cli.models.model import Model
from n2n_cli.models.predictor import Predictor
from n2n_cli.nn.functional import Array
from n2n_cli.system.progress import advance, part_of_work, unreported

if TYPE_CHECKING:
    from n2n_cli.single_image.learner import Effort, Learned

Method: TypeAlias = Literal["zs-n2n", "adapt"]
METHODS: tuple[Method, ...] = ("zs-n2n", "adapt")

LEARNING = 0.95
"""Of the time that a picture takes where it is learned from, about, the part that learning takes."""
_LITTLE = 0.05
"""A share of a blend that is not worth the time it takes."""
_NO_BETTER = "nothing learned from it lowered the held-out loss; the model stayed as it is"
_CORRELATED = (
    "what the model removes is correlated between neighbouring pixels; nothing was learned, the model stayed as it is"
)
_FIT, _LEARN = 0.4, 0.85
"""Of the time, and of a user's seconds: when fitting ends, and when learning ends; the rest is for the shares."""
_MANY = 10**6
"""Steps that are no limit: a user's seconds are over before, or the held-out loss stops falling."""


@dataclass
class Denoiser:
    """A model, and what is told of how it was made.

    Attributes
    ----------
    notes : list of str
        For the user.
    learned : list of Learned
        What came of learning, for each network that the model is a blend of.
    """

    model: Model | Predictor
    notes: list[str] = field(default_factory=list)
    learned: list[Learned] = field(default_factory=list)


def learn_to_denoise(
    method: Method | None,
    parts: Sequence[Picture],
    model: Model | None,
    *,
    seconds: float | None = None,
    threads: int | None = None,
) -> Denoiser:
    """Learn from a picture how to denoise it.

    Parameters
    ----------
    method : "zs-n2n", "adapt" or None
        Zero-Shot Noise2Noise, which begins with nothing; or the model, fitted by the loss of Neighbor2Neighbor, and
        blended with the former where that helps; or the model as it is.
    parts : sequence of Picture
        The picture, or those that it was taken apart into.
    model : Model, optional
        What is fitted to the picture, by a copy. "zs-n2n" alone does without.
    seconds : float, optional
        That learning may take. By default, as many steps as the method's own `EFFORT` says.
    threads : int, optional
        Of what begins with nothing, as in `Model`; while it learns, processes. What is fitted has the model's own.

    Raises
    ------
    ArgumentError
        When there is no model, and one is needed.
    """
    if method == "zs-n2n":
        return _learned_from_nothing(parts, seconds, threads)
    if model is None:
        raise ArgumentError("model", model, "a model, unless all is learned from the picture")
    return Denoiser(model) if method is None else _adapted(model, parts, seconds)


def _learned_from_nothing(parts: Sequence[Picture], seconds: float | None, threads: int | None) -> Denoiser:
    from n2n_cli.single_image import zero_shot  # here, as below: a model as it is starts without
    from n2n_cli.single_image.learner import Crops

    if min(min(part.pixels.shape[:2]) for part in parts) < zero_shot.MIN_SIDE:
        advance(1)
        note = f"too small to learn from, a side is shorter than {zero_shot.MIN_SIDE} pixels; it stays as it is"
        return Denoiser(zero_shot.unchanging(parts[0].pixels.shape[2], threads=threads), [note])
    rng = np.random.default_rng(0)
    learner = zero_shot.ZeroShotLearner(Crops(parts, rng=rng), rng=rng, threads=threads)
    learned_model, learned = learner.learn(_effort(zero_shot.EFFORT, seconds))
    return Denoiser(learned_model, [], [learned])


def _adapted(model: Model, parts: Sequence[Picture], seconds: float | None) -> Denoiser:
    """The model, fitted to the picture; and as much as helps of a network that learned from the picture alone."""
    from n2n_cli.noise.correlation import LIMIT
    from n2n_cli.single_image import neighbor2neighbor as neighbors
    from n2n_cli.single_image import zero_shot
    from n2n_cli.single_image.blend import blended
    from n2n_cli.single_image.blend_weights import best_share

    began = time.perf_counter()
    with unreported():
        adapter = neighbors.Adapter(model, parts, rng=np.random.default_rng(0))
    if not adapter.possible:
        advance(1)
        return Denoiser(model, ["too small to fit the model to it; the model denoised it as it is"])
    if adapter.correlation() > LIMIT:
        advance(1)
        return Denoiser(model, [_CORRELATED])

    def left(part: float) -> float | None:
        """Seconds until this part of all is over."""
        return None if seconds is None else max(0.0, part * seconds - (time.perf_counter() - began))

    with part_of_work(_FIT):
        fitted = adapter.learn(_effort(neighbors.EFFORT, left(_FIT)))
    learner = zero_shot.ZeroShotLearner(adapter.crops, rng=np.random.default_rng(0), threads=model.threads)
    effort = _effort(zero_shot.EFFORT, left(_LEARN))
    with part_of_work(_LEARN - _FIT):
        alone, learned = learner.learn(effort)
    own = Predictor.of(adapter.model.network, model.channels, threads=model.threads)
    own = own.for_channels(parts[0].pixels.shape[2])
    with part_of_work(1 - _LEARN):
        share = best_share(
            _unreported(own),
            _unreported(alone),
            adapter.crops,
            adapter.side,
            rng=np.random.default_rng(0),
            seconds=left(1),
        )
    if share > 1 - _LITTLE:
        better = fitted.best < fitted.first
        return Denoiser(adapter.model, [] if better else [_NO_BETTER], [fitted])
    if share < _LITTLE:
        return Denoiser(alone, [], [learned])
    return Denoiser(blended(own, alone, share), [], [replace(fitted, share=share), replace(learned, share=1 - share)])


def _unreported(predictor: Predictor) -> Callable[[Array], Array]:
    def predict(x: Array) -> Array:
        with unreported():
            return predictor.predict(x)

    return predict


def _effort(effort: Effort, seconds: float | None) -> Effort:
    return effort if seconds is None else replace(effort, steps=_MANY, seconds=seconds)
