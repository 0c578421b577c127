"""The denoiser of one picture: the model that was chosen, or one that learns from the picture first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from n2n_cli.errors import ArgumentError
from n2n_cli.images import Picture
from n2n_cli.model import Model

if TYPE_CHECKING:
    from n2n_cli.single_image.learner import Effort, Learned

Method: TypeAlias = Literal["zs-n2n", "adapt"]
METHODS: tuple[Method, ...] = ("zs-n2n", "adapt")

LEARNING = 0.95
"""Of the time that a picture takes where it is learned from, about, the part that learning takes."""
_MANY = 10**6
"""Steps that are no limit: a user's seconds are over before, or the held-out loss stops falling."""


@dataclass
class Denoiser:
    """A model, and what is told of how it was made.

    Attributes
    ----------
    notes : list of str
        For the user.
    learned : Learned or None
        What came of learning; None where nothing was learned.
    """

    model: Model
    notes: list[str] = field(default_factory=list)
    learned: Learned | None = None


def learn_to_denoise(
    method: Method | None,
    parts: Sequence[Picture],
    model: Model | None,
    *,
    seconds: float | None = None,
    threads: int | None = None,
    advance: Callable[[float], None] = lambda part: None,
) -> Denoiser:
    """Learn from a picture how to denoise it.

    Parameters
    ----------
    method : "zs-n2n", "adapt" or None
        Zero-Shot Noise2Noise, which begins with nothing; or the model, fitted by the loss of Neighbor2Neighbor; or the
        model as it is.
    parts : sequence of Picture
        The picture, or those that it was taken apart into.
    model : Model, optional
        What is fitted to the picture, by a copy. "zs-n2n" alone does without.
    seconds : float, optional
        That learning may take. By default, as many steps as the method's own `EFFORT` says.
    threads : int, optional
        Of a new network, as in `Model`; while it learns, processes.
    advance : function
        Told what part of learning is done; all parts add up to 1.

    Raises
    ------
    ArgumentError
        When there is no model, and one is needed.
    """
    if method == "zs-n2n":
        from n2n_cli.single_image import zero_shot  # here, as below: a model as it is starts without

        if min(min(part.pixels.shape[:2]) for part in parts) < zero_shot.MIN_SIDE:
            advance(1)
            note = f"too small to learn from, a side is shorter than {zero_shot.MIN_SIDE} pixels; it stays as it is"
            own = parts[0].pixels.shape[2]
            return Denoiser(zero_shot.unchanging(own, threads=threads), [note])
        learner = zero_shot.ZeroShotLearner(parts, threads=threads)
        learned_model, learned = learner.learn(_effort(zero_shot.EFFORT, seconds), advance=advance)
        return Denoiser(learned_model, [], learned)
    if model is None:
        raise ArgumentError("model", model, "a model, unless all is learned from the picture")
    if method is None:
        return Denoiser(model)
    from n2n_cli.single_image import neighbors

    adapter = neighbors.Adapter(model, parts)
    if not adapter.possible:
        advance(1)
        return Denoiser(model, ["too small to fit the model to it; the model denoised it as it is"])
    learned = adapter.learn(_effort(neighbors.EFFORT, seconds), advance=advance)
    notes = (
        [] if learned.best < learned.first else ["no fit to it lowered the held-out loss; the model stayed as it is"]
    )
    return Denoiser(adapter.model, notes, learned)


def _effort(effort: Effort, seconds: float | None) -> Effort:
    return effort if seconds is None else replace(effort, steps=_MANY, seconds=seconds)
