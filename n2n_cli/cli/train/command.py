"""`n2n train`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from n2n_cli.cli.console import log, settings
from n2n_cli.cli.options import (
    Assignments,
    SomeValuesMode,
    Threads,
    config_names,
    config_option,
    model_names,
    number,
    option,
    overridden,
    positive,
)
from n2n_cli.cli.ranked import show_nothing
from n2n_cli.cli.signals import StopSignals
from n2n_cli.cli.train.progress import show
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
        option("--config", "FILE|NAME", str, "Configuration.", default="--init's, or default", names=config_names),
    ] = None,
    data: Annotated[
        str | None,
        option(
            "--data",
            "FOLDER|FILE",
            str,
            "Clean pictures, or pairs.",
            default="dead-leaves",
        ),
    ] = None,
    pairs: Annotated[
        list[str] | None, option("--pairs", "A B|TABLE.csv", str, "Two shots per scene: by file name or table row.")
    ] = None,
    bursts: Annotated[
        str | None, option("--bursts", "FOLDER|FILE", str, "A folder or stack per scene, with two or more noisy shots.")
    ] = None,
    single_image: Annotated[
        str | None, option("--single-image", "FOLDER", str, "One noisy picture of each scene.")
    ] = None,
    movie: Annotated[
        str | None, option("--movie", "FILE|FOLDER", str, "A movie: a stack, or a folder of numbered frames.")
    ] = None,
    frame_gap: Annotated[
        object, option("--frame-gap", "N", number, "Maximum frames from input to target of --movie.", default="1")
    ] = None,
    axes: Annotated[
        str | None, option("--axes", "LETTERS", str, "Axes of --movie, as TZCYX.", default="from the file")
    ] = None,
    match_exposure: Annotated[
        bool, typer.Option("--match-exposure", help="Match the brightness of a scene's shots.")
    ] = False,
    align: Annotated[bool, typer.Option("--align", help="Correct shifts between shots, in whole pixels.")] = False,
    values: SomeValuesMode = None,
    noise: Annotated[
        str | None,
        option("--noise", "MODEL:STRENGTH", str, "Noise of the pairs.", default="gaussian:25"),
    ] = None,
    epochs: Annotated[object, option("--epochs", "N", number, "Passes over the training pairs.", default="10")] = None,
    lr: Annotated[object, option("--lr", "X", number, "Learning rate.", default="1")] = None,
    batch_size: Annotated[object, option("--batch-size", "N", number, "Pairs per step.", default="100")] = None,
    seed: Annotated[object, option("--seed", "N", number, "Seed of weights, order and noise.", default="0")] = None,
    init: Annotated[
        str | None,
        option("--init", "FILE|NAME", str, "Checkpoint or model that training starts from.", names=model_names),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        option("--freeze", "PATTERN", str, "Parameters to freeze, as 0.* or *.bias; repeatable."),
    ] = None,
    assignments: Assignments = None,
    out: Annotated[Path | None, option("--out", "FOLDER", Path, "Run folder.", default="next free runs/NAME-N")] = None,
    resume: Annotated[
        Path | None, option("--resume", "RUN", Path, "Run folder to continue, with the same result.")
    ] = None,
    checkpoint_minutes: Annotated[
        float,
        option(
            "--checkpoint-minutes",
            "N",
            positive("a number above 0", "10"),
            "Minutes between checkpoints within an epoch.",
        ),
    ] = 5,
    threads: Threads = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier run in --out.")] = False,
) -> None:
    """Train a denoiser on noisy pairs.

    The last line, on stdout, names the checkpoint and its validation PSNR.

    Noise models: gaussian:25 (standard deviation in grey levels of 255), poisson:30 (photons on white), pixelate:8
    (block side in pixels), camera:0.0001~0.015 (variance of shot noise on white), grain:0-50,0-1,
    poisson-gaussian:30,5, blurred:30,0.5, row:2,10, rounded:0-50, jpeg:40-95,0-5, bernoulli:0.5, impulse:0.3,
    text:0.25; a strength may be a range, gaussian:0-50, or a log-uniform one, gaussian:1~50. A mixture has weights:
    "mix: 2 gaussian:0-50; 1 poisson:4~1000".

    Defaults in parentheses are those of the configuration `default`. --config, a TOML file or a bundled name such as
    ee559, replaces them; --init takes them from its checkpoint. --data is a folder or a file of pairs (train_data.pkl).
    --freeze takes names that `n2n info` lists. --resume accepts a larger --epochs, and the option that names the
    pictures, if they have moved.

    Examples:

      n2n train --epochs 10 --lr 1

      n2n train --data photos/ --noise gaussian:25 --out runs/photos

      n2n train --config ee559 --set data.pairs=4000

      n2n train --pairs first/ second/ --config unet

      n2n train --bursts scenes/ --init photo --lr 0.0002 --epochs 5

      n2n train --movie cells.tif --config movie --init white

      n2n train --resume runs/photos
    """
    from n2n_cli.config.keys import DEAD_LEAVES
    from n2n_cli.distributed.launchers import ranks_of_process
    from n2n_cli.training import loop as training
    from n2n_cli.training.initial_model import config_to_tune
    from n2n_cli.training.run_folder import Run, create_run, resumed_run

    ranks = ranks_of_process()
    flags = {
        "data.match_exposure": ("--match-exposure", match_exposure or None),
        "data.align": ("--align", align or None),
        "data.frame_gap": ("--frame-gap", frame_gap),
        "data.axes": ("--axes", axes),
        "data.values": ("--values", values),
        "data.noise": ("--noise", noise),
        "train.epochs": ("--epochs", epochs),
        "train.lr": ("--lr", lr),
        "train.batch_size": ("--batch-size", batch_size),
        "train.seed": ("--seed", seed),
        "train.init": ("--init", init),
        "train.freeze": ("--freeze", freeze or None),
    }
    sources = picture_flags(data, pairs, bursts, single_image, movie)
    given = sources | {name: (flag, value) for name, (flag, value) in flags.items() if value is not None}
    if resume is None:
        tuned = config_to_tune(init) if init and config is None else config_option(config or "default")
        resolved = overridden(tuned, left_off(sources) | given, assignments)
        if out is not None:
            ranks.from_first(lambda: Run(out).check_inputs_kept(resolved))
        run = ranks.from_first(lambda: create_run(out, name=Path(config or init or "default").stem, force=force))
    else:
        others = {"--config": config, "--set": assignments, "--out": out, "--force": force or None}
        _refuse_to_change(given, [flag for flag, value in others.items() if value is not None])
        run = ranks.from_first(lambda: resumed_run(resume))
        before = ranks.from_first(lambda: _config_of(run))
        check_same_kind(sources, before.data)
        resolved = overridden(before, given, None)
    log(f"run folder: {run.folder}")
    if resume is not None and not run.last.is_file():
        log(
            f"it holds no `{run.last.name}` yet: the training starts from the beginning, "
            f"as its `{run.config.name}` says"
        )
    first_time = " (generated on first use, which takes some seconds)" if resolved.data.source == DEAD_LEAVES else ""
    second = f" and {resolved.data.second}" if resolved.data.second else ""
    log(f"pictures: {resolved.data.source}{second}{first_time}")
    if resolved.train.init and resume is None:
        log(f"starts from the weights of {resolved.train.init}")
    if ranks.count > 1:
        log(f"{ranks.count} ranks share each batch; this one has {counted(threads or ranks.threads, 'thread')}")
    with StopSignals() as signals:
        records = training.train(
            resolved,
            run,
            threads,
            resume=resume is not None,
            checkpoint_minutes=checkpoint_minutes,
            stop=signals,
            ranks=ranks,
            bundled=not settings.quiet,
        )
        try:
            (show if ranks.first else show_nothing)(_watched(records, signals, run, ranks))
        except KeyboardInterrupt:
            raise signals.interruption(_kept(run)) from None
        finally:
            records.close()
            if ranks.first and out is None and resume is None:
                with suppress(OSError):
                    run.folder.rmdir()  # a mistyped `--data` leaves no empty run behind


def _watched(records: Iterable[Record], signals: StopSignals, run: Run, ranks: Ranks) -> Iterator[Record]:
    """Pass the records on, until a signal stops the training."""
    from n2n_cli.training.records import Started, Stopped

    for record in records:
        if isinstance(record, Started):
            signals.saves = True
        if isinstance(record, Stopped):
            signals.received = ranks.any_of(signals.received)
            raise signals.interruption(f"step {record.step} of epoch {record.epoch} is saved: {_how_to_continue(run)}")
        yield record


def _refuse_to_change(given: Mapping[str, tuple[str, Any]], others: list[str]) -> None:
    """Refuse options that would change the settings of a resumed run."""
    allowed = ("train.epochs", "data.kind", "data.source", "data.second")
    refused = [flag for name, (flag, _) in given.items() if name not in allowed] + others
    if refused:
        raise UsageError(
            " and ".join(f"`{flag}`" for flag in refused) + " cannot be used with `--resume`: the run keeps its own",
            hint="only `--epochs` can be changed, and the option that names the pictures, if they have moved",
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


def _kept(run: Run) -> str:
    if run.last.is_file():
        return f"the last checkpoint is kept: {_how_to_continue(run)}"
    return f"nothing was saved yet: `{run.folder}` holds no checkpoint"


def _how_to_continue(run: Run) -> str:
    plugins = "".join(f" --plugin {shlex.quote(path)}" for path in loaded_plugins())
    return f"`n2n train --resume {shlex.quote(str(run.folder))}{plugins}` continues it"
