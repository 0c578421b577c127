"""Log lines and progress bar of a sweep."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from n2n_cli.cli.console import complain, settings, shows_progress, stderr, tell

if TYPE_CHECKING:
    from n2n_cli.sweeps.grid import Point
    from n2n_cli.sweeps.sweep import Sweep
    from n2n_cli.sweeps.workers import Message


def log(swept: Sweep, point: Point, event: Message) -> None:
    """Report finished epochs and trainings, one line for each."""
    from n2n_cli.sweeps.workers import Ended
    from n2n_cli.training.records import Epoch

    match event:
        case Epoch():
            tell(f"{point.name}: epoch {event.epoch}/{event.epochs}: validation PSNR {event.psnr:.2f} dB")
        case Ended(status="done"):
            done = swept.results[point.folder]
            tell(f"{point.name}: done, {done.psnr:.2f} dB after epoch {done.best_epoch}, {done.seconds:.0f} s")
        case Ended(status="diverged"):
            tell(f"{point.name}: diverged: {event.reason}")
        case Ended(status="failed"):
            for line in event.trace.splitlines() if settings.debug else ():
                tell(line)
            complain(f"{point.name}: {event.reason}")


@contextmanager
def progress(swept: Sweep) -> Generator[Callable[[Point, Message], None]]:
    """A function that shows events in one bar, where progress is drawn."""
    if not shows_progress():
        yield lambda point, event: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from n2n_cli.sweeps.workers import Ended
    from n2n_cli.training.records import Started, Step

    done = dict.fromkeys((point.folder for point in swept.left), 0.0)  # the part of each training
    plans: dict[str, Started] = {}
    columns = TextColumn("{task.description}"), BarColumn(bar_width=None), TextColumn("best {task.fields[best]}")
    redirect = sys.stdout is not None and sys.stdout.isatty()
    with Progress(
        *columns,
        TimeRemainingColumn(),
        TextColumn("left"),
        console=stderr(),
        transient=True,
        expand=True,
        redirect_stdout=redirect,
    ) as bar:
        task = bar.add_task(f"0/{len(done)} trainings", total=len(done), best="-")

        def show(point: Point, event: Message) -> None:
            match event:
                case Started():
                    plans[point.folder] = event
                case Step():
                    plan = plans[point.folder]
                    done[point.folder] = ((event.epoch - 1) * plan.steps + event.step) / (plan.epochs * plan.steps)
                case Ended():
                    done[point.folder] = 1
                    ended = sum(part == 1 for part in done.values())
                    best = "-" if swept.best is None else f"{swept.best.psnr:.2f} dB"
                    bar.update(task, description=f"{ended}/{len(done)} trainings", best=best)
            bar.update(task, completed=sum(done.values()))

        yield show
