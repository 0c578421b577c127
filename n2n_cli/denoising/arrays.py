"""Denoise NumPy arrays: `from n2n_cli import denoise`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import numpy as np

from n2n_cli.denoising.in_time import times_around
from n2n_cli.denoising.page import denoise_page
from n2n_cli.denoising.tasks import DenoiseOptions
from n2n_cli.denoising.transforms import Transforms
from n2n_cli.errors import ArgumentError, ShapeError
from n2n_cli.images import Picture
from n2n_cli.models.choice import DEFAULT, bundled_models, choose_model
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.values.choice import Mode

_MOST_COLOURS = 4
"""Maximum number of colours of one picture: gray or RGB, with or without alpha."""
_PAGES, _CHANNELS, _COLOURS = "TZQ", "C", "S"


def denoise(
    array: Array,
    model: Model | Path | str | None = None,
    *,
    strength: float = 1.0,
    axes: str | None = None,
    method: Literal["self", "zs-n2n", "adapt"] | None = None,
    pd: int = 1,
    values: Mode = "auto",
) -> Array:
    """Denoise an array of pixels: a picture, a stack, a movie.

    Parameters
    ----------
    array : array of integers of 8 to 32 bits, or of floats
        By default (H, W), or (H, W, S) with at most four colours S: gray, gray with alpha, RGB, RGB with alpha.
    model : Model, path or str, optional
        A model, a checkpoint, or the name of a bundled model. By default the bundled model for photographs.
    strength : float
        Weight of the denoised picture in a blend with the input, from 0 to 1. 0 returns a copy of the input.
    axes : str, optional
        A letter for each axis, such as "TYX": Y and X are height and width; T (time) and Z (depth) count pages, which
        share one transform of their values; C counts channels, each denoised on its own; S are the colours of one
        picture. Alpha is copied.
    method : "self" (or "zs-n2n") or "adapt", optional
        Learn from each page, as `--self` and `--self=adapt`.
    pd : int
        Pixel-shuffle factor for spatially correlated noise, 1 to 4.
    values : "auto", "display", "linear" or "photons"
        Transform between the array's values and what a network sees. Values that are not finite, or far outside all
        others, come back as they are.

    Returns
    -------
    new array of the same shape and dtype

    Raises
    ------
    ShapeError
        When the axes do not fit the array, are not named though they have to be, or there are no pixels.
    ArgumentError
        When the dtype or another argument is not supported.
    CheckpointError
        When the checkpoint cannot be read, or there is no model of that name.
    """
    array = np.asarray(array)
    order = _order(array, axes)
    if array.dtype.kind not in "uif" or array.dtype.itemsize > (8 if array.dtype.kind == "f" else 4):
        raise ArgumentError(
            "array.dtype", str(array.dtype), "integers of 8 to 32 bits, or floats: `array.astype(np.float32)`"
        )
    if not 0 <= strength <= 1:
        raise ArgumentError("strength", strength, "from 0 (the picture as it is) to 1 (denoised)")
    if method not in (None, "self", "zs-n2n", "adapt"):
        raise ArgumentError("method", method, '"self", "zs-n2n", "adapt" or None')
    if pd not in range(1, 5):
        raise ArgumentError("pd", pd, "1 to 4")
    learning = "zs-n2n" if method == "self" else method
    result = array.astype(array.dtype.newbyteorder("="))
    loaded = None
    if learning != "zs-n2n":
        loaded = model if isinstance(model, Model) else _load(model)
    options = DenoiseOptions(strength=strength, learning=learning, pd=pd)
    in_time = 0 if loaded is None or loaded.frames == 1 else loaded.frames
    if in_time and "T" not in (axes or ""):
        raise ArgumentError("axes", axes, f'axes with T: the model takes {in_time} frames of a movie, as of "TYX"')
    times = array.shape[(axes or "").find("T")]
    for stack in _stacks(result.transpose(order), axes):
        pages = [Picture(page.copy() if in_time else page) for page in stack]  # neighbours of a page that is replaced
        transforms = Transforms(partial(_spread, pages[1:]), values, None if loaded is None else loaded.values)
        for number, (page, picture) in enumerate(zip(stack, pages, strict=True)):
            around = _around(number, times, len(pages), in_time) if in_time else []
            frames = [pages[i] for i in around]
            page[...] = denoise_page(loaded, picture, transforms, options, frames=frames).picture.pixels
    return result.astype(array.dtype, copy=False)


def _around(number: int, length: int, pages: int, frames: int) -> list[int]:
    """Numbers of the pages around one in time, the slowest axis of the pages."""
    apart = pages // length
    time, rest = divmod(number, apart)
    return [place * apart + rest for place in times_around(time, length, frames)]


def _order(array: Array, axes: str | None) -> tuple[int, ...]:
    """Order of the axes in which pages and channels come first, then Y, X, and colours."""
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


def _stacks(ordered: Array, axes: str | None) -> Iterator[list[Array]]:
    """Split an ordered array into stacks of (H, W, C) views, without alpha, to write the results into."""
    colours = ordered if "S" in (axes or "YXS"[: ordered.ndim]) else ordered[..., None]
    if colours.shape[-1] in (2, 4):
        colours = colours[..., :-1]
    channels = colours if "C" in (axes or "") else colours[None]
    for channel in channels:
        lead = channel.shape[:-3]
        yield [channel[place] for place in np.ndindex(lead)]


def _spread(pages: list[Picture], most: int, channel: int) -> Iterable[Picture]:
    return pages[:: -max(1, math.ceil(len(pages) / most))]


def _load(named: Path | str | None) -> Model:
    path = bundled_models()[DEFAULT] if named is None else choose_model(str(named)).path
    with suppress(OSError):
        facts = path.stat()
        return _read(path.resolve(), facts.st_mtime_ns, facts.st_size)
    return Model.from_checkpoint(path)  # raises an error that names the cause


@lru_cache(maxsize=2)
def _read(path: Path, changed: int, size: int) -> Model:
    """Read a model, cached until its file changes."""
    return Model.from_checkpoint(path)
