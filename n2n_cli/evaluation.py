"""Evaluation: pictures whose clean version is known, denoised and scored."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from n2n_cli.config import Config
from n2n_cli.examples import Batch, Examples, numbered, open_examples
from n2n_cli.metrics import decibel, mean_squared_error, ssim
from n2n_cli.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.pairs import Pairs

_KEPT = 256_000_000  # bytes of held-out pairs


@dataclass(frozen=True)
class Score:
    """One picture before and after denoising: mean squared errors, in [0, 1] squared, and structural similarities."""

    name: str
    noisy_error: float
    error: float
    noisy_ssim: float
    ssim: float

    @property
    def noisy_psnr(self) -> float:
        """PSNR of the noisy picture, in dB."""
        return decibel(self.noisy_error)

    @property
    def psnr(self) -> float:
        """PSNR of the denoised picture, in dB."""
        return decibel(self.error)


@dataclass(frozen=True)
class Summary:
    """A set's figures: PSNR in dB, the mean of each picture's, and that of the mean error (`pooled`); mean SSIM."""

    pictures: int
    noisy_psnr: float
    psnr: float
    noisy_pooled_psnr: float
    pooled_psnr: float
    noisy_ssim: float
    ssim: float


class Tally:
    """Sums over scores, so that the scores need not be kept."""

    def __init__(self, scores: Iterable[Score] = ()) -> None:
        self._count = 0
        self._sums = np.zeros(6)
        for score in scores:
            self.add(score)

    def add(self, score: Score) -> None:
        """Count one more picture."""
        self._count += 1
        self._sums += (score.noisy_psnr, score.psnr, score.noisy_error, score.error, score.noisy_ssim, score.ssim)

    def summary(self) -> Summary:
        """The figures of what was counted; without any picture they are not numbers."""
        means = [float(total) / self._count if self._count else math.nan for total in self._sums]
        noisy_psnr, psnr, noisy_error, error, noisy_ssim, similarity = means
        return Summary(self._count, noisy_psnr, psnr, decibel(noisy_error), decibel(error), noisy_ssim, similarity)


def summarize(scores: Iterable[Score]) -> Summary:
    """The figures of a set of pictures."""
    return Tally(scores).summary()


class Scores(Iterator[Score]):
    """An iterator of scores that knows how many there will be, for a progress bar.

    Attributes
    ----------
    total : int
    """

    def __init__(self, model: Model, examples: Examples) -> None:
        self.total = examples.count
        self._scores = (score for batch in examples.batches for score in _scored(model, batch))

    def __next__(self) -> Score:
        return next(self._scores)


class HeldOut:
    """Pairs (noisy, clean) that a training is measured on again and again.

    They are made once where they take less than 256 MB, and else anew for every measurement. The errors of the noisy
    pictures are found once in any case.
    """

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._batches: list[Batch] | None = None

    @cached_property
    def noisy_errors(self) -> list[float]:
        """Mean squared error of every noisy picture."""
        return [mean_squared_error(*pair) for batch in self._all() for pair in _pairs(batch)]

    def errors(self, model: Model) -> Iterator[float]:
        """Mean squared error of every picture, denoised when its turn comes."""
        for batch in self._all():
            for pair in zip(model.predict(batch.noisy), batch.clean, strict=True):
                yield mean_squared_error(*pair)

    def _all(self) -> Iterable[Batch]:
        if self._batches is not None:
            return self._batches
        batches = numbered(self._pairs).batches
        first = next(batches, None)
        if first is None:
            return ()
        size = (first.noisy.nbytes + first.clean.nbytes) / len(first.names) * len(self._pairs)
        if size <= _KEPT:
            self._batches = [first, *batches]
            return self._batches
        return numbered(self._pairs).batches


def evaluate(
    model: Model,
    config: Config,
    source: str | None,
    noise: str | None = None,
    *,
    clean: str | None = None,
    crops: int | None = None,
    seed: int | None = None,
) -> Scores:
    """Score a model on pictures.

    Parameters
    ----------
    model : Model
    config : Config
        What the model was trained with: gives the validation pictures where `source` is None, and the crops' size.
    source : str, optional
        A folder of clean pictures, or a pair file (noisy, clean), which brings its own noise.
    noise : str, optional
        Put on clean pictures, as "gaussian:25"; drawn from `seed` and the picture's place in the folder. By default the
        configuration's.
    clean : str, optional
        A folder with the clean picture of every one of `source`, which are then noisy as they are: real pairs.
    crops : int, optional
        How many random crops of the training size to score, instead of a folder's whole pictures.
    seed : int, optional
        Of a folder's crops and noise, by default 0; the validation pictures keep those of their training.

    Returns
    -------
    Scores
        Of every picture, in the order of their names; each is read and scored when it is asked for.

    Raises
    ------
    DataError, ImageError, CheckpointError
        When the source cannot be used; for one picture of a folder, when its turn comes.
    UsageError
        When noise, crops or a seed are given for pairs that have theirs already.
    """
    examples = open_examples(config, source, clean, noise, crops=crops, seed=seed, threads=model.threads)
    return Scores(model, examples)


def _scored(model: Model, batch: Batch) -> Iterator[Score]:
    denoised = model.predict(batch.noisy)
    for name, before, after, clean in zip(batch.names, batch.noisy, denoised, batch.clean, strict=True):
        yield Score(
            name,
            mean_squared_error(before, clean),
            mean_squared_error(after, clean),
            ssim(before, clean),
            ssim(after, clean),
        )


def _pairs(batch: Batch) -> Iterator[tuple[Array, Array]]:
    return zip(batch.noisy, batch.clean, strict=True)
