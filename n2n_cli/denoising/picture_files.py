"""Denoise picture files; one that fails does not stop the others."""

from __future__ import annotations

import shlex
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from n2n_cli.denoising.history import history
from n2n_cli.denoising.in_time import TimeNeighbours
from n2n_cli.denoising.model_choice import BundledModels, FileModel
from n2n_cli.denoising.page import denoise_page
from n2n_cli.denoising.tasks import DenoiseOptions, DenoiseTask, Outcome, output_exists
from n2n_cli.denoising.transforms import Group, Transforms
from n2n_cli.errors import ImageError
from n2n_cli.images import (
    INSTRUMENTS,
    Pages,
    Picture,
    check_holds,
    format_of,
    is_lossy,
    opened_pages,
    page_axes,
    pages_of_channel,
    picture_size,
    place_of,
    write_pages,
)
from n2n_cli.models.model import Model
from n2n_cli.noise.analysis import NoiseAnalysis
from n2n_cli.system.atomic_files import mode_of_copies
from n2n_cli.system.progress import part_of_work


def denoise_files(
    model: Model | BundledModels | None,
    tasks: Iterable[DenoiseTask],
    options: DenoiseOptions,
    *,
    begin: Callable[[DenoiseTask], None] = lambda task: None,
) -> Iterator[Outcome]:
    """Denoise pictures, one after another.

    Parameters
    ----------
    model : Model or BundledModels, optional
        One model for all pictures, or the bundled ones, of which each file gets the one for its noise. Not needed for
        `learn`, which trains a new network on each picture.
    begin : function
        Called with each task before it starts.

    Yields
    ------
    Outcome
        One per task, in order, after its output was written.
    """
    with TimeNeighbours(FileModel(model).fixed, options) as neighbours:
        for task in tasks:
            started = time.perf_counter()
            outcome = Outcome(task)
            begin(task)
            try:
                if options.skip_existing and output_exists(task):
                    outcome.status = "skipped"
                else:
                    _denoise_file(model, outcome, options, neighbours)
            except Exception as error:  # also an unexpected one: it must not stop the other tasks
                outcome.status, outcome.error = "failed", error
                _release(error)
            outcome.seconds = time.perf_counter() - started
            yield outcome


def _release(error: BaseException | None) -> None:
    """Clear the frames of an error, which keep its file open and pixels in memory."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def _denoise_file(
    model: Model | BundledModels | None, outcome: Outcome, options: DenoiseOptions, neighbours: TimeNeighbours
) -> None:
    task = outcome.task
    file_model = FileModel(model)
    source = None if task.input_stream is not None else task.source
    image_format = options.image_format
    if task.output_stream is None and image_format is None:
        image_format = _format_of_target(task)
    before: list[NoiseAnalysis] = []
    after: list[NoiseAnalysis] = []

    def one_page(picture: Picture) -> Picture:
        outcome.note(picture.notes)
        channel = channel_of(outcome.pages)
        with part_of_work(1 / len(file)):
            frames = neighbours.of(source, outcome.pages)
            page = denoise_page(file_model, picture, transforms, options, channel, frames)
        outcome.note(page.notes)
        outcome.learned += page.learned
        model_name = page.model_name or options.model_name
        outcome.model = outcome.model or model_name
        if page.noise_before is not None and page.noise_after is not None:
            before.append(page.noise_before)
            after.append(page.noise_after)
        outcome.pages += 1
        if image_format not in INSTRUMENTS or page.picture is picture:
            return page.picture
        text = history(transforms.of(picture, Group(channel)), options, model_name)
        return replace(page.picture, metadata={**page.picture.metadata, "history": text})

    def channel_of(number: int) -> int:
        return description.image_of(number) if description.images else place_of(axes, number).get("C", 0)

    def sample(most: int, channel: int) -> Iterator[Picture]:
        if folder is not None:
            return folder.sample(most)
        if description.images:
            return file.sample(most, description.pages_of_image(channel))
        return file.sample(most, pages_of_channel(axes, len(file), channel))

    with _opened(task, options, all_channels=image_format in (None, "TIFF")) as file:
        description = file.description
        axes = page_axes(file.label, len(file), description.axes, options.axes)
        outcome.note(description.notes if options.axes is None else ())
        trained = None if file_model.fixed is None else file_model.fixed.values
        folder = neighbours.folder_of(source)
        chosen = None if folder is None else neighbours.chosen
        transforms = Transforms(sample, options.values, trained, description.channels, chosen)
        if folder is not None and not chosen:  # all frames take the transform of the first
            transforms.of(folder.page(0))
        pages = iter(file)
        first = next(pages)
        outcome.height, outcome.width = first.pixels.shape[:2]
        image_format = image_format or first.format
        if first.lossless and is_lossy(image_format, options.quality):
            outcome.lossy = image_format
        target = str(task.target) if task.output_stream is None else "stdout"
        check_holds(f"`{target}`", first, image_format)  # fail before the work; writing checks it again
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
            mode=mode_of_copies(task.input_stream or task.source),
        )
    outcome.note(transforms.notes())
    outcome.note(notes)
    if options.estimates:
        outcome.noise_before, outcome.noise_after = before[0], after[0]
        outcome.sigma_before, outcome.sigma_after = (
            sum(found.sigma for found in pages) / len(pages) for pages in (before, after)
        )


@contextmanager
def _opened(task: DenoiseTask, options: DenoiseOptions, *, all_channels: bool) -> Iterator[Pages]:
    name = str(task.source) if task.input_stream is None else "stdin"
    open_pages = partial(opened_pages, name=name, max_pixels=options.max_pixels, max_memory=options.max_memory)
    with _reading(task) as source, open_pages(source, all_channels=all_channels) as pages:
        yield pages


def _format_of_target(task: DenoiseTask) -> str:
    """Format of an output file.

    An unknown extension is reported before the work, and only if the picture can be read.
    """
    try:
        return format_of(task.target)
    except ImageError:
        if task.input_stream is None:
            picture_size(task.source)
        raise


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
