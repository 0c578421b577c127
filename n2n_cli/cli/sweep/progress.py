"""How a sweep goes on: lines for a log and, on a terminal, a bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from n2n_cli.cli.console import settings, shows_progress, stderr

if TYPE_CHECKING:
    from n2n_cli.sweeps.grid import Point
    from n2n_cli.sweeps.results import Result
    from n2n_cli.sweeps.sweep import Sweep
    from n2n_cli.sweeps.workers import Message


def log_lines(point: Point, event: Message | Result) -> Iterator[str]:
    """What a log should hold of an event."""
    from n2n_cli.sweeps.results import Result
    from n2n_cli.sweeps.workers import Failed
    from n2n_cli.training.records import Epoch

    match event:
        case Epoch():
            yield f"{point.name}: epoch {event.epoch}/{event.epochs}: validation PSNR {event.psnr:.2f} dB"
        case Failed() if settings.debug:
            yield from event.trace.splitlines()
        case Result(status="done"):
            yield f"{point.name}: done, {event.psnr:.2f} dB after epoch {event.best_epoch}, {event.seconds:.0f} s"
        case Result(status="diverged"):
            yield f"{point.name}: diverged: {event.reason}"


@contextmanager
def progress(swept: Sweep) -> Generator[Callable[[Point, Message | Result], None]]:
    """A bar over all trainings, where progress is drawn."""
    if not shows_progress():
        yield lambda point, event: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from n2n_cli.sweeps.results import Result
    from n2n_cli.training.records import Started, Step

    columns = (
        TextColumn("{task.fields[done]} trainings"),
        BarColumn(bar_width=None),
        TextColumn("best {task.fields[best]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    parts, plans = dict.fromkeys((point.folder for point in swept.left), 0.0), dict[str, Started]()
    total = len(parts)
    redirect = sys.stdout is not None and sys.stdout.isatty()
    with Progress(*columns, console=stderr(), transient=True, expand=True, redirect_stdout=redirect) as bar:
        task = bar.add_task("", total=total, done=f"0/{total}", best="-")

        def show(point: Point, event: Message | Result) -> None:
            match event:
                case Started():
                    plans[point.folder] = event
                case Step():
                    plan = plans[point.folder]
                    parts[point.folder] = ((event.epoch - 1) * plan.steps + event.step) / (plan.epochs * plan.steps)
                case Result():
                    parts[point.folder] = 1
                    best = swept.best
                    ended = f"{sum(part == 1 for part in parts.values())}/{total}"
                    told = "-" if best is None else f"{best.psnr:.2f} dB"
                    bar.update(task, done=ended, best=told)
            bar.update(task, completed=sum(parts.values()))

        yield show
