"""Training: a generator of records, which the progress bar, the log and the tests read."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict

import numpy as np

from n2n_cli.config import Config
from n2n_cli.data.pairs import Pairs
from n2n_cli.data.prefetching import made_ahead
from n2n_cli.distributed.ranks import ALONE, Ranks
from n2n_cli.distributed.same_data import opened_together
from n2n_cli.errors import CheckpointError, ConfigError, DivergenceError, TrainingError
from n2n_cli.evaluation.held_out import HeldOut
from n2n_cli.evaluation.metrics import mean_psnr, pooled_psnr
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.nn.schedules import ScheduleError
from n2n_cli.system.json_lines import json_line
from n2n_cli.system.stopping import StopError, Stopping
from n2n_cli.training.initial_model import starting_model
from n2n_cli.training.records import Epoch, Finished, Progress, Record, Started, Step, Stopped
from n2n_cli.training.run_folder import Run

CHECKPOINT_MINUTES = 5.0


def train(
    config: Config,
    run: Run,
    threads: int | None = None,
    *,
    resume: bool = False,
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
    stop: Callable[[], bool] = lambda: False,
    ranks: Ranks = ALONE,
) -> Generator[Record]:
    """Train the network that a configuration describes.

    Parameters
    ----------
    config : Config
    run : Run
        A folder that exists. Once the data are ready, an earlier run in it is removed and it gets the resolved
        configuration; after every epoch the checkpoints and a line of metrics.
    threads : int, optional
        That compute; by default one for each core that this process may use, shared with other ranks on its host.
        Results do not depend on it but for rounding.
    resume : bool
        Whether to go on from the run's last checkpoint, to the same weights as without the interruption. A run that
        has none yet begins anew.
    checkpoint_minutes : float
        After which the last checkpoint is written again in the middle of an epoch, too.
    stop : function
        Asked again and again, by any thread: once it says so, the step is finished (a slow one is given up), a
        checkpoint is written, and training ends.
    ranks : Ranks
        That train together, each on its part of every batch; the first writes the files. They all take the records,
        inside `ranks.together`; the weights are those of a training alone but for rounding.

    Yields
    ------
    Started, then for every epoch its Steps and an Epoch, then Finished; or, where it was stopped, Stopped.

    Raises
    ------
    TrainingError
        When the loss is not finite, at once, or a file cannot be written. The last checkpoint stays.
    CheckpointError
        When a checkpoint cannot be written, and the one before it stays; or when it cannot be gone on from.
    DataError, ImageError, CheckpointError
        When the data cannot be used.
    UsageError
        When an earlier run cannot be removed, or another training writes to the folder.
    ConfigError
        When the schedule does not fit the training.
    """
    with run.locked() if ranks.first else nullcontext():
        training = _Training(config, run, threads, resume, checkpoint_minutes, stop, ranks)
        yield from training.records()


class _Training:
    """One sitting of a training."""

    def __init__(
        self,
        config: Config,
        run: Run,
        threads: int | None,
        resume: bool,
        checkpoint_minutes: float,
        stop: Callable[[], bool],
        ranks: Ranks,
    ) -> None:
        self.config, self.run, self.stopping, self.ranks = config, run, Stopping(stop), ranks
        self.began = time.perf_counter()
        threads = ranks.threads if threads is None else threads
        self.data = opened_together(config, threads, ranks)
        # Known since the lock is ours: whoever held it may have saved at last. The other ranks may not see the folder.
        resume = ranks.from_first(lambda: resume and run.last.is_file())
        self.model = starting_model(config, threads=threads, resumed=resume)
        self.steps = math.ceil(len(self.data.train) / config.train.batch_size)
        self.progress = ranks.from_first(lambda: self._resumed() if resume else Progress())
        self.model.trainer.join(ranks, self.model.network)
        self.earlier = self.progress.seconds
        self.minutes, self.saved = checkpoint_minutes, self.began
        _check_sizes(self.model, self.data.train)
        self._lr(0)  # tells of a schedule that does not fit
        self.held_out = HeldOut(self.data.validation, ranks)
        self.noisy = mean_psnr(self.held_out.noisy_errors)
        ranks.from_first(lambda: self._begin_files(resume))
        ranks.watch(stop)
        self.model.executor.between = self.stopping.within_a_step

    def records(self) -> Iterator[Record]:
        progress, epochs = self.progress, self.config.train.epochs
        parameters = sum(parameter.size for parameter, _ in self.model.network.param())
        done = (progress.epoch - 1) * self.steps + progress.step
        yield Started(epochs, self.steps, done, parameters, self.noisy, self.data.notes)
        try:
            while progress.epoch <= epochs:
                yield from self._epoch()
        except StopError as error:
            self.ranks.stop(error)
            self._save()
            yield Stopped(self.run.last, progress.epoch, progress.step)
            return
        yield Finished(self.run.best, self.noisy, -math.inf if progress.best is None else progress.best)

    def _begin_files(self, resume: bool) -> None:
        run = self.run
        if not resume:
            run.clear()
        elif self.progress.history or run.metrics.exists():
            # Lines that were written after the checkpoint are of an epoch that is now taken again.
            run.write(run.metrics, "".join(json_line(line) + "\n" for line in self.progress.history))
        if self.progress.epoch <= self.config.train.epochs:
            run.write(run.config, self.config.to_toml())

    def _resumed(self) -> Progress:
        """How far the run has come, from its last checkpoint, which the model takes over."""
        run = self.run
        progress = Progress.of(self.model.resume(run.last), run.last)
        if progress.step > self.steps:
            raise CheckpointError(
                f"`{run.last}` is from within an epoch of more steps than the {self.steps} that there are now",
                hint="go on with the pictures that the training was begun with: `--data`",
            )
        if progress.best is not None and not run.best.is_file():
            raise CheckpointError(
                f"`{run.best}` is missing: the best epoch so far, with which the next ones are compared",
                hint=f"put the last one in its place: `cp {shlex.quote(str(run.last))} {shlex.quote(str(run.best))}`",
            )
        return progress

    def _epoch(self) -> Iterator[Record]:
        """Take what is left of an epoch, measure it, and save."""
        progress, train = self.progress, self.config.train
        pairs, epoch = self.data.train, progress.epoch
        order: Array = np.random.default_rng([train.seed, epoch]).permutation(len(pairs))
        numbers = [order[i : i + train.batch_size] for i in range(0, len(order), train.batch_size)]
        seen, seconds, waited, lr = 0, 0.0, 0.0, self._lr((epoch - 1) * self.steps + max(0, progress.step - 1))
        before = sum(map(len, numbers[: progress.step]))
        loaders = min(2, self.model.threads)
        own = [self.ranks.part(batch) for batch in numbers[progress.step :]]
        with closing(made_ahead(lambda part: pairs.batch(part, epoch), own, threads=loaders)) as batches:
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
                seconds += time.perf_counter() - began  # what a slow reader of the records takes is not training
                progress.step += 1
                progress.loss += loss * size
                seen += size
                yield Step(epoch, progress.step, progress.loss / (before + seen), seen / seconds)
                self.ranks.after_a_step(self.stopping)
                if time.perf_counter() - self.saved >= 60 * self.minutes:
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
            self._seconds(),
        )
        if self.ranks.first:
            if is_best:
                self.model.save(self.run.best, resumable=False, epoch=epoch, psnr=psnr, noisy_psnr=self.noisy)
            self.run.append(self.run.metrics, json_line(asdict(line)) + "\n")
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
        with self.model.averaged(), np.errstate(over="ignore", invalid="ignore"):  # the errors tell
            errors = []
            for error in self.held_out.errors(self.model):
                errors.append(error)
                self.stopping.after_a_step()
        errors = self.held_out.of_all(errors)
        if not np.isfinite(errors).all():
            raise self._failed(self.progress.step, "after it weights or output are not finite")
        return errors

    def _save(self) -> None:
        """Write the last checkpoint: all that going on needs."""
        self._check_finite()
        if not self.ranks.first:
            return
        self.progress.seconds = self._seconds()
        history = self.progress.history
        psnr = {"psnr": history[-1]["psnr"]} if history else {}
        self.model.save(
            self.run.last, epoch=len(history), **psnr, noisy_psnr=self.noisy, progress=asdict(self.progress)
        )
        self.saved = time.perf_counter()

    def _check_finite(self) -> None:
        # A step's loss, taken before it, may be finite where what it leaves is not. Saved, that would replace the last
        # checkpoint that can be gone on from.
        if not self.model.is_finite():
            raise self._failed(self.progress.step, "after it weights or output are not finite")

    def _seconds(self) -> float:
        return self.earlier + time.perf_counter() - self.began

    def _lr(self, step: int) -> float:
        """The learning rate of a step of the whole training."""
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
    """See that the network keeps the training pictures' size; pair files bring their own."""
    shape = pairs.batch([0])[0].shape
    needed = f"{model.network.period(0)}x{model.network.period(1)}"
    if model.network.output_shape(shape) != shape:
        raise TrainingError(
            f"this network cannot train on pictures of {shape[2]}x{shape[3]} pixels",
            hint=f"cut them to a multiple of {needed} pixels, or take another network",
        )
