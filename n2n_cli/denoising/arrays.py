"""Denoise NumPy arrays: `from n2n_cli import denoise`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache, lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from n2n_cli.denoising.in_time import times_around
from n2n_cli.denoising.model_choice import EFFORTS, BundledModels, Effort, FileModel, models_for
from n2n_cli.denoising.page import denoise_page
from n2n_cli.denoising.tasks import DenoiseOptions
from n2n_cli.denoising.transforms import Transforms
from n2n_cli.errors import ArgumentError, ShapeError
from n2n_cli.images import Picture
from n2n_cli.images.reading import spread
from n2n_cli.models.choice import choose_model
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.values.choice import SAMPLED, Mode

_MOST_COLOURS = 4
"""Maximum number of colours of one picture: gray or RGB, with or without alpha."""
_PAGES, _CHANNELS, _COLOURS = "TZQ", "C", "S"


@overload
def denoise(
    array: Iterator[Array],
    model: Model | Path | str | None = None,
    *,
    strength: float = 1.0,
    axes: str | None = None,
    method: Literal["self"] | None = None,
    pd: int = 1,
    values: Mode = "auto",
    effort: Effort = "normal",
) -> Iterator[Array]: ...
@overload
def denoise(
    array: ArrayLike,
    model: Model | Path | str | None = None,
    *,
    strength: float = 1.0,
    axes: str | None = None,
    method: Literal["self"] | None = None,
    pd: int = 1,
    values: Mode = "auto",
    effort: Effort = "normal",
) -> Array: ...
def denoise(
    array: ArrayLike | Iterator[Array],
    model: Model | Path | str | None = None,
    *,
    strength: float = 1.0,
    axes: str | None = None,
    method: Literal["self"] | None = None,
    pd: int = 1,
    values: Mode = "auto",
    effort: Effort = "normal",
) -> Array | Iterator[Array]:
    """Denoise an array of pixels: a picture, a stack or a movie.

    An iterator of frames is denoised frame by frame, for movies that do not fit in memory.

    Parameters
    ----------
    array : array of integers of 8 to 32 bits, or of floats; or an iterator of such arrays
        By default (H, W), or (H, W, S) with at most four colours S: gray, gray with alpha, RGB, RGB with alpha. An
        iterator, such as a generator, gives the frames of a movie one by one; the first nine, which are read together,
        decide on the transform of the values of all.
    model : Model, path or str, optional
        A model, a checkpoint, or the name of a bundled model. By default the bundled model for the noise of the array.
    strength : float
        Weight of the denoised picture in a blend with the input, from 0 to 1. 0 returns a copy of the input.
    axes : str, optional
        A letter for each axis of the array, or of each frame, such as "TYX": Y and X are height and width; T (time) and
        Z (depth) count pages, which share one transform of their values; C counts channels, each denoised on its own,
        with a transform of its own; S are the colours of one picture. Alpha is copied.
    method : "self", optional
        Learn from each page alone, without a model, as `--self`.
    pd : int
        Pixel-shuffle factor for spatially correlated noise, 1 to 4.
    values : "auto", "display", "linear" or "photons"
        Transform between the array's values and what a network sees. Values that are not finite, or far outside all
        others, come back as they are.
    effort : "fast", "normal" or "best"
        Without `model`: the default model, the model for the noise, or the latter averaged over flips and rotations.

    Returns
    -------
    new array of the same shape and dtype; for an iterator, an iterator of such arrays

    Raises
    ------
    ShapeError
        When the axes do not fit the array, or are needed but not named, or the array is empty.
    ArgumentError
        When the dtype or another argument is not supported.
    CheckpointError
        When the checkpoint cannot be read, or there is no model of that name.
    """
    if not 0 <= strength <= 1:
        raise ArgumentError("strength", strength, "from 0 (the picture as it is) to 1 (denoised)")
    if method not in (None, "self"):
        raise ArgumentError("method", method, '"self" or None')
    if pd not in range(1, 5):
        raise ArgumentError("pd", pd, "1 to 4")
    if effort not in EFFORTS:
        raise ArgumentError("effort", effort, ", ".join(f'"{one}"' for one in EFFORTS))
    frames = array if isinstance(array, Iterator) else iter([_checked(array, axes)])
    models: Model | BundledModels | None = None
    if method is None:
        models = model if isinstance(model, Model) else _bundled(effort) if model is None else _load(model)
    if isinstance(models, Model) and models.frames > 1 and "T" not in (axes or ""):
        raise ArgumentError(
            "axes", axes, f'axes with T: the model takes {models.frames} frames of a movie, as of "TYX"'
        )
    options = DenoiseOptions(strength=strength, learn=method is not None, pd=pd)
    denoised = _denoised(frames, models, options, axes, values)
    return denoised if isinstance(array, Iterator) else next(denoised)


def _denoised(
    frames: Iterator[Array],
    models: Model | BundledModels | None,
    options: DenoiseOptions,
    axes: str | None,
    values: Mode,
) -> Iterator[Array]:
    model = models if isinstance(models, Model) else None
    in_time = model is not None and model.frames > 1
    first = [_checked(frame, axes) for frame in islice(frames, 1 + SAMPLED)]
    transforms: list[Transforms] = []  # of each channel
    file_models: list[FileModel] = []  # likewise
    for frame in chain(first, frames):
        array = _checked(frame, axes)
        result = _native(array, copy=True)
        for channel, own in enumerate(_stacks(result, axes)):
            if channel == len(transforms):
                samples = (list(_stacks(_native(one, copy=False), axes))[channel] for one in first)
                pages = [Picture(page) for stack in samples for page in stack]
                trained = None if model is None else model.values
                transforms.append(Transforms(partial(_spread, pages), values, trained))
                file_models.append(FileModel(models))
            pictures = [Picture(page.copy() if in_time else page) for page in own]  # neighbours need the noisy pages
            for number, (page, picture) in enumerate(zip(own, pictures, strict=True)):
                seen = _around(number, pictures, array, axes, model.frames) if model is not None and in_time else []
                done = denoise_page(file_models[channel], picture, transforms[channel], options, frames=seen)
                page[...] = done.picture.pixels
        yield result.astype(array.dtype, copy=False)


def _checked(array: ArrayLike, axes: str | None) -> Array:
    found = np.asarray(array)
    _order(found, axes)
    if found.dtype.kind not in "uif" or found.dtype.itemsize > (8 if found.dtype.kind == "f" else 4):
        raise ArgumentError(
            "array.dtype", str(found.dtype), "integers of 8 to 32 bits, or floats: `array.astype(np.float32)`"
        )
    return found


def _native(array: Array, *, copy: bool) -> Array:
    """An array in the byte order of this machine."""
    return array.astype(array.dtype.newbyteorder("="), copy=copy)


def _around(number: int, pages: list[Picture], array: Array, axes: str | None, frames: int) -> list[Picture]:
    """Pages around a page in time.

    Time is the slowest axis of the pages.
    """
    length = array.shape[(axes or "").index("T")]
    apart = len(pages) // length
    time, rest = divmod(number, apart)
    return [pages[place * apart + rest] for place in times_around(time, length, frames)]


def _order(array: Array, axes: str | None) -> tuple[int, ...]:
    """Order of the axes: channels, pages, Y, X, colours."""
    if axes is None:
        if array.ndim == 3 and array.shape[2] <= _MOST_COLOURS and 0 not in array.shape:
            return 0, 1, 2
        if array.ndim == 2 and 0 not in array.shape:
            return 0, 1
        raise ShapeError(
            f"`denoise` got an array of shape {array.shape}; without `axes` it needs (H, W), or (H, W, S) with up to "
            f"{_MOST_COLOURS} colours",
            hint='name the axes: `axes="TYX"` for a movie or stack, "CYX" for channels, "TYXS" for pages in colour',
        )
    known = _CHANNELS + _PAGES + "YX" + _COLOURS
    if sorted(axes) != sorted(set(axes)) or not {"Y", "X"} <= set(axes) <= set(known):
        raise ArgumentError("axes", axes, f'different letters of "{known}", with Y and X: "TYX" for a movie')
    if len(axes) != array.ndim or 0 in array.shape:
        raise ShapeError(f"`denoise` got an array of shape {array.shape}, whose axes cannot be {axes}")
    if "S" in axes and array.shape[axes.index("S")] > _MOST_COLOURS:
        raise ShapeError(
            f"{array.shape[axes.index('S')]} colours are too many", hint="C is the letter for channels of any kind"
        )
    return tuple(axes.index(letter) for letter in known if letter in axes)


def _stacks(array: Array, axes: str | None) -> Iterator[list[Array]]:
    """Split an array into the stacks of its channels, without alpha.

    The pages are (H, W, C) views, which the results are written into.
    """
    ordered = array.transpose(_order(array, axes))
    colours = ordered if "S" in (axes or "YXS"[: ordered.ndim]) else ordered[..., None]
    if colours.shape[-1] in (2, 4):
        colours = colours[..., :-1]
    channels = colours if "C" in (axes or "") else colours[None]
    for channel in channels:
        lead = channel.shape[:-3]
        yield [channel[place] for place in np.ndindex(lead)]


def _spread(pages: list[Picture], most: int, channel: int) -> Iterable[Picture]:
    return spread(pages, most)


@cache
def _bundled(effort: Effort) -> Model | BundledModels:
    return models_for(effort)


def _load(named: Path | str) -> Model:
    path = choose_model(str(named)).path
    with suppress(OSError):
        facts = path.stat()
        return _read(path.resolve(), facts.st_mtime_ns, facts.st_size)
    return Model.from_checkpoint(path)  # raises an error that names the cause


@lru_cache(maxsize=2)
def _read(path: Path, changed: int, size: int) -> Model:
    """Read a model, cached until its file changes."""
    return Model.from_checkpoint(path)
