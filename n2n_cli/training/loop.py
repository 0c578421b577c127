"""Training loop, a generator of records.

The progress bar, the log and the tests read the same records.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict, replace

import numpy as np

from n2n_cli.config import Config
from n2n_cli.data.pairs import Pairs
from n2n_cli.data.prefetching import prefetch
from n2n_cli.distributed.ranks import ALONE, Ranks
from n2n_cli.distributed.same_data import opened_together
from n2n_cli.errors import CheckpointError, ConfigError, DivergenceError, TrainingError
from n2n_cli.evaluation.bundled_score import BundledScore, bundled_score
from n2n_cli.evaluation.held_out import HeldOut
from n2n_cli.evaluation.metrics import mean_psnr, pooled_psnr
from n2n_cli.models.choice import denoises
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.nn.schedules import ScheduleError
from n2n_cli.system.notes import note
from n2n_cli.system.stopping import StopError
from n2n_cli.training.initial_model import starting_model
from n2n_cli.training.records import Epoch, Finished, Progress, Record, Started, Step, Stopped
from n2n_cli.training.run_folder import Run
from n2n_cli.training.session import CHECKPOINT_MINUTES, Session


def train(
    config: Config,
    run: Run,
    threads: int | None = None,
    *,
    resume: bool = False,
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
    stop: Callable[[], bool] = lambda: False,
    ranks: Ranks = ALONE,
    bundled: bool = False,
) -> Generator[Record]:
    """Train the network that a configuration describes.

    Parameters
    ----------
    config : Config
    run : Run
        An existing folder. Once the data are loaded, an earlier run in it is removed and the resolved configuration is
        written. After every epoch, the checkpoints and a line of metrics are written.
    threads : int, optional
        Number of computing threads. Default: one per available core, shared with other ranks on the same host. Results
        do not depend on it, except for rounding.
    resume : bool
        Continue from the run's last checkpoint, with the same final weights as without the interruption. A run without
        a checkpoint starts from the beginning.
    checkpoint_minutes : float
        Maximum age of the last checkpoint, in minutes; an older one is replaced also within an epoch.
    stop : function
        Polled repeatedly, by any thread. Once it returns True, the step is finished (a slow one is abandoned), a
        checkpoint is written, and training ends.
    ranks : Ranks
        Processes that train together, each on its part of every batch; the first writes the files. Each must iterate
        over the records, inside `ranks.together`. The weights equal those of a single process, except for rounding.
    bundled : bool
        Measure the bundled model, too, after training, in about a second; store its score in the best checkpoint.

    Yields
    ------
    Started, then for every epoch its Steps and an Epoch, then Finished; or Stopped if training was stopped.

    Raises
    ------
    TrainingError
        As soon as the loss is not finite, or when a file cannot be written. The last checkpoint is kept.
    CheckpointError
        When a checkpoint cannot be written (the previous one is kept), or cannot be resumed from.
    DataError, ImageError, CheckpointError
        When the data cannot be used.
    UsageError
        When an earlier run cannot be removed, or another training writes to the folder.
    ConfigError
        When the learning rate schedule does not fit the length of the training.
    """
    session = Session(run, checkpoint_minutes, stop, ranks)
    with session.locked():
        yield from _Training(config, session, threads, resume=resume, bundled=bundled).records()


class _Training:
    """One session of a training: from its start or a resume to its end or a stop."""

    def __init__(self, config: Config, session: Session, threads: int | None, *, resume: bool, bundled: bool) -> None:
        self.config, self.session, self.bundled = config, session, bundled
        ranks = session.ranks
        threads = ranks.threads if threads is None else threads
        self.data = opened_together(config, threads, ranks)
        if self.data.values is not None:
            config = replace(config, data=replace(config.data, values=self.data.values.to_text()))
            self.config = config
        resume = resume and session.can_resume()
        self.model = starting_model(config, threads=threads, resumed=resume)
        self.steps = math.ceil(len(self.data.train) / config.train.batch_size)
        self.progress = session.resume(self.model, self.steps) if resume else Progress()
        self.model.trainer.join(ranks, self.model.network)
        _check_sizes(self.model, self.data.train)
        self._lr(0)  # raises for a schedule that does not fit
        self.held_out = HeldOut(self.data.validation, ranks)
        self.noisy = mean_psnr(self.held_out.noisy_errors)
        session.begin(config, self.progress, resumed=resume)
        self.model.executor.between = session.within_a_step

    def records(self) -> Iterator[Record]:
        progress, epochs = self.progress, self.config.train.epochs
        parameters = sum(parameter.size for parameter, _ in self.model.network.param())
        done = (progress.epoch - 1) * self.steps + progress.step
        yield Started(
            epochs,
            self.steps,
            done,
            parameters,
            self.noisy,
            self.data.notes,
            self._rms(self.held_out.noisy_errors),
        )
        try:
            while progress.epoch <= epochs:
                yield from self._epoch()
        except StopError as error:
            self.session.stopped(error)
            self._save()
            yield Stopped(self.session.run.last, progress.epoch, progress.step)
            return
        best = max(progress.history, key=lambda line: line["psnr"], default={})
        yield Finished(
            self.session.run.best,
            self.noisy,
            -math.inf if progress.best is None else progress.best,
            denoises(best, noisy_targets=self.config.data.kind != "pictures"),
            self._bundled() if self.bundled and self.session.ranks.first else None,
        )

    def _bundled(self) -> BundledScore | str | None:
        """Score the bundled model on held-out pictures; save the score. None if stopped."""
        best, threads = self.session.run.best, self.model.threads
        try:
            score = bundled_score(
                self.data,
                -math.inf if self.progress.best is None else self.progress.best,
                lambda: Model.from_checkpoint(best, threads=threads),
                threads=threads,
                between=self.session.after_a_picture,
            )
            if isinstance(score, BundledScore):
                self.session.save_bundled(score)
        except StopError:
            return None
        except CheckpointError as error:
            note(f"the score of the bundled model is not recorded: {error.message}")
            return None
        return score

    def _epoch(self) -> Iterator[Record]:
        """Train for the rest of an epoch, then evaluate and save the model."""
        progress, train = self.progress, self.config.train
        pairs, epoch = self.data.train, progress.epoch
        order: Array = np.random.default_rng([train.seed, epoch]).permutation(len(pairs))
        numbers = [order[i : i + train.batch_size] for i in range(0, len(order), train.batch_size)]
        seen, seconds, waited, lr = 0, 0.0, 0.0, self._lr((epoch - 1) * self.steps + max(0, progress.step - 1))
        before = sum(map(len, numbers[: progress.step]))
        loaders = min(2, self.model.threads)
        own = [self.session.ranks.part(batch) for batch in numbers[progress.step :]]
        with closing(prefetch(lambda part: pairs.batch(part, epoch), own, threads=loaders)) as batches:
            while True:
                began = time.perf_counter()
                batch = next(batches, None)
                if batch is None:
                    break
                waited += time.perf_counter() - began
                lr = self._lr((epoch - 1) * self.steps + progress.step)
                self.model.optimizer.lr = lr
                try:
                    size = len(numbers[progress.step])
                    loss = self.model.step(*batch)
                except DivergenceError as error:
                    raise self._failed(progress.step + 1, error.message) from None
                seconds += time.perf_counter() - began  # without the time that the consumer of the records takes
                progress.step += 1
                progress.loss += loss * size
                seen += size
                yield Step(epoch, progress.step, progress.loss / (before + seen), seen / seconds)
                self.session.after_a_step()
                if self.session.is_due():
                    self._save()
        errors = self._measured()
        psnr, is_best = mean_psnr(errors), False
        if progress.best is None or psnr > progress.best:
            progress.best, is_best = psnr, True
        line = Epoch(
            epoch,
            train.epochs,
            progress.loss / len(pairs),
            self.noisy,
            psnr,
            pooled_psnr(self.held_out.noisy_errors),
            pooled_psnr(errors),
            is_best,
            lr,
            seen / seconds if seen else 0.0,
            waited / seconds if seen else 0.0,
            self.session.seconds,
            self._rms(errors),
        )
        self.session.save_epoch(self.model, line)
        progress.history.append(asdict(line))
        progress.epoch, progress.step, progress.loss = epoch + 1, 0, 0.0
        self._save()
        yield line

    def _measured(self) -> list[float]:
        """Mean squared errors of the held-out pictures after denoising.

        Raises
        ------
        TrainingError
            When weights or errors are not finite.
        """
        self._check_finite()
        with self.model.averaged(), np.errstate(over="ignore", invalid="ignore"):  # checked below
            errors = []
            try:
                for error in self.held_out.errors(self.model):
                    errors.append(error)
                    self.session.after_a_picture()
            except DivergenceError:
                errors.append(math.nan)
        errors = self.held_out.of_all(errors)
        if not np.isfinite(errors).all():
            raise self._failed(self.progress.step, "after it weights or output are not finite")
        return errors

    def _rms(self, errors: list[float]) -> float | None:
        """Root mean squared error, in the units of linearly scaled measured values."""
        values = self.data.values
        if values is None or values.kind != "linear":
            return None
        return (values.high - values.low) * values.span * math.sqrt(float(np.mean(errors)))

    def _save(self) -> None:
        """Write the last checkpoint."""
        self._check_finite()
        self.session.save_last(self.model, self.progress, self.noisy)

    def _check_finite(self) -> None:
        # The loss of a step is computed before its update, so it may be finite while the updated weights are not.
        # Saving those would replace the last checkpoint that training can resume from.
        if not self.model.is_finite():
            raise self._failed(self.progress.step, "after it weights or output are not finite")

    def _lr(self, step: int) -> float:
        """Learning rate of a step, counted over the whole training."""
        try:
            total = self.config.train.epochs * self.steps
            return self.config.schedule.lr(self.config.train.lr, step, total, epoch_steps=self.steps)
        except ScheduleError as error:
            raise ConfigError(f"`schedule.{error.key}`: {error.message}", hint=error.hint) from None

    def _failed(self, step: int, reason: str) -> DivergenceError:
        lr = self.config.train.lr
        return DivergenceError(
            f"training stopped at step {step} of epoch {self.progress.epoch}: {reason}",
            hint=f"try a smaller learning rate than {lr:g}: `--lr {lr / 10:g}`",
        )


def _check_sizes(model: Model, pairs: Pairs) -> None:
    """Check that the network's output has the size of the training pictures.

    Pictures of pair files are not cropped, so their size may not fit the network.
    """
    shape = pairs.batch([0])[0].shape
    needed = f"{model.network.period(0)}x{model.network.period(1)}"
    if model.network.output_shape(shape) != shape:
        raise TrainingError(
            f"this network cannot train on pictures of {shape[2]}x{shape[3]} pixels",
            hint=f"crop them to a multiple of {needed} pixels, or use another network",
        )
