"""Training: a generator of records, which the progress bar, the log and the tests read."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np

from n2n_cli.config import Config
from n2n_cli.data import Pairs, open_dataset
from n2n_cli.errors import TrainingError
from n2n_cli.evaluation import measure
from n2n_cli.json_lines import json_line
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

Item = TypeVar("Item")
Made = TypeVar("Made")


def train(config: Config, run: Run, threads: int | None = None) -> Iterator[Record]:
    """Train the network that a configuration describes.

    Parameters
    ----------
    config : Config
    run : Run
        A folder that exists. Once the data are ready, an earlier run in it is removed and it gets the resolved
        configuration; after every epoch the checkpoints and a line of metrics.
    threads : int, optional
        That compute; by default one for each core that this process may use. Results do not depend on it.

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
    UsageError
        When an earlier run cannot be removed.
    """
    started = time.perf_counter()
    data = open_dataset(config.data, config.network.channels, seed=config.train.seed, threads=threads)
    model = Model.from_config(config, threads=threads)
    _check_sizes(model, data.train)
    run.clear()
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
        with closing(_epoch(model, data.train, epoch, config)) as records:
            for record in records:
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
        _write(run.metrics, json_line(asdict(line)) + "\n", "a")
        yield line
    yield Finished(run.best, noisy, best)


def _epoch(model: Model, pairs: Pairs, epoch: int, config: Config) -> Generator[Step]:
    order: Array = np.random.default_rng([config.train.seed, epoch]).permutation(len(pairs))
    numbers = [order[i : i + config.train.batch_size] for i in range(0, len(order), config.train.batch_size)]
    total, seen, seconds = 0.0, 0, 0.0
    with closing(_made_ahead(lambda batch: pairs.batch(batch, epoch), numbers)) as batches:
        began = time.perf_counter()
        for step, (noisy, target) in enumerate(batches, start=1):
            try:
                loss = model.step(noisy, target)
            except TrainingError as error:
                raise _stopped(step, epoch, error.message, config) from None
            seconds += time.perf_counter() - began  # what a slow reader of the records takes is not training
            total, seen = total + loss * len(noisy), seen + len(noisy)
            yield Step(epoch, step, total / seen, seen / seconds)
            began = time.perf_counter()


def _made_ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Generator[Made]:
    """make(item) for every item in turn; while one is used, a thread makes the next. It ends with the generator.

    One thread is enough: on few cores, a batch is made several times faster than a step is taken.
    """
    coming: deque[Future[Made]] = deque()
    loader = ThreadPoolExecutor(1, "n2n-loader")
    try:
        for item in items:
            coming.append(loader.submit(make, item))
            if len(coming) == 2:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        loader.shutdown(cancel_futures=True)


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


def _write(path: Path, text: str, mode: str) -> None:
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise TrainingError(
            f"`{path}` cannot be written: {error.strerror}",
            hint="see that its folder exists, may be written and has space",
        ) from None
