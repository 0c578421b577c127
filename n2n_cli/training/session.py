"""Run folder, ranks and stop requests of one training."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict

from n2n_cli.checkpoints.file import read_checkpoint, write_checkpoint
from n2n_cli.config import Config
from n2n_cli.distributed.ranks import ALONE, Ranks
from n2n_cli.errors import CheckpointError
from n2n_cli.evaluation.bundled_score import BundledScore
from n2n_cli.models.model import Model
from n2n_cli.system.json_lines import json_line
from n2n_cli.system.stopping import StopError, Stopping
from n2n_cli.training.records import Epoch, Progress
from n2n_cli.training.run_folder import Run

CHECKPOINT_MINUTES = 5.0
_BEST_FACTS = ("epoch", "psnr", "noisy_psnr", "pooled_psnr", "noisy_pooled_psnr")


class Session:
    """Writer of a training's files for all ranks; also stops training on request.

    Parameters
    ----------
    run : Run
        An existing folder.
    checkpoint_minutes : float
        Maximum age of the last checkpoint, in minutes; an older one is replaced also within an epoch.
    stop : function
        Returns True once the training must stop. Any thread may call it.
    ranks : Ranks
        Processes that train together; the first writes the files.
    """

    def __init__(
        self,
        run: Run,
        checkpoint_minutes: float = CHECKPOINT_MINUTES,
        stop: Callable[[], bool] = lambda: False,
        ranks: Ranks = ALONE,
    ) -> None:
        self.run, self.ranks = run, ranks
        self._minutes, self._stop, self._stopping = checkpoint_minutes, stop, Stopping(stop)
        self._began = self._saved = time.perf_counter()
        self._earlier = 0.0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run folder inside the block."""
        with self.run.locked() if self.ranks.first else nullcontext():
            yield

    def can_resume(self) -> bool:
        """True if the run has a checkpoint.

        The first rank checks for all: others may have no access to the folder. The folder must be locked.
        """
        return self.ranks.from_first(self.run.last.is_file)

    def resume(self, model: Model, steps: int) -> Progress:
        """Load the run's last checkpoint into the model; return its progress.

        Parameters
        ----------
        model : Model
        steps : int
            Number of steps per epoch.

        Raises
        ------
        CheckpointError
            When the checkpoint does not fit the training.
        """
        progress = self.ranks.from_first(lambda: self._read_progress(model, steps))
        self._earlier = progress.seconds
        return progress

    def _read_progress(self, model: Model, steps: int) -> Progress:
        run = self.run
        progress = Progress.of(model.resume(run.last), run.last)
        if progress.step > steps:
            raise CheckpointError(
                f"`{run.last}` is from within an epoch of more steps than the {steps} that there are now",
                hint="continue with the pictures that the training started with: `--data`",
            )
        if progress.best is not None and not run.best.is_file():
            raise CheckpointError(
                f"`{run.best}` is missing: later epochs are compared with this best epoch so far",
                hint=f"replace it by the last one: `cp {shlex.quote(str(run.last))} {shlex.quote(str(run.best))}`",
            )
        return progress

    def begin(self, config: Config, progress: Progress, *, resumed: bool) -> None:
        """Prepare the run folder.

        A new training removes an earlier run; a resumed one removes the metrics of epochs that it repeats.
        """
        self.ranks.from_first(lambda: self._begin_files(config, progress, resumed))
        self.ranks.watch(self._stop)

    def _begin_files(self, config: Config, progress: Progress, resumed: bool) -> None:
        run = self.run
        if not resumed:
            run.clear()
        elif progress.history or run.metrics.exists():
            # Lines written after the checkpoint belong to an epoch that is now repeated.
            run.write(run.metrics, "".join(json_line(line) + "\n" for line in progress.history))
        if progress.epoch <= config.train.epochs:
            run.write(run.config, config.to_toml())

    @property
    def seconds(self) -> float:
        """Training time of all sessions so far, in seconds."""
        return self._earlier + time.perf_counter() - self._began

    def within_a_step(self) -> None:
        """Raise `StopError` if the stop request is older than `PATIENCE`."""
        self._stopping.within_a_step()

    def after_a_step(self) -> None:
        """Raise `StopError` on all ranks if any of them has a stop request."""
        self.ranks.after_a_step(self._stopping)

    def after_a_picture(self) -> None:
        """Raise `StopError` if this rank has a stop request."""
        self._stopping.after_a_step()

    def stopped(self, error: StopError) -> None:
        """Stop the other ranks as well."""
        self.ranks.stop(error)

    def is_due(self) -> bool:
        """True if the last checkpoint is older than its maximum age."""
        return time.perf_counter() - self._saved >= 60 * self._minutes

    def save_epoch(self, model: Model, epoch: Epoch) -> None:
        """Write the metrics of an epoch, and the model if it is the best so far."""
        if self.ranks.first:
            if epoch.best:
                facts = {name: getattr(epoch, name) for name in _BEST_FACTS}
                model.save(self.run.best, resumable=False, follow_links=False, **facts)
            self.run.append(self.run.metrics, json_line(asdict(epoch)) + "\n")

    def save_bundled(self, score: BundledScore) -> None:
        """Add the bundled model's score to the best checkpoint; `n2n denoise` shows it.

        Raises
        ------
        CheckpointError
            When the checkpoint cannot be read or written; it is then unchanged.
        """
        tree = read_checkpoint(self.run.best)
        write_checkpoint(self.run.best, tree | {"bundled": asdict(score)}, follow_links=False)

    def save_last(self, model: Model, progress: Progress, noisy_psnr: float) -> None:
        """Write the last checkpoint, with everything that resuming needs."""
        if not self.ranks.first:
            return
        progress.seconds = self.seconds
        history = progress.history
        psnr = {"psnr": history[-1]["psnr"]} if history else {}
        facts = {"epoch": len(history), **psnr, "noisy_psnr": noisy_psnr, "progress": asdict(progress)}
        model.save(self.run.last, follow_links=False, **facts)
        self._saved = time.perf_counter()
