"""Training: a generator of records, which the progress bar, the log and the tests read."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from n2n_cli.config import Config
from n2n_cli.data import Pairs, open_dataset
from n2n_cli.errors import TrainingError
from n2n_cli.evaluation import measure
from n2n_cli.metrics import mean_psnr, pooled_psnr
from n2n_cli.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.runs import Run


@dataclass(frozen=True)
class Started:
    """Everything is ready. `notes` tell the user about the data, `steps` is the number of steps an epoch."""

    epochs: int
    steps: int
    parameters: int
    noisy_psnr: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """A step is done; `loss` is the mean so far in this epoch, `images_per_second` that of this epoch's steps."""

    epoch: int
    step: int
    loss: float
    images_per_second: float


@dataclass(frozen=True)
class Epoch:
    """An epoch is done, measured and saved: one line of `metrics.jsonl`.

    Attributes
    ----------
    loss : float
        Mean over the epoch's pairs.
    noisy_psnr, psnr : float
        Of the validation pictures before and after denoising, in dB: mean of each picture's PSNR.
    noisy_pooled_psnr, pooled_psnr : float
        The same with the error averaged over all pictures first, in dB.
    best : bool
        Whether every earlier epoch had a lower `psnr`.
    images_per_second : float
        Of the training steps alone.
    seconds : float
        Since training started.
    """

    epoch: int
    epochs: int
    loss: float
    noisy_psnr: float
    psnr: float
    noisy_pooled_psnr: float
    pooled_psnr: float
    best: bool
    images_per_second: float
    seconds: float


@dataclass(frozen=True)
class Finished:
    """Training is over. `checkpoint` is the best epoch's, with the validation PSNR it reached, in dB."""

    checkpoint: Path
    noisy_psnr: float
    psnr: float


Record: TypeAlias = Started | Step | Epoch | Finished


def train(config: Config, run: Run) -> Iterator[Record]:
    """Train the network that a configuration describes.

    Parameters
    ----------
    config : Config
    run : Run
        A folder that exists; it gets the resolved configuration at once, and after every epoch the checkpoints and a
        line of metrics.

    Yields
    ------
    Started, then for every epoch its Steps and an Epoch, then Finished.

    Raises
    ------
    TrainingError
        When the loss is not finite, at once, or a file cannot be written. The last checkpoint stays.
    CheckpointError
        When a checkpoint cannot be written; the one before it stays.
    DataError, ImageError, CheckpointError
        When the data cannot be used.
    """
    started = time.perf_counter()
    data = open_dataset(config.data, config.network.channels, seed=config.train.seed)
    model = Model.from_config(config)
    _check_sizes(model, data.train)
    _write(run.config, config.to_toml(), "w")
    noisy_errors, _ = measure(None, data.validation)
    noisy, noisy_pooled = mean_psnr(noisy_errors), pooled_psnr(noisy_errors)
    steps = math.ceil(len(data.train) / config.train.batch_size)
    parameters = sum(parameter.size for parameter, _ in model.network.param())
    yield Started(config.train.epochs, steps, parameters, noisy, data.notes)

    best = -math.inf
    for epoch in range(1, config.train.epochs + 1):
        model.network.train()
        record = Step(epoch, 0, math.nan, math.nan)
        for record in _epoch(model, data.train, epoch, config):
            yield record
        errors = _measure(model, data.validation)
        if errors is None:
            # The step's loss, taken before it, was finite; saving now would replace the last good checkpoint.
            raise _stopped(steps, epoch, "after it weights or output are not finite", config)
        psnr, pooled = mean_psnr(errors), pooled_psnr(errors)
        is_best, best = psnr > best, max(psnr, best)
        facts = {"epoch": epoch, "psnr": psnr, "noisy_psnr": noisy}
        model.save(run.last, **facts)
        if is_best:
            model.save(run.best, **facts)
        line = Epoch(
            epoch,
            config.train.epochs,
            record.loss,
            noisy,
            psnr,
            noisy_pooled,
            pooled,
            is_best,
            record.images_per_second,
            time.perf_counter() - started,
        )
        _write(run.metrics, _json(line) + "\n", "a")
        yield line
    yield Finished(run.best, noisy, best)


def _epoch(model: Model, pairs: Pairs, epoch: int, config: Config) -> Iterator[Step]:
    order = np.random.default_rng([config.train.seed, epoch]).permutation(len(pairs))
    batch_size = config.train.batch_size
    total, seen, seconds = 0.0, 0, 0.0
    for step, start in enumerate(range(0, len(order), batch_size), start=1):
        began = time.perf_counter()
        numbers: Array = order[start : start + batch_size]
        try:
            loss = model.step(*pairs.batch(numbers, epoch))
        except TrainingError as error:
            raise _stopped(step, epoch, error.message, config) from None
        seconds += time.perf_counter() - began  # what a slow reader of the records takes is not training
        total, seen = total + loss * len(numbers), seen + len(numbers)
        yield Step(epoch, step, total / seen, seen / seconds)


def _stopped(step: int, epoch: int, reason: str, config: Config) -> TrainingError:
    return TrainingError(
        f"training stopped at step {step} of epoch {epoch}: {reason}",
        hint=f"try a smaller learning rate than {config.train.lr:g}: `--lr {config.train.lr / 10:g}`",
    )


def _measure(model: Model, pairs: Pairs) -> list[float] | None:
    """Mean squared errors after denoising; None where weights or errors are not finite."""
    if not all(np.isfinite(parameter).all() for parameter, _ in model.network.param()):
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # the errors tell
        _, errors = measure(model, pairs)
    return errors if np.isfinite(errors).all() else None


def _check_sizes(model: Model, pairs: Pairs) -> None:
    """See that the network keeps the training pictures' size; pair files bring their own."""
    shape = pairs.batch([0])[0].shape
    needed = f"{model.network.period(0)}x{model.network.period(1)}"
    if model.network.output_shape(shape) != shape:
        raise TrainingError(
            f"this network cannot train on pictures of {shape[2]}x{shape[3]} pixels",
            hint=f"cut them to a multiple of {needed} pixels, or take another network",
        )


def _json(line: Epoch) -> str:
    # JSON has no infinity: the PSNR of two equal pictures is null.
    values = asdict(line).items()
    return json.dumps({k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values})


def _write(path: Path, text: str, mode: str) -> None:
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise TrainingError(
            f"`{path}` cannot be written: {error.strerror}",
            hint="see that its folder exists, may be written and has space",
        ) from None
