"""Denoise NumPy arrays: `from n2n_cli import denoise`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np

from n2n_cli.denoising.picture import denoise_picture
from n2n_cli.errors import ArgumentError, ShapeError
from n2n_cli.images import Picture
from n2n_cli.images.depth import check_finite, range_of
from n2n_cli.images.pixels import from_unit, to_unit
from n2n_cli.models.choice import DEFAULT, bundled_models, choose_model
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array

_MOST_CHANNELS = 4
"""Maximum number of channels of one picture: gray or RGB, with or without alpha."""


def denoise(array: Array, model: Model | Path | str | None = None, *, strength: float = 1.0) -> Array:
    """Denoise an array of pixels; each channel separately when it has more than four.

    Parameters
    ----------
    array : (H, W) or (H, W, C) array of uint8, uint16 or floats
        Gray; gray with alpha (C = 2), RGB, RGB with alpha (C = 4); or five and more channels of any kind. Alpha is
        copied. Floats should be in [0, 1]; if any is outside, the range from the lowest to the highest value is mapped
        to [0, 1] for the network.
    model : Model, path or str, optional
        A model, a checkpoint, or the name of a bundled model. By default the bundled model for photographs.
    strength : float
        Weight of the denoised picture in a blend with the input, from 0 to 1. 0 returns a copy of the input.

    Returns
    -------
    new array of the same shape and dtype

    Raises
    ------
    ShapeError
        When the array has other axes, or no pixels.
    ArgumentError
        When the dtype or `strength` is not supported.
    ImageError
        When the array holds values that are not finite.
    CheckpointError
        When the checkpoint cannot be read, or there is no model of that name.
    """
    array = np.asarray(array)
    _check(array)
    check_finite("the array", array)
    if not 0 <= strength <= 1:
        raise ArgumentError("strength", strength, "from 0 (the picture as it is) to 1 (denoised)")
    loaded = model if isinstance(model, Model) else _load(model)
    result = array.copy()
    pixels = result if array.ndim == 3 else result[:, :, None]  # (H, W, C)
    if strength:
        for part in _pictures(pixels):
            part[...] = _denoised(loaded, part, strength)
    return result


def _denoised(model: Model, pixels: Array, strength: float) -> Array:
    """Denoise the (H, W, C) pixels of one picture, gray or RGB."""
    if pixels.dtype.kind == "u":
        picture = Picture(pixels.astype(pixels.dtype.newbyteorder("=")))
        return denoise_picture(model, picture, strength=strength).pixels
    # Scale to [0, 1] in the array's own precision: far from zero, float32 has too few digits.
    low, high = range_of(pixels)[0] or (0, 1)
    picture = Picture(to_unit(pixels, low, high))
    return from_unit(denoise_picture(model, picture, strength=strength).pixels, low, high, pixels.dtype)


def _pictures(pixels: Array) -> Iterator[Array]:
    """Split (H, W, C) pixels into views to denoise separately: gray or RGB, no alpha."""
    channels = pixels.shape[2]
    if channels in (2, 4):
        pixels = pixels[:, :, :-1]
    if channels <= _MOST_CHANNELS:
        yield pixels
    else:
        yield from (pixels[:, :, i : i + 1] for i in range(channels))


def _check(array: Array) -> None:
    if array.dtype.kind != "f" and not (array.dtype.kind == "u" and array.dtype.itemsize <= 2):
        raise ArgumentError(
            "array.dtype", str(array.dtype), "uint8, uint16 or one of floats: `array.astype(np.float32)`"
        )
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ShapeError(
            f"`denoise` got an array of shape {array.shape}, it needs (H, W) or (H, W, C)",
            hint="denoise several pictures one by one: `[denoise(picture) for picture in pictures]`",
        )
    if array.ndim == 3 and array.shape[0] <= _MOST_CHANNELS < array.shape[2]:
        raise ShapeError(
            f"`denoise` got an array of shape {array.shape}, whose channels seem to stand first; it needs (H, W, C)",
            hint="move them: `np.moveaxis(array, 0, -1)`",
        )


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
