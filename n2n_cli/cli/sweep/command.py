"""`n2n sweep`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from n2n_cli.cli.console import result, tell
from n2n_cli.cli.options import Assignments, number, overridden, thread_count, whole_number
from n2n_cli.cli.signals import StopSignals
from n2n_cli.cli.sweep.progress import log, progress
from n2n_cli.errors import N2NError, UsageError, counted, printable

if TYPE_CHECKING:
    from n2n_cli.sweeps.results import Result
    from n2n_cli.sweeps.sweep import Sweep

_MOST_JOBS = 1024
_HOW_TO_GO_ON = "the same command again goes on"


def sweep(
    params: Annotated[
        list[str],
        typer.Option(
            "--param",
            metavar="KEY",
            help="The key of the configuration to vary, as train.lr, which may be called optim.lr. Twice, with "
            "--values twice: every value of the one with every value of the other.",
        ),
    ],
    values: Annotated[
        list[str],
        typer.Option("--values", metavar="X,Y,...", help="The values of the key, with commas between them."),
    ],
    config: Annotated[
        str,
        typer.Option(metavar="FILE|NAME", help="A TOML file, or a shipped configuration, of which all else is taken."),
    ] = "default",
    data: Annotated[
        str | None,
        typer.Option(metavar="FOLDER|FILE", help="A folder of pictures, or a file of pairs. Default: as configured."),
    ] = None,
    epochs: Annotated[
        str | None, typer.Option(metavar="N", help="Passes over the training pairs. Default: as configured.")
    ] = None,
    assignments: Assignments = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The sweep's folder, with a run folder for each training. Default: runs/sweep-NAME-KEY.",
        ),
    ] = None,
    jobs: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Trainings at a time, each in a process of its own. "
            "Default: one per core, fewer where memory is short.",
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Threads that the jobs share; results do not depend on it but for rounding. "
            "Default: every core has one.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the best training as a JSON object.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start over, also what is finished.")] = False,
) -> None:
    """Find the best value of a setting by short trainings.

    The line on stdout names the best value and its validation PSNR. All results are in the sweep's folder: sweep.json,
    sweep.csv and, with the extra `plot` installed, sweep.svg and sweep.png. The same command again goes on with what is
    not finished; more values may be named. A training that diverges is a result; one that fails does not stop the rest.

    Examples:

      n2n sweep --param train.lr --values 1e-4,1e-3,1e-2 --config ee559-adam

      n2n sweep --param train.lr --values 0.5,1 --param train.seed --values 0,1
    """
    from n2n_cli.config import load_config
    from n2n_cli.distributed.launchers import place_of_process
    from n2n_cli.sweeps.grid import points_of
    from n2n_cli.sweeps.sweep import Sweep

    place = place_of_process(os.environ)
    if place.count > 1:
        raise UsageError(
            f"{place.count} processes were started together ({place.reason}), and each would sweep all of the grid",
            hint="start one: it starts its trainings itself, `--jobs N` at a time",
        )
    at_a_time = None if jobs is None else whole_number(jobs, "--jobs", 1, _MOST_JOBS)
    given_threads = thread_count(threads)
    passes = None if epochs is None else number(epochs)
    flags = {"data.source": ("--data", data), "train.epochs": ("--epochs", passes)}
    base = overridden(load_config(config, plugins=True), flags, assignments)
    grid = _grid(params, values)
    folder = out or Path("runs") / "-".join(
        ["sweep", Path(config).stem, *(name.rpartition(".")[2] for name, _ in grid)]
    )
    swept = Sweep(folder, points_of(base, grid), force=force)
    left = len(swept.left)
    done = f", {len(swept.points) - left} of them finished" if left < len(swept.points) else ""
    tell(f"sweep folder: {folder}: {counted(len(swept.points), 'training')}{done}")
    failures = _run(swept, at_a_time, given_threads)
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
    """The values of a TOML list without brackets, or plain text between commas."""
    import tomllib

    try:
        table = tomllib.loads(f"values = [{text}]")
        found = table["values"] if len(table) == 1 else []
    except (ValueError, RecursionError):
        found = [number(part.strip()) for part in text.split(",") if part.strip()]
    if not found:
        raise UsageError(f"`--values` is {text!r}, it must be values with commas between", hint="as `1e-4,3e-4,1e-3`")
    return found


def _run(swept: Sweep, jobs: int | None, threads: int | None) -> dict[str, str | None]:
    """Do the trainings and report them; returns those that failed, with hints."""
    from n2n_cli.sweeps.workers import Ended

    failures: dict[str, str | None] = {}
    with StopSignals() as signals:
        events = swept.run(jobs=jobs, threads=threads, stop=signals)
        try:
            with progress(swept) as show:
                for point, event in events:
                    signals.saves = True
                    show(point, event)
                    log(swept, point, event)
                    if isinstance(event, Ended) and event.status == "failed":
                        failures[point.name] = event.hint
        except KeyboardInterrupt:
            raise signals.interruption(_HOW_TO_GO_ON) from None
        finally:
            events.close()
        if signals.received is not None and swept.left:
            raise signals.interruption(f"what was done is saved: {_HOW_TO_GO_ON}")
    return failures


def _draw(swept: Sweep) -> None:
    from n2n_cli.plots.figures import draw_sweep
    from n2n_cli.plots.style import INSTALL, available

    paths = [swept.folder / "sweep.svg", swept.folder / "sweep.png"]
    if not available():
        tell(f"no plot is drawn: {INSTALL}")
        return
    draw_sweep([*swept.results.values()], paths)
    tell(f"plot: {paths[0]}, {paths[1]}")


def _print_best(swept: Sweep, best: Result, *, as_json: bool) -> None:
    from n2n_cli.system.json_lines import json_line

    if as_json:
        result(json_line(best.record()))
        return
    (name,) = (point.name for point in swept.points if swept.results[point.folder] is best)
    checkpoint = printable(str(Path(best.run) / "best.pth"))
    result(f"{name}: noisy {best.noisy_psnr:.2f} dB, denoised {best.psnr:.2f} dB: {checkpoint}")


def _fail(swept: Sweep, failures: Mapping[str, str | None]) -> None:
    """Fail if a training did, or none has a result."""
    if failures:
        hints = {*failures.values()} - {None}
        again = "the same command again does only what is not finished"
        raise N2NError(
            f"{len(failures)} of {counted(len(swept.points), 'training')} failed: {', '.join(failures)}",
            hint=f"{hints.pop()}; {again}" if len(hints) == 1 else f"mend what is told above; {again}",
        )
    if swept.best is None:
        raise N2NError("every training diverged: there is no best value", hint="smaller values")
