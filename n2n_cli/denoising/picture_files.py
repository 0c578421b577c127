"""Batch: many picture files, one model; a bad file does not stop the others."""

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
from n2n_cli.denoising.plan import Job
from n2n_cli.errors import ImageError
from n2n_cli.images import MAX_PIXELS, Picture, check_holds, format_of, is_lossy, read_pages, write_pages
from n2n_cli.models.model import Model
from n2n_cli.noise.correlation import correlation_notes, shuffled_down, shuffled_up
from n2n_cli.noise.level import sigma_of
from n2n_cli.single_image.denoiser import LEARNING, Method, learn_to_denoise

if TYPE_CHECKING:
    from n2n_cli.single_image.learner import Learned


@dataclass(frozen=True)
class BatchOptions:
    """How pictures are denoised and written.

    Attributes
    ----------
    strength : float
        In [0, 1]: of the denoised picture in a blend with the picture as it was.
    image_format : str, optional
        Of the outputs; by default as their names say, and that of the input where there is no name.
    quality : int, optional
        Of JPEG and WebP, 1 to 100.
    max_pixels : int
        Larger pictures are refused.
    max_memory : int, optional
        Bytes that the process may take in all.
    skip_existing : bool
        Whether pictures whose output is there, and not empty, are left as they are.
    estimates : bool
        Whether the noise is estimated before and after.
    learning : "zs-n2n", "adapt" or None
        How each picture's denoiser is learned from it, as in `learn_to_denoise`; by default, it is the model.
    seconds : float, optional
        That learning from a picture may take.
    threads : int, optional
        Of a network that begins with nothing.
    pd : int
        Of pixel-shuffle downsampling: each picture is taken apart into pd^2 pictures, which are denoised one by one.
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
    """What became of a picture.

    Attributes
    ----------
    status : "done", "skipped" or "failed"
    width, height : int or None
        In pixels, of the first page; None where it could not be read.
    pages : int
        That were denoised.
    seconds : float
        From before it was read until it was written.
    sigma_before, sigma_after : float or None
        Estimated standard deviation of the noise, in grey levels of 255; over pages, their mean.
    lossy : str or None
        The format, where a picture that had lost nothing was written to one that loses some.
    learned : list of Learned
        What came of it, for every network that learned from a page.
    notes : list of str
        What was changed in reading and writing, and what speaks against the result, for the user.
    error : Exception or None
        Why it failed.
    """

    job: Job
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
        """Keep what is to be told of a file, each once."""
        self.notes += [line for line in (f"{path}: {note}" for note in notes) if line not in self.notes]

    def record(self) -> dict[str, Any]:
        """As a line of a manifest."""
        return {
            "input": str(self.job.source),
            "output": str(self.job.target),
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
    jobs: Iterable[Job],
    options: BatchOptions,
    *,
    begin: Callable[[Job], None] = lambda job: None,
    advance: Callable[[float], None] = lambda part: None,
) -> Iterator[Outcome]:
    """Denoise pictures, one after the other.

    Parameters
    ----------
    model : Model, optional
        Left out where all is learned from the picture.
    begin : function
        Told which job is next.
    advance : function
        Told, by any thread, what part of its picture was done.

    Yields
    ------
    Outcome of each job, in their order, when its output is on the disk.
    """
    for job in jobs:
        started = time.perf_counter()
        outcome = Outcome(job)
        begin(job)
        try:
            if options.skip_existing and is_there(job):
                outcome.status = "skipped"
            else:
                _denoise_file(model, outcome, options, advance)
        except Exception as error:  # also what nobody foresaw: the others are not to blame
            outcome.status, outcome.error = "failed", error
        outcome.seconds = time.perf_counter() - started
        yield outcome


def is_there(job: Job) -> bool:
    """Whether a job's output was written earlier; what this program writes is whole from the moment it has its name."""
    return job.sink is None and job.target.is_file() and job.target.stat().st_size > 0


def _denoise_file(
    model: Model | None, outcome: Outcome, options: BatchOptions, advance: Callable[[float], None]
) -> None:
    job = outcome.job
    image_format = options.image_format
    if job.sink is None and image_format is None:
        image_format = format_of(job.target)  # an unknown ending is told of before the work
    sigmas: list[tuple[float, float]] = []

    def one_page(picture: Picture) -> Picture:
        outcome.note(job.source, picture.notes)
        denoised = _denoise(model, picture, outcome, options, advance)
        if options.estimates:
            sigmas.append((sigma_of(picture), sigma_of(denoised)))
        outcome.pages += 1
        return denoised

    with _reading(job) as source:
        pages = read_pages(source, name=str(job.source) if job.data is None else "stdin", max_pixels=options.max_pixels)
        first = next(pages)
        outcome.height, outcome.width = first.pixels.shape[:2]
        image_format = image_format or first.format
        if first.lossless and is_lossy(image_format, options.quality):
            outcome.lossy = image_format
        target = str(job.target) if job.sink is None else "stdout"
        check_holds(f"`{target}`", first, image_format)  # also before the work
        denoised = one_page(first)
        del first  # one page in memory at a time
        if job.sink is None:
            _make_folder(job)
        notes = write_pages(
            job.target if job.sink is None else job.sink,
            chain([denoised], map(one_page, pages)),
            format=image_format,
            quality=options.quality,
            name=target,
        )
    outcome.note(job.target, notes)
    if options.estimates:
        outcome.sigma_before, outcome.sigma_after = (sum(column) / len(column) for column in zip(*sigmas, strict=True))


def _denoise(
    model: Model | None,
    picture: Picture,
    outcome: Outcome,
    options: BatchOptions,
    advance: Callable[[float], None],
) -> Picture:
    """One page: taken apart, learned from, denoised and put together, as the options say."""
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
    outcome.note(outcome.job.source, denoiser.notes)
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
        outcome.note(outcome.job.source, correlation_notes(picture, whole, options.pd))
    return whole


def _advance(advance: Callable[[float], None], size: float, part: float) -> None:
    advance(size * part)


@contextmanager
def _reading(job: Job) -> Iterator[Path | BinaryIO]:
    """What a job's picture is read from; a pipe that has a name (`<(command)`) is opened as the stream it is."""
    if job.data is not None:
        yield job.data
    elif job.source.is_fifo():
        with job.source.open("rb") as file:
            yield file
    else:
        yield job.source


def _make_folder(job: Job) -> None:
    """Make the folder of an output in a tree; only now, so that pictures that fail leave no empty ones."""
    folder = job.target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"`{job.target}` cannot be written: the folder `{folder}` cannot be made: {error.strerror}",
            hint=f"`mkdir -p {shlex.quote(str(folder))}`",
        ) from None


def _rounded(sigma: float | None) -> float | None:
    return None if sigma is None else round(sigma, 3)
