"""The denoiser of one picture: a given model, or one that learns from it first.

"zs-n2n" trains a small network on the picture alone (`zero_shot`). "adapt" fine-tunes a copy of the given model to the
picture (`neighbor2neighbor`), trains such a small network beside it, and blends the two with the weights that
`blend_weights` estimates from the noisy picture. Without a method, the model is used as it is.
"""

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
"""Approximate fraction of a picture's time that learning takes, if there is any."""
_LITTLE = 0.05
"""Weight in a blend below which a denoiser is left out, as not worth its time."""
_NO_BETTER = "nothing learned from it lowered the held-out loss; the model stayed as it is"
_CORRELATED = (
    "what the model removes is correlated between neighbouring pixels; nothing was learned, the model stayed as it is"
)
_FIT, _LEARN = 0.4, 0.85
"""Fractions of the total time, or of the time limit, at which fine-tuning and training the small network end. The rest
is for the blend weights."""
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
        Result of the training of each network in the blend.
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
        Zero-Shot Noise2Noise, which starts from random weights; or the model, fine-tuned with the loss of
        Neighbor2Neighbor and blended with the former where that helps; or the model as it is.
    parts : sequence of Picture
        The picture, or the parts that it was split into.
    model : Model, optional
        The model of which a copy is fine-tuned. Only "zs-n2n" needs none.
    seconds : float, optional
        Time limit of learning. Default: the number of steps of the method's own `EFFORT`.
    threads : int, optional
        Number of threads of the small network, as in `Model`; as many processes while it learns. The fine-tuned copy
        uses the model's own number.

    Raises
    ------
    ArgumentError
        When a model is needed and there is none.
    """
    if method == "zs-n2n":
        return _learned_from_nothing(parts, seconds, threads)
    if model is None:
        raise ArgumentError("model", model, "a model, unless all is learned from the picture")
    return Denoiser(model) if method is None else _adapted(model, parts, seconds)


def _learned_from_nothing(parts: Sequence[Picture], seconds: float | None, threads: int | None) -> Denoiser:
    from n2n_cli.single_image import zero_shot  # here and below: not needed for a model that is used as it is
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
    """The fine-tuned model, blended with a network trained on the picture alone."""
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
        """Seconds until this fraction of the time limit is over."""
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
