"""`n2n train`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from n2n_cli.cli.console import InterruptionError, printable, result, shows_progress, stderr, tell
from n2n_cli.cli.options import THREADS_HELP, number, thread_count

if TYPE_CHECKING:
    from n2n_cli.config import Config
    from n2n_cli.runs import Run
    from n2n_cli.training import Epoch, Finished, Record, Started


def train(
    config: Annotated[
        str, typer.Option(metavar="FILE|NAME", help="A TOML file, or a shipped configuration: default, ee559.")
    ] = "default",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|FILE",
            help="A folder of pictures, or a file of pairs (train_data.pkl). Default: as configured (dead-leaves, "
            "the built-in pictures).",
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL:STRENGTH",
            help="The noise of the pairs: gaussian:25 (standard deviation in grey levels of 255) or pixelate:8 "
            "(side of a block in pixels). Default: as configured (gaussian:25).",
        ),
    ] = None,
    epochs: Annotated[
        str | None, typer.Option(metavar="N", help="Passes over the training pairs. Default: as configured (10).")
    ] = None,
    lr: Annotated[
        str | None, typer.Option(metavar="X", help="Learning rate, without unit. Default: as configured (1).")
    ] = None,
    batch_size: Annotated[
        str | None, typer.Option(metavar="N", help="Pairs in a step. Default: as configured (100).")
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option(metavar="N", help="Seeds weights, order, crops and noise. Default: as configured (0)."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Any key of the configuration, as data.pairs=4000. May be repeated."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The run's folder. Default: the next free of runs/NAME-1, runs/NAME-2."),
    ] = None,
    threads: Annotated[str | None, typer.Option(metavar="N", help=THREADS_HELP)] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier run in the folder of --out.")] = False,
) -> None:
    """Train a denoiser on noisy pairs.

    The last line, on stdout, names the checkpoint and its validation PSNR.

    Examples:

      n2n train --epochs 10 --lr 1

      n2n train --data photos/ --noise gaussian:25 --out runs/photos

      n2n train --config ee559 --set data.pairs=4000
    """
    from n2n_cli import training
    from n2n_cli.config import DEAD_LEAVES
    from n2n_cli.runs import create_run

    team = thread_count(threads)
    flags = {
        "data.source": ("--data", data),
        "data.noise": ("--noise", noise),
        "train.epochs": ("--epochs", _number(epochs)),
        "train.lr": ("--lr", _number(lr)),
        "train.batch_size": ("--batch-size", _number(batch_size)),
        "train.seed": ("--seed", _number(seed)),
    }
    resolved = _resolve(config, flags, assignments or [])
    run = create_run(out, Path(config).stem, force=force)
    tell(f"run folder: {run.folder}")
    first_time = " (made when first asked for, which takes some seconds)" if resolved.data.source == DEAD_LEAVES else ""
    tell(f"pictures: {resolved.data.source}{first_time}")
    records = training.train(resolved, run, threads=team)
    show = _show_bar if shows_progress() else _show_lines
    try:
        show(records)
    except KeyboardInterrupt:
        raise InterruptionError("interrupted", hint=_what_is_left(run)) from None
    finally:
        if out is None:
            with suppress(OSError):
                run.folder.rmdir()  # a mistyped `--data` leaves no empty run behind


def _number(text: str | None) -> int | float | str | None:
    return None if text is None else number(text)


def _resolve(config: str, flags: dict[str, tuple[str, Any]], assignments: list[str]) -> Config:
    from n2n_cli.config import load_config, parse_assignment

    resolved = load_config(config)
    for assignment in assignments:
        resolved = resolved.override(*parse_assignment(assignment), f"--set {assignment}")
    for name, (flag, value) in flags.items():
        if value is not None:
            resolved = resolved.override(name, value, flag)
    return resolved


def _what_is_left(run: Run) -> str:
    if run.best.is_file():
        best = shlex.quote(str(run.best))
        return f"the epochs that were finished are kept: `n2n denoise --model {best} in.png out.png`"
    return f"no epoch was finished: `{run.folder}` holds no checkpoint"


def _show_lines(records: Iterable[Record]) -> None:
    """One plain line for what a log should hold."""
    from n2n_cli.training import Epoch, Finished, Started

    for record in records:
        match record:
            case Started():
                for line in _introduction(record):
                    tell(line)
            case Epoch():
                tell(_line(record))
            case Finished():
                _finish(record)


def _introduction(record: Started) -> Iterator[str]:
    yield from record.notes
    yield (
        f"{record.parameters:,} parameters, {_count(record.epochs, 'epoch')} of {_count(record.steps, 'step')}, "
        f"noisy validation pictures at {record.noisy_psnr:.2f} dB"
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _line(record: Epoch) -> str:
    return (
        f"epoch {record.epoch}/{record.epochs}: loss {record.loss:.5f}, validation PSNR {record.psnr:.2f} dB"
        f"{' (best so far)' if record.best else ''}, {record.images_per_second:.0f} images/s, {record.seconds:.0f} s"
    )


def _finish(record: Finished) -> None:
    if record.psnr <= record.noisy_psnr:
        tell("this network does not denoise yet: train it for more epochs (`--epochs`) or on more pairs (`data.pairs`)")
    checkpoint = printable(str(record.checkpoint))
    result(f"{checkpoint}: noisy {record.noisy_psnr:.2f} dB, denoised {record.psnr:.2f} dB")


def _show_bar(records: Iterable[Record]) -> None:
    """The whole training as one bar, with a line above it for every epoch."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from n2n_cli.training import Epoch, Finished, Started, Step

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
    with Progress(*columns, console=stderr(), transient=True, expand=True) as progress:
        task = progress.add_task("", total=None, epoch="-", loss="-", psnr="-", rate="-")
        steps = epochs = 0
        for record in records:
            match record:
                case Started():
                    steps, epochs = record.steps, record.epochs
                    for line in _introduction(record):
                        progress.console.print(printable(line))
                    progress.update(task, total=steps * epochs)
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
    _finish(finished)
