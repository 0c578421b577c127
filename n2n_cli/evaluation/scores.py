"""Evaluation: pictures whose clean version is known, denoised and scored."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np

from n2n_cli.config import Config
from n2n_cli.data.pairs import Pairs
from n2n_cli.distributed.ranks import ALONE, Ranks
from n2n_cli.evaluation.metrics import decibel, mean_squared_error, ssim
from n2n_cli.evaluation.test_sets import Batch, Examples, open_examples
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array

_KEPT = 256_000_000  # bytes of held-out pairs
_TOGETHER = 100
"""Pairs that are denoised at a time, whatever the number of ranks: the last bits of a result may depend on it."""
_A_ROUND = 4
"""Batches that each rank scores between two meetings."""


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

    def __init__(self) -> None:
        self._count = 0
        self._sums = np.zeros(6)

    def add(self, score: Score) -> None:
        """Count one more picture."""
        self._count += 1
        self._sums += (score.noisy_psnr, score.psnr, score.noisy_error, score.error, score.noisy_ssim, score.ssim)

    def summary(self) -> Summary:
        """The figures of what was counted; without any picture they are not numbers."""
        means = [float(total) / self._count if self._count else math.nan for total in self._sums]
        noisy_psnr, psnr, noisy_error, error, noisy_ssim, similarity = means
        return Summary(self._count, noisy_psnr, psnr, decibel(noisy_error), decibel(error), noisy_ssim, similarity)


class Scores(Iterator[Score]):
    """An iterator of scores that knows how many there will be, for a progress bar.

    Attributes
    ----------
    total : int
    """

    def __init__(self, model: Model, examples: Examples, ranks: Ranks = ALONE) -> None:
        self.total = examples.count
        alone = (score for batch in examples.batches for score in _scored(model, batch))
        self._scores = alone if ranks.count == 1 else _scored_together(model, examples.batches, ranks)

    def __next__(self) -> Score:
        return next(self._scores)


class HeldOut:
    """Pairs (noisy, clean) that a training is measured on again and again.

    They are made once where they take less than 256 MB, and else anew for every measurement. The errors of the noisy
    pictures are found once in any case.

    Parameters
    ----------
    pairs : Pairs
    ranks : Ranks
        Each has every so many-th batch of them.
    """

    def __init__(self, pairs: Pairs, ranks: Ranks = ALONE) -> None:
        self._pairs, self._ranks = pairs, ranks
        starts = range(0, len(pairs), _TOGETHER)
        self._numbers = [np.arange(start, min(start + _TOGETHER, len(pairs))) for start in starts]
        self._kept: list[tuple[Array, Array]] | None = None

    @cached_property
    def noisy_errors(self) -> list[float]:
        """Mean squared error of every noisy picture."""
        return self.of_all([mean_squared_error(*pair) for batch in self._own() for pair in zip(*batch, strict=True)])

    def errors(self, model: Model) -> Iterator[float]:
        """Mean squared error of every picture of this rank, denoised when its turn comes."""
        for noisy, clean in self._own():
            for pair in zip(model.predict(noisy), clean, strict=True):
                yield mean_squared_error(*pair)

    def of_all(self, errors: list[float]) -> list[float]:
        """The errors of all ranks, in the order of the pictures, from those of each."""
        parts = [iter(part) for part in self._ranks.gathered(errors)]
        return [
            error
            for i, numbers in enumerate(self._numbers)
            for error in islice(parts[i % self._ranks.count], len(numbers))
        ]

    def _own(self) -> Iterable[tuple[Array, Array]]:
        if self._kept is not None:
            return self._kept
        numbers = self._numbers[self._ranks.rank :: self._ranks.count]
        batches = map(self._pairs.batch, numbers)
        first = next(batches, None)
        if first is None:
            return ()
        size = sum(part.nbytes for part in first) / len(first[0]) * sum(map(len, numbers))
        if size <= _KEPT:
            self._kept = [first, *batches]
            return self._kept
        return map(self._pairs.batch, numbers)


def evaluate(
    model: Model,
    config: Config,
    source: str | None,
    noise: str | None = None,
    *,
    clean: str | None = None,
    crops: int | None = None,
    seed: int | None = None,
    clip: bool = False,
    ranks: Ranks = ALONE,
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
    clip : bool
        Whether pictures that are made noisy are clipped and rounded to 8 bits, as a file holds them.
    ranks : Ranks
        That score together, inside `ranks.together`; each gets all scores, the same as alone with as many threads to
        the last bit.

    Returns
    -------
    Scores
        Of every picture, in the order of their names; each is read and scored when it is asked for.

    Raises
    ------
    DataError, ImageError, CheckpointError
        When the source cannot be used; for one picture of a folder, when its turn comes.
    UsageError
        When noise, crops, a seed or clipping are given for pairs that have theirs already.
    """

    def opened() -> Examples:
        return open_examples(config, source, clean, noise, crops=crops, seed=seed, clip=clip, threads=model.threads)

    # One rank of a host makes the built-in pictures and keeps them; the others find them there.
    return Scores(model, ranks.in_turn(opened) if source is None else opened(), ranks)


def _scored_together(model: Model, batches: Iterator[Batch], ranks: Ranks) -> Iterator[Score]:
    """The scores of all batches, in their order; each rank denoises every so many-th."""
    more = True
    while more:
        own: list[tuple[Score, ...]] = []
        failure: Exception | None = None
        try:
            for i in range(_A_ROUND * ranks.count):
                batch = next(batches, None)
                if batch is None:
                    more = False
                    break
                if i % ranks.count == ranks.rank:
                    own.append(tuple(_scored(model, batch)))
        except Exception as error:  # raised when its turn comes, as alone
            failure = error
        parts = [iter(part) for part in ranks.gathered([*own, *([None] if failure else [])])]
        for i in range(_A_ROUND * ranks.count):
            scores = next(parts[i % ranks.count], ())
            if scores is not None:
                yield from scores
            elif failure is not None and i % ranks.count == ranks.rank:
                raise failure
            else:
                ranks.gathered(None)  # where the other's failure is told of


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
