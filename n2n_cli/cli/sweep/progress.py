"""Log lines and progress bar of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from n2n_cli.cli.console import complain, log, settings
from n2n_cli.cli.progress import LongWork

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from n2n_cli.sweeps.grid import Point
    from n2n_cli.sweeps.sweep import Sweep
    from n2n_cli.sweeps.workers import Message


def log_event(swept: Sweep, point: Point, event: Message) -> None:
    """Log each finished epoch and training in one line."""
    from n2n_cli.sweeps.workers import Ended
    from n2n_cli.training.records import Epoch

    match event:
        case Epoch():
            log(f"{point.name}: epoch {event.epoch}/{event.epochs}: validation PSNR {event.psnr:.2f} dB")
        case Ended(status="done"):
            done = swept.results[point.folder]
            log(f"{point.name}: done, {done.psnr:.2f} dB after epoch {done.best_epoch}, {done.seconds:.0f} s")
        case Ended(status="diverged"):
            log(f"{point.name}: diverged: {event.reason}")
        case Ended(status="failed"):
            for line in event.trace.splitlines() if settings.debug else ():
                log(line)
            complain(f"{point.name}: {event.reason}")


@contextmanager
def progress(swept: Sweep) -> Generator[Callable[[Point, Message], None]]:
    """Provide a function that shows the progress of all trainings together."""
    from n2n_cli.sweeps.workers import Ended
    from n2n_cli.training.records import Started, Step

    done = dict.fromkeys((point.folder for point in swept.left), 0.0)  # completed fraction of each training
    plans: dict[str, Started] = {}
    with LongWork("{ended} done", _columns, len(done), ended=f"0/{len(done)} trainings", best="-") as work:

        def show(point: Point, event: Message) -> None:
            match event:
                case Started():
                    plans[point.folder] = event
                case Step():
                    plan = plans[point.folder]
                    done[point.folder] = ((event.epoch - 1) * plan.steps + event.step) / (plan.epochs * plan.steps)
                case Ended():
                    done[point.folder] = 1
                    ended = sum(fraction == 1 for fraction in done.values())
                    best = "-" if swept.best is None else f"{swept.best.psnr:.2f} dB"
                    work.update(ended=f"{ended}/{len(done)} trainings", best=best)
            work.update(sum(done.values()))

        yield show


def _columns() -> Iterable[ProgressColumn]:
    from rich.progress import BarColumn, TextColumn

    yield TextColumn("{task.fields[ended]}")
    yield BarColumn(bar_width=None)
    yield TextColumn("best {task.fields[best]}")
