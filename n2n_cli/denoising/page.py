"""Denoise one page of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from n2n_cli.denoising.in_time import denoise_in_time
from n2n_cli.denoising.model_choice import FileModel
from n2n_cli.denoising.picture import denoise_picture
from n2n_cli.denoising.tasks import DenoiseOptions
from n2n_cli.denoising.transforms import Group, Transforms
from n2n_cli.errors import ArgumentError, ImageError
from n2n_cli.images import Picture
from n2n_cli.models.model import Model
from n2n_cli.noise.analysis import NoiseAnalysis
from n2n_cli.noise.correlation import correlation_notes, shuffled_down, shuffled_up
from n2n_cli.single_image.denoiser import LEARNING, Denoiser, learn_to_denoise
from n2n_cli.system.progress import advance, part_of_work
from n2n_cli.values.prepared import Prepared
from n2n_cli.values.transform import noise_of

if TYPE_CHECKING:
    from n2n_cli.single_image.learner import Learned


@dataclass
class DenoisedPage:
    """A denoised page, and a report on it.

    Attributes
    ----------
    picture : Picture
    noise_before, noise_after : NoiseAnalysis or None
        In grey levels of 255, or in the units of measured values; that of the first channel, if channels were denoised
        one after another. None if no estimate was requested.
    notes : list of str
        Messages for the user.
    learned : list of Learned
        Report on every network that was trained on the page.
    model_name : str
        Name of the bundled model that was chosen for it; empty if there was no choice.
    """

    picture: Picture
    noise_before: NoiseAnalysis | None = None
    noise_after: NoiseAnalysis | None = None
    notes: list[str] = field(default_factory=list)
    learned: list[Learned] = field(default_factory=list)
    model_name: str = ""


def denoise_page(
    file_model: FileModel,
    own: Picture,
    transforms: Transforms,
    options: DenoiseOptions,
    channel: int = 0,
    frames: Sequence[Picture] = (),
) -> DenoisedPage:
    """Denoise a page of any kind of values: display, or measured.

    Channels beside gray or RGB are denoised one after another.

    Parameters
    ----------
    file_model : FileModel
        The same for all pages of a file.
    channel : int
        Place of the page along the axis C of its stack.
    frames : sequence of Picture
        For a model of movies: `model.frames` frames in the order of time, with the page in their middle.

    Raises
    ------
    ArgumentError
        When the model takes another number of frames.
    ImageError
        When the model takes several frames, and the page has channels beside gray or RGB.
    """
    model = file_model.fixed
    if model is not None and model.frames > 1:
        if len(frames) != model.frames:
            raise ArgumentError("model", "a model of movies", f"given {model.frames} frames, not a single picture")
        if own.extra:
            raise ImageError(
                f"its frames have {own.pixels.shape[2]} channels; a model of movies takes gray or RGB",
                hint="save the channels as pages of their own",
            )
    pages = []
    parts = own.parts()
    for number, part in enumerate(parts):
        with part_of_work(1 / len(parts)):
            pages.append(_denoise_part(file_model, part, transforms, options, Group(channel, number), frames))
    if not own.extra:
        return pages[0]
    note = f"its {own.pixels.shape[2]} channels were denoised one after another"
    return DenoisedPage(
        own.with_parts([page.picture for page in pages]),
        pages[0].noise_before,
        pages[0].noise_after,
        [note, *(note for page in pages for note in page.notes)],
        [one for page in pages for one in page.learned],
        pages[0].model_name,
    )


def _denoise_part(
    file_model: FileModel,
    own: Picture,
    transforms: Transforms,
    options: DenoiseOptions,
    group: Group,
    frames: Sequence[Picture],
) -> DenoisedPage:
    values = transforms.of(own, group)
    noise = noise_of(own, values) if options.estimates else None
    page = DenoisedPage(own, noise)
    if options.strength == 0 or values.reason:
        advance(1)
    elif (prepared := transforms.prepared(own, group)) is None:
        page.picture = _denoise(file_model, own, page, options, options.strength, options.max_memory, frames, noise)
    else:
        spare = None if options.max_memory is None else max(1, options.max_memory - 2 * own.pixels.nbytes)
        middle = len(frames) // 2
        seen = [prepared.picture if i == middle else Prepared(frame, values).picture for i, frame in enumerate(frames)]
        denoised = _denoise(file_model, prepared.picture, page, options, 1.0, spare, seen)
        page.picture = prepared.finish(denoised.pixels, options.strength)
    if options.estimates:
        page.noise_after = noise if page.picture is own else noise_of(page.picture, values)
    return page


def _denoise(
    file_model: FileModel,
    picture: Picture,
    page: DenoisedPage,
    options: DenoiseOptions,
    strength: float,
    max_memory: int | None,
    frames: Sequence[Picture] = (),
    noise: NoiseAnalysis | None = None,
) -> Picture:
    """Choose the model for a prepared picture, and denoise it.

    `noise` is its noise, if it is known. For a network of movies, all `frames` are stacked into one picture.
    """
    chosen = file_model.of(picture, noise)
    model, page.model_name = chosen.model, chosen.name
    if model is not None and model.frames > 1:
        share = 1 / (picture.pixels.shape[2] if model.channels == model.frames else 1)

        def together(stacked: Picture) -> Picture:
            with part_of_work(share):
                return _denoise_parts(model, stacked, page, options, strength, max_memory)

        return denoise_in_time(frames, model, together)
    return _denoise_parts(model, picture, page, options, strength, max_memory)


def _denoise_parts(
    model: Model | None,
    picture: Picture,
    page: DenoisedPage,
    options: DenoiseOptions,
    strength: float,
    max_memory: int | None,
) -> Picture:
    parts = shuffled_down(picture, options.pd)
    share = LEARNING if model is None else 0.0
    with part_of_work(share):
        if model is None:
            denoiser = learn_to_denoise(parts, seconds=options.seconds, threads=options.threads)
        else:
            denoiser = Denoiser(model)
    page.notes += denoiser.notes
    page.learned += denoiser.learned
    denoised = []
    for part in parts:
        with part_of_work((1 - share) * part.pixels.size / picture.pixels.size):
            denoised.append(denoise_picture(denoiser.model, part, strength=strength, max_memory=max_memory))
    whole = shuffled_up(picture, denoised, options.pd)
    if options.learn or options.pd > 1 or options.estimates:
        page.notes += correlation_notes(picture, whole, options.pd)
    return whole
