"""Denoise picture files; one that fails does not stop the others."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from n2n_cli.denoising.picture import denoise_picture
from n2n_cli.denoising.plan import DenoiseTask
from n2n_cli.errors import ImageError
from n2n_cli.images import MAX_PIXELS, Picture, check_holds, format_of, is_lossy, read_pages, write_pages
from n2n_cli.models.model import Model
from n2n_cli.noise.correlation import correlation_notes, shuffled_down, shuffled_up
from n2n_cli.noise.level import sigma_of
from n2n_cli.single_image.denoiser import LEARNING, Method, learn_to_denoise

if TYPE_CHECKING:
    from n2n_cli.single_image.learner import Learned


@dataclass(frozen=True)
class DenoiseOptions:
    """Options for denoising and writing pictures.

    Attributes
    ----------
    strength : float
        Weight of the denoised picture in a blend with the input, from 0 to 1.
    image_format : str, optional
        Format of the outputs. By default the one that the output's ending names; for a stream, the input's.
    quality : int, optional
        JPEG and WebP quality, 1 to 100.
    max_pixels : int
        Maximum size of an input, in pixels; larger ones are refused.
    max_memory : int, optional
        Maximum memory of the process, in bytes.
    skip_existing : bool
        Skip inputs whose output exists and is not empty.
    estimates : bool
        Estimate the noise level before and after denoising.
    learning : "zs-n2n", "adapt" or None
        Method by which each picture's denoiser learns from that picture, see `learn_to_denoise`. By default none: the
        model is used unchanged.
    seconds : float, optional
        Maximum time to learn from one picture, in seconds.
    threads : int, optional
        Threads of a network that is trained from scratch on a picture.
    pd : int
        Pixel-shuffle factor: each picture is split into pd^2 smaller ones, which are denoised separately.
    """

    strength: float = 1
    image_format: str | None = None
    quality: int | None = None
    max_pixels: int = MAX_PIXELS
    max_memory: int | None = None
    skip_existing: bool = False
    estimates: bool = False
    learning: Method | None = None
    seconds: float | None = None
    threads: int | None = None
    pd: int = 1


@dataclass
class Outcome:
    """Outcome of one task.

    Attributes
    ----------
    task : DenoiseTask
    status : "done", "skipped" or "failed"
    width, height : int or None
        Size of the first page, in pixels; None when it could not be read.
    pages : int
        Number of pages denoised.
    seconds : float
        Time for reading, denoising and writing, in seconds.
    sigma_before, sigma_after : float or None
        Estimated standard deviation of the noise, in grey levels of 255; the mean over pages.
    lossy : str or None
        Format of the output, when it is lossy and the input's was not.
    learned : list of Learned
        Report on every network that was trained on a page.
    notes : list of str
        Messages for the user: changes made in reading and writing, and doubts about the result.
    error : Exception or None
        Cause of a failure.
    """

    task: DenoiseTask
    status: Literal["done", "skipped", "failed"] = "done"
    width: int | None = None
    height: int | None = None
    pages: int = 0
    seconds: float = 0
    sigma_before: float | None = None
    sigma_after: float | None = None
    lossy: str | None = None
    learned: list[Learned] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: Exception | None = None

    def note(self, path: Path, notes: Iterable[str]) -> None:
        """Add notes about a file, each only once."""
        self.notes += [line for line in (f"{path}: {note}" for note in notes) if line not in self.notes]

    def record(self) -> dict[str, Any]:
        """Return the fields of a line in a manifest."""
        return {
            "input": str(self.task.source),
            "output": str(self.task.target),
            "status": self.status,
            "width": self.width,
            "height": self.height,
            "pages": self.pages,
            "seconds": round(self.seconds, 4),
            "sigma_before": _rounded(self.sigma_before),
            "sigma_after": _rounded(self.sigma_after),
            "error": None if self.error is None else str(self.error) or type(self.error).__name__,
        }


def denoise_files(
    model: Model | None,
    tasks: Iterable[DenoiseTask],
    options: DenoiseOptions,
    *,
    begin: Callable[[DenoiseTask], None] = lambda task: None,
    advance: Callable[[float], None] = lambda part: None,
) -> Iterator[Outcome]:
    """Denoise pictures, one after another.

    Parameters
    ----------
    model : Model, optional
        Not needed for `learning="zs-n2n"`, which trains a new network on each picture.
    begin : function
        Called with each task before it starts.
    advance : function
        Called, by any thread, with the fraction of the picture that was done since the last call.

    Yields
    ------
    Outcome
        One per task, in order, after its output was written.
    """
    for task in tasks:
        started = time.perf_counter()
        outcome = Outcome(task)
        begin(task)
        try:
            if options.skip_existing and output_exists(task):
                outcome.status = "skipped"
            else:
                _denoise_file(model, outcome, options, advance)
        except Exception as error:  # also an unexpected one: it must not stop the other tasks
            outcome.status, outcome.error = "failed", error
        outcome.seconds = time.perf_counter() - started
        yield outcome


def output_exists(task: DenoiseTask) -> bool:
    """Tell whether a task's output file exists, and so is complete.

    Outputs are renamed into place when they are complete.
    """
    return task.output_stream is None and task.target.is_file() and task.target.stat().st_size > 0


def _denoise_file(
    model: Model | None, outcome: Outcome, options: DenoiseOptions, advance: Callable[[float], None]
) -> None:
    task = outcome.task
    image_format = options.image_format
    if task.output_stream is None and image_format is None:
        image_format = format_of(task.target)  # raises for an unknown ending, before the work
    sigmas: list[tuple[float, float]] = []

    def one_page(picture: Picture) -> Picture:
        outcome.note(task.source, picture.notes)
        denoised = _denoise(model, picture, outcome, options, advance)
        if options.estimates:
            sigmas.append((sigma_of(picture), sigma_of(denoised)))
        outcome.pages += 1
        return denoised

    with _reading(task) as source:
        pages = read_pages(
            source, name=str(task.source) if task.input_stream is None else "stdin", max_pixels=options.max_pixels
        )
        first = next(pages)
        outcome.height, outcome.width = first.pixels.shape[:2]
        image_format = image_format or first.format
        if first.lossless and is_lossy(image_format, options.quality):
            outcome.lossy = image_format
        target = str(task.target) if task.output_stream is None else "stdout"
        check_holds(f"`{target}`", first, image_format)  # before the work, too
        denoised = one_page(first)
        del first  # hold one page in memory at a time
        if task.output_stream is None:
            _make_folder(task)
        notes = write_pages(
            task.target if task.output_stream is None else task.output_stream,
            chain([denoised], map(one_page, pages)),
            format=image_format,
            quality=options.quality,
            name=target,
        )
    outcome.note(task.target, notes)
    if options.estimates:
        outcome.sigma_before, outcome.sigma_after = (sum(column) / len(column) for column in zip(*sigmas, strict=True))


def _denoise(
    model: Model | None,
    picture: Picture,
    outcome: Outcome,
    options: DenoiseOptions,
    advance: Callable[[float], None],
) -> Picture:
    """Denoise one page: split it, learn from it, denoise the parts, join them."""
    if options.strength == 0:
        advance(1)
        return picture
    parts = shuffled_down(picture, options.pd)
    share = LEARNING if options.learning else 0.0
    denoiser = learn_to_denoise(
        options.learning,
        parts,
        model,
        seconds=options.seconds,
        threads=options.threads,
        advance=lambda part: advance(share * part),
    )
    outcome.note(outcome.task.source, denoiser.notes)
    outcome.learned.extend(denoiser.learned)
    denoised = []
    for part in parts:
        size = (1 - share) * part.pixels.size / picture.pixels.size
        denoised.append(
            denoise_picture(
                denoiser.model,
                part,
                strength=options.strength,
                max_memory=options.max_memory,
                advance=partial(_advance, advance, size),
            )
        )
    whole = shuffled_up(picture, denoised, options.pd)
    if options.learning is not None or options.pd > 1 or options.estimates:
        outcome.note(outcome.task.source, correlation_notes(picture, whole, options.pd))
    return whole


def _advance(advance: Callable[[float], None], size: float, part: float) -> None:
    advance(size * part)


@contextmanager
def _reading(task: DenoiseTask) -> Iterator[Path | BinaryIO]:
    """Open a task's input; a named pipe, as in `<(command)`, is opened as a stream."""
    if task.input_stream is not None:
        yield task.input_stream
    elif task.source.is_fifo():
        with task.source.open("rb") as file:
            yield file
    else:
        yield task.source


def _make_folder(task: DenoiseTask) -> None:
    """Make the folder of an output.

    Called after denoising, so that a picture that fails leaves no empty folder.
    """
    folder = task.target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"`{task.target}` cannot be written: the folder `{folder}` cannot be made: {error.strerror}",
            hint=f"`mkdir -p {shlex.quote(str(folder))}`",
        ) from None


def _rounded(sigma: float | None) -> float | None:
    return None if sigma is None else round(sigma, 3)
