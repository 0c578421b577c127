"""`n2n sweep`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from n2n_cli.cli.console import confirm, log, result
from n2n_cli.cli.options import (
    Assignments,
    Json,
    Threads,
    config_names,
    config_option,
    number,
    option,
    overridden,
    whole_number,
)
from n2n_cli.cli.signals import StopSignals
from n2n_cli.cli.sweep.progress import log_event, progress
from n2n_cli.errors import N2NError, UsageError, counted, printable

if TYPE_CHECKING:
    from n2n_cli.sweeps.results import Result
    from n2n_cli.sweeps.sweep import Sweep

_MOST_JOBS = 1024
_HOW_TO_CONTINUE = "the same command continues it"


def sweep(
    params: Annotated[list[str], option("--param", "KEY", str, "Configuration key to vary, as train.lr; repeatable.")],
    values: Annotated[list[str], option("--values", "X,Y,...", str, "Comma-separated values of the key; repeatable.")],
    config: Annotated[str, option("--config", "FILE|NAME", str, "Configuration.", names=config_names)] = "default",
    data: Annotated[
        str | None, option("--data", "FOLDER|FILE", str, "Pictures, or pairs.", default="as configured")
    ] = None,
    epochs: Annotated[
        object, option("--epochs", "N", number, "Passes over the pairs.", default="as configured")
    ] = None,
    assignments: Assignments = None,
    out: Annotated[Path | None, option("--out", "FOLDER", Path, "Sweep folder.", default="runs/sweep-NAME-KEY")] = None,
    jobs: Annotated[
        int | None, option("--jobs", "N", whole_number(1, _MOST_JOBS), "Parallel trainings.", default="one per core")
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
    force: Annotated[bool, typer.Option("--force", help="Repeat finished trainings, too.")] = False,
) -> None:
    """Find the best value of a setting by short trainings.

    Two --param, each with its --values, train every combination of the two. A key train.X may also be written optim.X.
    All --jobs share --threads; fewer jobs run at the same time if memory is short.

    The line on stdout names the best value and its validation PSNR. The sweep folder holds all results: sweep.json,
    sweep.csv and, with the extra `plot` installed, sweep.svg and sweep.png. Running the same command again continues
    unfinished trainings, and may add values. A diverged training counts as a result; a failed one does not stop the
    others.

    Examples:

      n2n sweep --param train.lr --values 1e-4,1e-3,1e-2 --config ee559-adam

      n2n sweep --param train.lr --values 0.5,1 --param train.seed --values 0,1
    """
    from n2n_cli.distributed.launchers import place_of_process
    from n2n_cli.sweeps.grid import points_of
    from n2n_cli.sweeps.sweep import Sweep

    place = place_of_process(os.environ)
    if place.count > 1:
        raise UsageError(
            f"{place.count} processes were started together ({place.reason}), and each would sweep all of the grid",
            hint="start one process: it runs the trainings itself, `--jobs N` at a time",
        )
    flags = {"data.source": ("--data", data), "train.epochs": ("--epochs", epochs)}
    base = overridden(config_option(config), flags, assignments)
    grid = _grid(params, values)
    folder = out or Path("runs") / "-".join(
        ["sweep", Path(config).stem, *(name.rpartition(".")[2] for name, _ in grid)]
    )
    swept = Sweep(folder, points_of(base, grid), force=force)
    left = len(swept.left)
    done = f", {len(swept.points) - left} of them finished" if left < len(swept.points) else ""
    log(f"sweep folder: {folder}: {counted(len(swept.points), 'training')}{done}")
    failures = _run(swept, jobs, threads)
    _draw(swept)
    if swept.best is not None:
        _print_best(swept, swept.best, as_json=as_json)
    _fail(swept, failures)


def _grid(params: list[str], values: list[str]) -> list[tuple[str, list[Any]]]:
    if len(params) != len(values):
        raise UsageError(
            f"`--param` is given {counted(len(params), 'time')} and `--values` {counted(len(values), 'time')}",
            hint="each `--param KEY` needs its `--values X,Y,...`",
        )
    names = [f"train.{name.removeprefix('optim.')}" if name.startswith("optim.") else name for name in params]
    return [(name, _values(text)) for name, text in zip(names, values, strict=True)]


def _values(text: str) -> list[Any]:
    """Parse the values of a TOML list without brackets, or plain text between commas."""
    import tomllib

    try:
        table = tomllib.loads(f"values = [{text}]")
        found = table["values"] if len(table) == 1 else []
    except (ValueError, RecursionError):
        found = [number(part.strip()) for part in text.split(",") if part.strip()]
    if not found:
        raise UsageError(f"`--values` is {text!r}, it must be values separated by commas", hint="as `1e-4,3e-4,1e-3`")
    return found


def _run(swept: Sweep, jobs: int | None, threads: int | None) -> dict[str, str | None]:
    """Run and log the trainings; return the failed ones with their hints."""
    from n2n_cli.sweeps.workers import Ended

    failures: dict[str, str | None] = {}
    with StopSignals() as signals:
        events = swept.run(jobs=jobs, threads=threads, stop=signals)
        try:
            with progress(swept) as show:
                for point, event in events:
                    signals.saves = True
                    show(point, event)
                    log_event(swept, point, event)
                    if isinstance(event, Ended) and event.status == "failed":
                        failures[point.name] = event.hint
        except KeyboardInterrupt:
            raise signals.interruption(_HOW_TO_CONTINUE) from None
        finally:
            events.close()
        if signals.received is not None and swept.left:
            raise signals.interruption(f"finished work is saved: {_HOW_TO_CONTINUE}")
    return failures


def _draw(swept: Sweep) -> None:
    from n2n_cli.plots.figures import draw_sweep
    from n2n_cli.plots.style import INSTALL, available

    if not available():
        log(f"no plot is drawn: {INSTALL}")
        return
    draw_sweep([*swept.results.values()], swept.plots)
    log(f"plot: {', '.join(map(str, swept.plots))}")


def _print_best(swept: Sweep, best: Result, *, as_json: bool) -> None:
    from n2n_cli.system.json_lines import json_line

    if as_json:
        result(json_line(best.record()))
        return
    (name,) = (point.name for point in swept.points if swept.results[point.folder] is best)
    checkpoint = printable(str(Path(best.run) / "best.pth"))
    confirm(f"{name}: noisy {best.noisy_psnr:.2f} dB, denoised {best.psnr:.2f} dB: {checkpoint}")


def _fail(swept: Sweep, failures: Mapping[str, str | None]) -> None:
    """Raise an error if a training failed, or if all of them diverged."""
    if failures:
        hints = {*failures.values()} - {None}
        again = "the same command repeats only unfinished trainings"
        raise N2NError(
            f"{len(failures)} of {counted(len(swept.points), 'training')} failed: {', '.join(failures)}",
            hint=f"{hints.pop()}; {again}" if len(hints) == 1 else f"solve the problems above; {again}",
        )
    if swept.best is None:
        raise N2NError("every training diverged: there is no best value", hint="try smaller values")
