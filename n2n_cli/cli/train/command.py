"""`n2n train`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from n2n_cli.cli.console import shows_progress, tell
from n2n_cli.cli.options import NOISES, THREADS_HELP, Assignments, number, overridden, positive, thread_count
from n2n_cli.cli.ranked import show_nothing
from n2n_cli.cli.signals import StopSignals
from n2n_cli.cli.train.progress import show_bar, show_lines
from n2n_cli.cli.train.sources import check_same_kind, left_off, picture_flags
from n2n_cli.errors import UsageError, counted
from n2n_cli.system.plugins import loaded_plugins

if TYPE_CHECKING:
    from n2n_cli.config import Config
    from n2n_cli.distributed.ranks import Ranks
    from n2n_cli.training.records import Record
    from n2n_cli.training.run_folder import Run


def train(
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help="A TOML file, or a shipped configuration, as default, ee559 or unet. "
            "Default: default; with --init, that of the checkpoint.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|FILE",
            help="A folder of clean pictures, or a file of pairs (train_data.pkl). Default: as configured "
            "(dead-leaves, the built-in pictures).",
        ),
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FOLDER FOLDER|TABLE.csv",
            help="Two noisy shots of each scene, which have the same file name in two folders, or stand in a row of "
            "a table of two columns.",
        ),
    ] = None,
    bursts: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="A folder with a folder for each scene, in it two or more noisy shots."),
    ] = None,
    single_image: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="A folder of noisy pictures, one of each scene."),
    ] = None,
    match_exposure: Annotated[
        bool, typer.Option("--match-exposure", help="Make all shots of a scene as bright as its first.")
    ] = False,
    align: Annotated[
        bool, typer.Option("--align", help="Correct shifts between shots of a scene, in whole pixels.")
    ] = False,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL:STRENGTH",
            help=f"The noise of the pairs: {NOISES} Default: as configured (gaussian:25).",
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
    init: Annotated[
        str | None,
        typer.Option(
            metavar="CHECKPOINT|NAME",
            help="Start from the weights of a checkpoint, or of a model that `n2n models` lists, and train as it was "
            "trained, unless --config and other options say otherwise. Default: new weights.",
        ),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Keep parameters as they are: of a layer by its name in `n2n info` (0.2, or a pattern, 0.*), or "
            "single ones (*.bias). May be repeated.",
        ),
    ] = None,
    assignments: Assignments = None,
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
        typer.Option(metavar="MINUTES", help="Save within an epoch, too, every so many minutes."),
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

      n2n train --pairs first/ second/ --config unet

      n2n train --bursts scenes/ --init photo --lr 0.0002 --epochs 5

      n2n train --resume runs/photos
    """
    from n2n_cli.config import load_config
    from n2n_cli.config.keys import DEAD_LEAVES
    from n2n_cli.distributed.launchers import ranks_of_process
    from n2n_cli.training import loop as training
    from n2n_cli.training.initial_model import config_to_tune
    from n2n_cli.training.run_folder import create_run, resumed_run

    ranks = ranks_of_process()
    given_threads = thread_count(threads)
    minutes = positive(checkpoint_minutes, "--checkpoint-minutes", "a number above 0", hint="for example `0.5` or `10`")
    flags = {
        "data.match_exposure": ("--match-exposure", match_exposure or None),
        "data.align": ("--align", align or None),
        "data.noise": ("--noise", noise),
        "train.epochs": ("--epochs", _number(epochs)),
        "train.lr": ("--lr", _number(lr)),
        "train.batch_size": ("--batch-size", _number(batch_size)),
        "train.seed": ("--seed", _number(seed)),
        "train.init": ("--init", init),
        "train.freeze": ("--freeze", freeze or None),
    }
    sources = picture_flags(data, pairs, bursts, single_image)
    given = sources | {name: (flag, value) for name, (flag, value) in flags.items() if value is not None}
    if resume is None:
        tuned = config_to_tune(init) if init and config is None else load_config(config or "default", plugins=True)
        resolved = overridden(tuned, left_off(sources) | given, assignments)
        run = ranks.from_first(lambda: create_run(out, name=Path(config or init or "default").stem, force=force))
    else:
        others = {"--config": config, "--set": assignments, "--out": out, "--force": force or None}
        _refuse_to_change(given, [flag for flag, value in others.items() if value is not None])
        run = ranks.from_first(lambda: resumed_run(resume))
        before = ranks.from_first(lambda: _config_of(run))
        check_same_kind(sources, before.data)
        resolved = overridden(before, given, None)
    tell(f"run folder: {run.folder}")
    if resume is not None and not run.last.is_file():
        tell(f"it holds no `{run.last.name}` yet: the training begins anew, as its `{run.config.name}` says")
    first_time = " (made when first asked for, which takes some seconds)" if resolved.data.source == DEAD_LEAVES else ""
    second = f" and {resolved.data.second}" if resolved.data.second else ""
    tell(f"pictures: {resolved.data.source}{second}{first_time}")
    if resolved.train.init and resume is None:
        tell(f"starts from the weights of {resolved.train.init}")
    if ranks.count > 1:
        tell(f"{ranks.count} ranks share each batch; this one has {counted(given_threads or ranks.threads, 'thread')}")
    show = (show_bar if shows_progress() else show_lines) if ranks.first else show_nothing
    with StopSignals() as signals:
        records = training.train(
            resolved,
            run,
            given_threads,
            resume=resume is not None,
            checkpoint_minutes=minutes,
            stop=signals,
            ranks=ranks,
        )
        try:
            show(_watched(records, signals, run, ranks))
        except KeyboardInterrupt:
            raise signals.interruption(_what_is_left(run)) from None
        finally:
            records.close()
            if ranks.first and out is None and resume is None:
                with suppress(OSError):
                    run.folder.rmdir()  # a mistyped `--data` leaves no empty run behind


def _watched(records: Iterable[Record], signals: StopSignals, run: Run, ranks: Ranks) -> Iterator[Record]:
    """The records, until a signal ends them."""
    from n2n_cli.training.records import Started, Stopped

    for record in records:
        if isinstance(record, Started):
            signals.saves = True
        if isinstance(record, Stopped):
            signals.received = ranks.any_of(signals.received)
            raise signals.interruption(f"step {record.step} of epoch {record.epoch} is saved: {_how_to_go_on(run)}")
        yield record


def _refuse_to_change(given: Mapping[str, tuple[str, Any]], others: list[str]) -> None:
    """See that nothing is asked for that would make another training of the one that goes on."""
    allowed = ("train.epochs", "data.kind", "data.source", "data.second")
    refused = [flag for name, (flag, _) in given.items() if name not in allowed] + others
    if refused:
        raise UsageError(
            " and ".join(f"`{flag}`" for flag in refused) + " cannot be used with `--resume`: the run keeps its own",
            hint="only `--epochs` can be changed, and where the pictures have moved, the option that names them",
        )


def _config_of(run: Run) -> Config:
    from n2n_cli.checkpoints.contents import check_resumable, config_in
    from n2n_cli.checkpoints.file import read_checkpoint
    from n2n_cli.config import load_config

    if not run.last.is_file():
        return load_config(str(run.config))
    tree = read_checkpoint(run.last)
    check_resumable(tree, run.last)
    return config_in(tree, run.last)


def _number(text: str | None) -> int | float | str | None:
    return None if text is None else number(text)


def _what_is_left(run: Run) -> str:
    if run.last.is_file():
        return f"what was saved before is kept: {_how_to_go_on(run)}"
    return f"nothing was saved yet: `{run.folder}` holds no checkpoint"


def _how_to_go_on(run: Run) -> str:
    plugins = "".join(f" --plugin {shlex.quote(path)}" for path in loaded_plugins())
    return f"`n2n train --resume {shlex.quote(str(run.folder))}{plugins}` goes on"
