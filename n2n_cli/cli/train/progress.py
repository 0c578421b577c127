"""Progress of a training: a line per epoch and, on a terminal, a bar."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from n2n_cli.cli.console import confirm, log
from n2n_cli.cli.progress import LongWork
from n2n_cli.errors import counted, printable

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from n2n_cli.evaluation.bundled_score import BundledScore
    from n2n_cli.training.records import Epoch, Finished, Record, Started

_MUCH_WAITING = 0.1
"""Fraction of an epoch spent waiting for pictures above which its line says so."""


def show(records: Iterable[Record]) -> None:
    """Show the records of a training: a line per epoch, and the time left."""
    from n2n_cli.training.records import Epoch, Finished, Started, Step

    finished: Finished | None = None
    line = "epoch {epoch}, step {step}: loss {loss}, {rate} images/s"
    with LongWork(line, _columns, epoch="-", step="-", loss="-", psnr="-", rate="-") as work:
        steps = epochs = 0
        for record in records:
            match record:
                case Started():
                    steps, epochs = record.steps, record.epochs
                    for text in _introduction(record):
                        work.log(text)
                    work.start(steps * epochs, record.done)
                case Step():
                    work.update(
                        (record.epoch - 1) * steps + record.step,
                        epoch=f"{record.epoch}/{epochs}",
                        step=f"{record.step}/{steps}",
                        loss=f"{record.loss:.5f}",
                        rate=f"{record.images_per_second:.0f}",
                    )
                case Epoch():
                    work.update(psnr=f"{record.psnr:.2f}")
                    work.log(_line(record))
                case Finished():
                    finished = record
    if finished is not None:
        _finish(finished)


def _columns() -> Iterable[ProgressColumn]:
    from rich.progress import BarColumn, TextColumn

    # The texts fit into 80 columns; the bar takes the rest.
    yield TextColumn("epoch {task.fields[epoch]}")
    yield BarColumn(bar_width=None)
    yield TextColumn("loss {task.fields[loss]}")
    yield TextColumn("PSNR {task.fields[psnr]} dB")
    yield TextColumn("{task.fields[rate]} images/s")


def _introduction(record: Started) -> Iterator[str]:
    yield from record.notes
    yield (
        f"{record.parameters:,} parameters, {counted(record.epochs, 'epoch')} of {counted(record.steps, 'step')}, "
        f"noisy validation pictures at {record.noisy_psnr:.2f} dB"
        f"{', because one of them equals its target' if math.isinf(record.noisy_psnr) else ''}{_rms(record.noisy_rms)}"
    )
    if record.done >= record.steps * record.epochs:
        yield "all epochs are done: `--epochs` with a larger number continues"
    elif record.done:
        epoch, step = divmod(record.done, record.steps)
        yield f"continues after step {step} of epoch {epoch + 1}" if step else f"continues after epoch {epoch}"


def _line(record: Epoch) -> str:
    waiting = f" ({record.loading:.0%} of the time waiting for pictures)" if record.loading >= _MUCH_WAITING else ""
    # No rate is known if all steps of the epoch belong to an earlier session.
    rate = f", {record.images_per_second:.0f} images/s{waiting}" if record.images_per_second else ""
    return (
        f"epoch {record.epoch}/{record.epochs}: loss {record.loss:.5f}, validation PSNR {record.psnr:.2f} dB"
        f"{_rms(record.rms)}{' (best so far)' if record.best else ''}{rate}, {record.seconds:.0f} s"
    )


def _rms(error: float | None) -> str:
    return "" if error is None else f", RMS error {error:.4g}"


def _bundled(score: BundledScore | str) -> str:
    if isinstance(score, str):
        return f"the bundled models are not compared: {score}"
    pictures = f"the same {counted(score.pictures, 'held-out picture')}"
    reached = f"the bundled model {score.name} reaches {score.psnr:.2f} dB on {pictures}"
    if not score.is_better:
        return reached
    return f"{reached}, this network {score.own_psnr:.2f} dB: `n2n denoise --model {score.name}` is better for them"


def _finish(record: Finished) -> None:
    if not record.denoises:
        log(
            "this network does not denoise yet, and `n2n denoise` will not use it by default: train it for more epochs "
            "(`--epochs`) or on more pairs (`data.pairs`)"
        )
    if record.bundled is not None:
        log(_bundled(record.bundled))
    checkpoint = printable(str(record.checkpoint))
    confirm(f"{checkpoint}: noisy {record.noisy_psnr:.2f} dB, denoised {record.psnr:.2f} dB")
