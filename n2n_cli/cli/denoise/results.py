"""Reports of `n2n denoise` on each picture, and on all at the end."""

from __future__ import annotations

import io
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from n2n_cli.cli.console import complain, explain, log, result, result_bytes, settings
from n2n_cli.cli.denoise.bar import Bar
from n2n_cli.cli.signals import StopSignals
from n2n_cli.errors import N2NError, counted, printable

if TYPE_CHECKING:
    from n2n_cli.denoising.manifest import Manifest
    from n2n_cli.denoising.model_choice import BundledModels
    from n2n_cli.denoising.tasks import DenoiseOptions, DenoiseTask, Outcome
    from n2n_cli.models.model import Model


@dataclass
class Counts:
    """Counts of finished tasks.

    Attributes
    ----------
    count : int
        Number of tasks.
    done, skipped : int
        Numbers of pictures that were denoised, and that were skipped.
    failures : list of Exception
    lossy : bool
        True once a lossy format was reported.
    """

    count: int
    done: int = 0
    skipped: int = 0
    failures: list[Exception] = field(default_factory=list)
    lossy: bool = False

    def add(self, outcome: Outcome) -> None:
        """Count a finished task."""
        if outcome.error is not None:
            self.failures.append(outcome.error)
        elif outcome.status == "skipped":
            self.skipped += 1
        else:
            self.done += 1


def run(
    model: Model | BundledModels | None,
    tasks: Sequence[DenoiseTask],
    options: DenoiseOptions,
    finished: Callable[[Outcome], None],
    *,
    in_place: bool = False,
) -> Counts:
    """Denoise pictures and report on them; `finished` is called for each.

    Parameters
    ----------
    model : Model or BundledModels, optional
        None to learn from each picture alone.
    in_place : bool
        True if outputs replace their inputs, so that the command cannot be repeated.

    Raises
    ------
    InterruptionError
        After Ctrl-C, SIGTERM or SIGHUP; gives the number of finished pictures.
    """
    from n2n_cli.denoising.picture_files import denoise_files
    from n2n_cli.system.progress import reported_to

    counts, started = Counts(len(tasks)), time.perf_counter()
    with StopSignals() as signals:
        try:
            with Bar(len(tasks)) as shown, reported_to(shown.advance):
                outcomes = denoise_files(
                    model,
                    tasks,
                    options,
                    begin=lambda task: shown.begin(str(task.source)),
                )
                for outcome in outcomes:
                    counts.add(outcome)
                    finished(outcome)
                    _report(outcome, counts, many=len(tasks) > 1)
                    shown.end()
        except KeyboardInterrupt:
            hint, done = "no file is left half written", ""
            if len(tasks) > 1:
                again = "name only the others: those that are done would be denoised again"
                hint += f"; {again if in_place else 'the same command with `--skip-existing` does the rest'}"
                done = f"{counts.done + counts.skipped} of {counted(len(tasks), 'picture')} are done"
            raise signals.interruption(hint, done=done) from None
    if len(tasks) > 1:
        skipped = f", {counts.skipped} skipped" if counts.skipped else ""
        log(f"{counted(counts.done, 'picture')} denoised{skipped} in {time.perf_counter() - started:.1f} s")
    return counts


def _report(outcome: Outcome, counts: Counts, *, many: bool) -> None:
    """Report on a finished picture; mention only once that a format is lossy."""
    if outcome.notes:
        log(f"{outcome.task.source}: {'; '.join(outcome.notes)}")
    if outcome.lossy and not counts.lossy:
        log(f"{outcome.task.target}: {outcome.lossy} is lossy; PNG and TIFF are lossless")
        counts.lossy = True
    if settings.verbose and many:
        log(_line(outcome))
    if settings.verbose:
        for learned in outcome.learned:
            log(f"{outcome.task.source}: {learned}")


def end(counts: Counts, problems: Sequence[N2NError] = ()) -> None:
    """Report failures.

    Raises
    ------
    N2NError
        When anything failed; for a single picture, its own error.
    """
    failures = [*problems, *counts.failures]
    if counts.count == 1 and not problems and counts.failures:
        raise counts.failures[0]
    if not failures:
        return
    for failure in failures:
        if settings.debug:
            traceback.print_exception(failure)
        message, _ = explain(failure)
        complain(message)
    left = counts.count - len(counts.failures)
    raise N2NError(
        f"{len(counts.failures)} of {counted(counts.count, 'picture')} failed"
        + (f", and {counted(len(problems), 'folder')} could not be read" if problems else ""),
        hint=explain(failures[0])[1] if len(failures) == 1 else f"the errors are above; {left} are done",
    )


class Results:
    """Outputs of a picture on stdout and in a manifest.

    Parameters
    ----------
    report : bool
        Print the noise before and after denoising.
    as_json : bool
        Print it as JSON.
    manifest : Manifest, "-" or None
        Receives a line for each picture, also for those that failed; "-" is stdout.
    """

    def __init__(self, *, report: bool, as_json: bool, manifest: Manifest | str | None) -> None:
        self._report, self._as_json, self._manifest = report, as_json, manifest

    def add(self, outcome: Outcome) -> None:
        """Write the outputs of a finished picture.

        Raises
        ------
        N2NError
            When a result cannot be written.
        """
        from n2n_cli.system.json_lines import json_line

        if isinstance(outcome.task.output_stream, io.BytesIO) and outcome.status == "done":
            # A stream whose memory is still in use cannot be closed, which Python reports on stderr.
            with outcome.task.output_stream.getbuffer() as data:
                result_bytes(data)
        if self._report and outcome.status == "done":
            self._print_noise(outcome)
        if isinstance(self._manifest, str):
            result(json_line(outcome.record()))
        elif self._manifest is not None:
            self._manifest.append(outcome.record())

    def _print_noise(self, outcome: Outcome) -> None:
        from n2n_cli.system.json_lines import json_line

        if self._as_json:
            names = ("input", "output", "model", "sigma_before", "sigma_after", "noise_before", "noise_after")
            record = outcome.record()
            result(json_line({name: record[name] for name in names}))
        else:
            before, after = outcome.sigma_before, outcome.sigma_after
            result(f"{printable(str(outcome.task.source))}\t{before:.2f}\t{after:.2f}\t{outcome.noise_before}")


def _line(outcome: Outcome) -> str:
    name = str(outcome.task.source)
    if outcome.status != "done":
        return f"{name}: {outcome.status}"
    pages = f", {outcome.pages} pages" if outcome.pages > 1 else ""
    return f"{name}: {outcome.width}x{outcome.height} pixels{pages}, {outcome.seconds:.2f} s"
