"""Scores of a model on pictures whose ground truth is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from n2n_cli.config import Config
from n2n_cli.distributed.ranks import ALONE, Ranks
from n2n_cli.distributed.same_data import opened_in_turn
from n2n_cli.evaluation.evaluation_set import EvaluationBatch, EvaluationSet, open_evaluation_set
from n2n_cli.evaluation.metrics import decibel, mean_squared_error, ssim
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.system.progress import part_of_work
from n2n_cli.values.prepared import Prepared
from n2n_cli.values.transform import Values

GREY_LEVELS = 255.0
_ROUND_SIZE = 4
"""Batches that each rank scores before the ranks exchange their scores."""


@dataclass(frozen=True)
class Score:
    """Scores of one picture before and after denoising.

    Attributes
    ----------
    name : str
    noisy_error, error : float
        Mean squared errors, of pixels in [0, 1].
    noisy_ssim, ssim : float
        Structural similarities.
    unit : float
        Range to which PSNR refers, in the picture's own units: 255 grey levels for display pictures and for 8 bits,
        else the range of the measured values.
    """

    name: str
    noisy_error: float
    error: float
    noisy_ssim: float
    ssim: float
    unit: float = GREY_LEVELS

    @property
    def noisy_psnr(self) -> float:
        """PSNR of the noisy picture, in dB."""
        return decibel(self.noisy_error)

    @property
    def psnr(self) -> float:
        """PSNR of the denoised picture, in dB."""
        return decibel(self.error)

    @property
    def noisy_rms(self) -> float:
        """Root mean squared error of the noisy picture, in its own units."""
        return self.unit * math.sqrt(self.noisy_error)

    @property
    def rms(self) -> float:
        """Root mean squared error of the denoised picture, in its own units."""
        return self.unit * math.sqrt(self.error)


@dataclass(frozen=True)
class Summary:
    """Mean scores of a set of pictures.

    Attributes
    ----------
    pictures : int
        Number of pictures.
    noisy_psnr, psnr : float
        Mean of the pictures' PSNR, in dB.
    noisy_pooled_psnr, pooled_psnr : float
        PSNR of the mean squared error over all pictures, in dB.
    noisy_ssim, ssim : float
        Mean of the pictures' SSIM.
    noisy_rms, rms : float
        Mean of the pictures' root mean squared errors, in their own units.
    """

    pictures: int
    noisy_psnr: float
    psnr: float
    noisy_pooled_psnr: float
    pooled_psnr: float
    noisy_ssim: float
    ssim: float
    noisy_rms: float
    rms: float


class Tally:
    """Running sums of scores, which need not be stored."""

    def __init__(self) -> None:
        self._count = 0
        self._sums = np.zeros(8)

    def add(self, score: Score) -> None:
        """Add the scores of a picture."""
        self._count += 1
        psnr, errors, similarity = (
            (score.noisy_psnr, score.psnr),
            (score.noisy_error, score.error),
            (score.noisy_ssim, score.ssim),
        )
        self._sums += (*psnr, *errors, *similarity, score.noisy_rms, score.rms)

    def summary(self) -> Summary:
        """Mean scores so far; NaN before the first picture."""
        means = [float(total) / self._count if self._count else math.nan for total in self._sums]
        noisy_psnr, psnr, noisy_error, error, *others = means
        return Summary(self._count, noisy_psnr, psnr, decibel(noisy_error), decibel(error), *others)


class Scores(Iterator[Score]):
    """Iterator of scores with a known length, for a progress bar.

    Its progress (`system.progress`) is the number of denoised pictures.

    Attributes
    ----------
    total : int
        Number of scores.
    notes : tuple of str
        Messages for the user.
    measured : bool
        True if any picture so far has measured values.
    """

    def __init__(self, model: Model, evaluation_set: EvaluationSet, ranks: Ranks = ALONE) -> None:
        self.total, self.notes, self.measured = evaluation_set.count, evaluation_set.notes, False
        alone = (score for batch in evaluation_set.batches for score in _scored(model, batch))
        self._scores = alone if ranks.count == 1 else _scored_together(model, evaluation_set.batches, ranks)

    def __next__(self) -> Score:
        score = next(self._scores)
        self.measured |= score.unit != GREY_LEVELS
        return score


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
    page: int | None = None,
    ranks: Ranks = ALONE,
) -> Scores:
    """Score a model on pictures.

    Parameters
    ----------
    model : Model
    config : Config
        Configuration of the training. It gives the size of crops and, without a `source`, the held-out pictures.
    source : str, optional
        Folder of clean pictures, or file of pairs (noisy, clean). Default: the held-out pictures of the training.
    noise : str, optional
        Noise model and strength, as "gaussian:25", for clean pictures. Default: from the configuration.
    clean : str, optional
        Folder of the ground truth, if the pictures of `source` are noisy photographs.
    crops : int, optional
        Number of random crops of the training size to score. Default: whole pictures are scored.
    seed : int, optional
        Seed of crops and noise, by default 0. The noise of a picture also depends on its index in the folder. Held-out
        pictures keep the seed of their training.
    clip : bool
        Clip and round the noisy pictures to 8 bits, as a file stores them.
    page : int, optional
        Page to score of files that have several, from 1.
    ranks : Ranks
        Processes that score together, inside `ranks.together`. Every rank gets all scores, bit for bit those of a
        single process with the same number of threads.

    Returns
    -------
    Scores
        Iterator over the pictures, sorted by name, which reads and scores one picture at a time.

    Raises
    ------
    DataError, ImageError, CheckpointError
        When the source cannot be read; for a single picture, the iterator raises the error.
    UsageError
        When noise, crops, a seed or clipping are given for pairs whose noise and size are fixed.
    """

    def opened() -> EvaluationSet:
        return open_evaluation_set(
            config, source, clean, noise, crops=crops, seed=seed, clip=clip, page=page, threads=model.threads
        )

    return Scores(model, opened_in_turn(config.data.source if source is None else source, opened, ranks), ranks)


def _scored_together(model: Model, batches: Iterator[EvaluationBatch], ranks: Ranks) -> Iterator[Score]:
    """Score batches on all ranks in turn; every rank yields all scores, in order."""
    more = True
    while more:
        own: list[tuple[Score, ...]] = []
        failure: Exception | None = None
        try:
            for i in range(_ROUND_SIZE * ranks.count):
                batch = next(batches, None)
                if batch is None:
                    more = False
                    break
                if i % ranks.count == ranks.rank:
                    own.append(tuple(_scored(model, batch)))
        except Exception as error:  # raised below, after the scores of earlier batches
            failure = error
        parts = [iter(part) for part in ranks.gathered([*own, *([None] if failure else [])])]
        for i in range(_ROUND_SIZE * ranks.count):
            scores = next(parts[i % ranks.count], ())
            if scores is not None:
                yield from scores
            elif failure is not None and i % ranks.count == ranks.rank:
                raise failure
            else:
                ranks.gathered(None)  # raises, as another rank has failed


def _scored(model: Model, batch: EvaluationBatch) -> Iterator[Score]:
    channels = batch.noisy.shape[1]
    predictor = model.predictor if batch.prepared is None else model.predictor.for_channels(channels)
    with part_of_work(len(batch.names)):
        denoised = predictor.predict(batch.noisy)
    if batch.prepared is not None:
        yield _measured_score(batch.names[0], batch.prepared, denoised[0], batch.clean[0])
        return
    for name, before, after, clean in zip(batch.names, batch.noisy, denoised, batch.clean, strict=True):
        yield Score(
            name,
            mean_squared_error(before, clean),
            mean_squared_error(after, clean),
            ssim(before, clean),
            ssim(after, clean),
        )


def _measured_score(name: str, prepared: Prepared, denoised: Array, clean: Array) -> Score:
    """Score a measured picture, ignoring its missing values.

    Parameters
    ----------
    denoised : (C, H, W) array
        Output of the network.
    clean : (C, H, W) array
        Ground truth in the picture's own units.
    """
    # PSNR of 8-bit pictures does not depend on the transform: published figures refer to 255, too.
    scale = Values("display", high=GREY_LEVELS) if prepared.own.pixels.dtype == np.uint8 else prepared.values
    after = prepared.finish(np.moveaxis(denoised, 0, -1)).pixels
    before, after, clean = (scale.normalised(x) for x in (prepared.own.pixels, after, np.moveaxis(clean, 0, -1)))
    known = ~prepared.missing & np.isfinite(clean)
    errors = [float(np.mean(np.square(x[known] - clean[known], dtype=np.float64))) for x in (before, after)]
    shown = [np.moveaxis(np.where(known, x, 0), -1, 0) for x in (before, after, clean)]
    similar = [ssim(shown[i], shown[2]) for i in (0, 1)]
    return Score(name, errors[0], errors[1], similar[0], similar[1], unit=scale.high - scale.low)
