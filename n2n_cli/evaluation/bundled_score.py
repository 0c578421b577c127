"""Scores of the bundled models on the held-out pictures of a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from n2n_cli.data.pairs import Dataset, Pairs
from n2n_cli.evaluation.held_out import HeldOut
from n2n_cli.evaluation.metrics import mean_psnr
from n2n_cli.models.choice import NOTICEABLE, bundled_models
from n2n_cli.models.model import Model
from n2n_cli.models.predictor import Predictor
from n2n_cli.nn.functional import Array

_MOST_PIXELS = 2**19
"""Maximum number of pixels that each model denoises: about half a second on two cores."""


@dataclass(frozen=True)
class BundledScore:
    """PSNR of the best bundled model and of a trained network.

    Both are measured on the same held-out pictures.

    Attributes
    ----------
    name : str
        Name of the best bundled model for these pictures.
    psnr, own_psnr : float
        Mean over pictures of the PSNR of that model, and of the trained network, in dB.
    pictures : int
        Number of the held-out pictures that were denoised.
    """

    name: str
    psnr: float
    own_psnr: float
    pictures: int

    @property
    def is_better(self) -> bool:
        """True if the bundled model is noticeably better."""
        return self.psnr - self.own_psnr >= NOTICEABLE


def bundled_score(
    data: Dataset, own_psnr: float, own: Callable[[], Model], *, threads: int, between: Callable[[], None]
) -> BundledScore | str:
    """Score the bundled models on as many held-out pictures as take about a second.

    Parameters
    ----------
    data : Dataset
    own_psnr : float
        PSNR of the trained network on all held-out pictures, in dB.
    own : function
        Loads the trained network, which is scored again if not all held-out pictures are used.
    between : function
        Called after each picture; may raise an error to stop the work.

    Returns
    -------
    BundledScore or str
        Score, or the reason for its absence.
    """
    if not bundled_models():
        return "none is installed"
    if data.values is not None:
        return "the held-out pictures hold measured values"
    count = len(data.validation)
    noisy, target = data.validation.batch([0])
    _, channels, height, width = noisy.shape
    if channels not in (1, 3):
        return f"the held-out pictures have {channels} channels"
    if np.isnan(target).any():
        return "some pixels of the held-out pictures are unknown"
    some = min(count, max(1, _MOST_PIXELS // (height * width)))
    pictures = HeldOut(_Some(data.validation, np.linspace(0, count - 1, some).astype(int)))
    scores = {
        name: _psnr(Model.from_checkpoint(path, threads=threads).predictor.for_channels(channels), pictures, between)
        for name, path in bundled_models().items()
    }
    best = max(scores, key=lambda name: scores[name])
    return BundledScore(best, scores[best], _psnr(own(), pictures, between) if some < count else own_psnr, some)


def _psnr(model: Model | Predictor, pictures: HeldOut, between: Callable[[], None]) -> float:
    """Mean of each picture's PSNR, in dB."""
    errors = []
    for error in pictures.errors(model):
        errors.append(error)
        between()
    return mean_psnr(errors)


@dataclass(frozen=True)
class _Some:
    """Selection of pairs by their numbers."""

    pairs: Pairs
    numbers: Array

    def __len__(self) -> int:
        return len(self.numbers)

    def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
        return self.pairs.batch(self.numbers[numbers], epoch)
