"""Progress of a training: a line for every epoch and, on a terminal, a bar."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from n2n_cli.cli.console import result, stderr, tell
from n2n_cli.errors import counted, printable

if TYPE_CHECKING:
    from n2n_cli.training.records import Epoch, Finished, Record, Started

_MUCH_WAITING = 0.1  # of the time: with more loading, more pictures a second would be possible


def show_lines(records: Iterable[Record]) -> None:
    """One plain line for what a log should hold."""
    from n2n_cli.training.records import Epoch, Finished, Started

    for record in records:
        match record:
            case Started():
                for line in _introduction(record):
                    tell(line)
            case Epoch():
                tell(_line(record))
            case Finished():
                _finish(record)


def show_bar(records: Iterable[Record]) -> None:
    """The whole training as one bar, with a line above it for every epoch."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from n2n_cli.training.records import Epoch, Finished, Started, Step

    # What is known of the epoch fits into 80 columns; the bar takes what is left.
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(bar_width=None),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("PSNR {task.fields[psnr]} dB"),
        TextColumn("{task.fields[rate]} images/s"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    finished: Finished | None = None
    with Progress(*columns, console=stderr(), transient=True, expand=True) as progress:
        task = progress.add_task("", total=None, epoch="-", loss="-", psnr="-", rate="-")
        steps = epochs = 0
        for record in records:
            match record:
                case Started():
                    steps, epochs = record.steps, record.epochs
                    for line in _introduction(record):
                        progress.console.print(printable(line))
                    # Not as a step of the bar: the time left would count what an earlier session has done.
                    progress.reset(task, total=steps * epochs, completed=record.done)
                case Step():
                    progress.update(
                        task,
                        completed=(record.epoch - 1) * steps + record.step,
                        epoch=f"{record.epoch}/{epochs}",
                        loss=f"{record.loss:.5f}",
                        rate=f"{record.images_per_second:.0f}",
                    )
                case Epoch():
                    progress.update(task, psnr=f"{record.psnr:.2f}")
                    progress.console.print(_line(record))
                case Finished():
                    finished = record
    if finished is not None:
        _finish(finished)


def _introduction(record: Started) -> Iterator[str]:
    yield from record.notes
    yield (
        f"{record.parameters:,} parameters, {counted(record.epochs, 'epoch')} of {counted(record.steps, 'step')}, "
        f"noisy validation pictures at {record.noisy_psnr:.2f} dB"
        f"{', because one of them equals its target' if math.isinf(record.noisy_psnr) else ''}{_rms(record.noisy_rms)}"
    )
    if record.done >= record.steps * record.epochs:
        yield "all epochs are done: `--epochs` with a larger number goes on"
    elif record.done:
        epoch, step = divmod(record.done, record.steps)
        yield f"goes on after step {step} of epoch {epoch + 1}" if step else f"goes on after epoch {epoch}"


def _line(record: Epoch) -> str:
    waiting = f" ({record.loading:.0%} of the time waiting for pictures)" if record.loading >= _MUCH_WAITING else ""
    # An epoch whose steps were all taken in an earlier session has no rate.
    rate = f", {record.images_per_second:.0f} images/s{waiting}" if record.images_per_second else ""
    return (
        f"epoch {record.epoch}/{record.epochs}: loss {record.loss:.5f}, validation PSNR {record.psnr:.2f} dB"
        f"{_rms(record.rms)}{' (best so far)' if record.best else ''}{rate}, {record.seconds:.0f} s"
    )


def _rms(error: float | None) -> str:
    return "" if error is None else f", RMS error {error:.4g}"


def _finish(record: Finished) -> None:
    if record.psnr <= record.noisy_psnr < math.inf:
        tell("this network does not denoise yet: train it for more epochs (`--epochs`) or on more pairs (`data.pairs`)")
    checkpoint = printable(str(record.checkpoint))
    result(f"{checkpoint}: noisy {record.noisy_psnr:.2f} dB, denoised {record.psnr:.2f} dB")
