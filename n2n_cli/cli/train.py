"""`n2n train`."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from n2n_cli.cli.console import shows_progress, tell
from n2n_cli.cli.epochs import show_bar, show_lines
from n2n_cli.cli.options import THREADS_HELP, number, thread_count
from n2n_cli.cli.signals import StopSignals
from n2n_cli.errors import UsageError

if TYPE_CHECKING:
    from n2n_cli.config import Config
    from n2n_cli.records import Record
    from n2n_cli.runs import Run


def train(
    config: Annotated[
        str | None, typer.Option(metavar="FILE|NAME", help="A TOML file, or a shipped configuration: default, ee559.")
    ] = None,
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
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Go on with the training of this run folder, to the same weights as without the interruption; with "
            "--epochs for longer than was planned.",
        ),
    ] = None,
    checkpoint_minutes: Annotated[
        str,
        typer.Option(metavar="MINUTES", help="Save in the middle of an epoch, too, each time that so many are over."),
    ] = "5",
    threads: Annotated[str | None, typer.Option(metavar="N", help=THREADS_HELP)] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier run in the folder of --out.")] = False,
) -> None:
    """Train a denoiser on noisy pairs.

    The last line, on stdout, names the checkpoint and its validation PSNR.

    Examples:

      n2n train --epochs 10 --lr 1

      n2n train --data photos/ --noise gaussian:25 --out runs/photos

      n2n train --config ee559 --set data.pairs=4000

      n2n train --resume runs/photos
    """
    from n2n_cli import training
    from n2n_cli.config_keys import DEAD_LEAVES
    from n2n_cli.runs import create_run, resumed_run

    team = thread_count(threads)
    minutes = _minutes(checkpoint_minutes)
    flags = {
        "data.source": ("--data", data),
        "data.noise": ("--noise", noise),
        "train.epochs": ("--epochs", _number(epochs)),
        "train.lr": ("--lr", _number(lr)),
        "train.batch_size": ("--batch-size", _number(batch_size)),
        "train.seed": ("--seed", _number(seed)),
    }
    given = {name: (flag, value) for name, (flag, value) in flags.items() if value is not None}
    if resume is None:
        resolved = _resolve(config or "default", given, assignments or [])
        run = create_run(out, Path(config or "default").stem, force=force)
    else:
        others = {"--config": config, "--set": assignments, "--out": out, "--force": force or None}
        _refuse_to_change(given, [flag for flag, value in others.items() if value is not None])
        run = resumed_run(resume)
        resolved = _override(_config_of(run), given, [])
    tell(f"run folder: {run.folder}")
    if resume is not None and not run.last.is_file():
        tell(f"it holds no `{run.last.name}` yet: the training begins anew, as its `{run.config.name}` says")
    first_time = " (made when first asked for, which takes some seconds)" if resolved.data.source == DEAD_LEAVES else ""
    tell(f"pictures: {resolved.data.source}{first_time}")
    show = show_bar if shows_progress() else show_lines
    with StopSignals() as signals:
        records = training.train(
            resolved, run, team, resume=resume is not None, checkpoint_minutes=minutes, stop=signals
        )
        try:
            show(_watched(records, signals, run))
        except KeyboardInterrupt:
            raise signals.interruption(_what_is_left(run)) from None
        finally:
            records.close()
            if out is None and resume is None:
                with suppress(OSError):
                    run.folder.rmdir()  # a mistyped `--data` leaves no empty run behind


def _watched(records: Iterable[Record], signals: StopSignals, run: Run) -> Iterator[Record]:
    """The records, until a signal ends them."""
    from n2n_cli.records import Started, Stopped

    for record in records:
        if isinstance(record, Started):
            signals.saves = True
        if isinstance(record, Stopped):
            raise signals.interruption(f"step {record.step} of epoch {record.epoch} is saved: {_how_to_go_on(run)}")
        yield record


def _minutes(text: str) -> float:
    value = number(text)
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UsageError(
            f"`--checkpoint-minutes` is {text!r}, it must be a number above 0", hint="for example `0.5` or `10`"
        )
    return value


def _refuse_to_change(given: Mapping[str, tuple[str, Any]], others: list[str]) -> None:
    """See that nothing is asked for that would make another training of the one that goes on."""
    allowed = ("train.epochs", "data.source")
    refused = [flag for name, (flag, _) in given.items() if name not in allowed] + others
    if refused:
        raise UsageError(
            " and ".join(f"`{flag}`" for flag in refused) + " cannot be used with `--resume`: the run keeps its own",
            hint="only `--epochs`, and `--data` where the pictures have moved, can be changed",
        )


def _config_of(run: Run) -> Config:
    from n2n_cli.checkpoint import read_checkpoint
    from n2n_cli.config import load_config
    from n2n_cli.states import check_resumable, config_in

    if not run.last.is_file():
        return load_config(str(run.config))
    tree = read_checkpoint(run.last)
    check_resumable(tree, run.last)
    return config_in(tree, run.last)


def _number(text: str | None) -> int | float | str | None:
    return None if text is None else number(text)


def _resolve(config: str, given: Mapping[str, tuple[str, Any]], assignments: list[str]) -> Config:
    from n2n_cli.config import load_config

    return _override(load_config(config), given, assignments)


def _override(config: Config, given: Mapping[str, tuple[str, Any]], assignments: list[str]) -> Config:
    from n2n_cli.config import parse_assignment

    changes = [(*parse_assignment(text), f"--set {text}") for text in assignments]
    return config.override_all([*changes, *((name, value, flag) for name, (flag, value) in given.items())])


def _what_is_left(run: Run) -> str:
    if run.last.is_file():
        return f"what was saved before is kept: {_how_to_go_on(run)}"
    return f"nothing was saved yet: `{run.folder}` holds no checkpoint"


def _how_to_go_on(run: Run) -> str:
    return f"`n2n train --resume {shlex.quote(str(run.folder))}` goes on"
