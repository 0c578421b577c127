"""Denoise a picture in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from n2n_cli.errors import ArgumentError, MemoryLimitError, ShapeError
from n2n_cli.images import Picture
from n2n_cli.images.pixels import to_float, to_integer
from n2n_cli.models.model import Model
from n2n_cli.models.predictor import Predictor
from n2n_cli.nn.functional import Array
from n2n_cli.system.progress import advance
from n2n_cli.values.prepared import keep_dark_means

_BLOCK = 1 << 20  # values blended at a time
_BASE_MEMORY = 100_000_000
"""Memory of the process beside pictures and tiles, in bytes: Python, NumPy and a network."""

MARGIN = 16
"""Mirror padding around a picture, in pixels. Without it, the zero padding inside a network darkens the edges of flat
pictures by up to 5 grey levels; with it, the effect of the founding network and of the U-Net vanishes."""


def denoise(model: Model | Predictor, pixels: Array) -> Array:
    """Denoise a picture of any size, gray or RGB.

    Parameters
    ----------
    model : Model or Predictor
    pixels : (C, H, W) array
        In [0, 1]. An RGB network denoises gray as three equal channels, of which the mean is returned; a gray network
        denoises each channel of RGB separately.

    Returns
    -------
    (C, H, W) array in [0, 1]

    Raises
    ------
    ShapeError
        When `pixels` has other axes, or the model's number of channels is unknown.
    """
    if pixels.ndim != 3:
        raise ShapeError(f"a picture has to have the shape (C, H, W), it has {pixels.shape}")
    dtype = pixels.dtype if pixels.dtype.kind == "f" else np.float32
    out = np.empty(pixels.shape, dtype)
    return _through(model, pixels, out, _as_floats, lambda y: np.clip(y, 0, 1))


def denoise_picture(
    model: Model | Predictor,
    picture: Picture,
    *,
    strength: float = 1,
    max_memory: int | None = None,
) -> Picture:
    """Denoise the pixels of a display picture; its depth, alpha and metadata stay.

    The mean of dark areas is kept. Floats are not clipped.

    Parameters
    ----------
    model : Model
    picture : Picture
        Of uint8, uint16, or floats from about 0 to 1; see `values` for others.
    strength : float
        Weight of the denoised picture in a blend with the input, from 0 to 1. 0 returns the input unchanged.
    max_memory : int, optional
        Maximum memory of the process, in bytes; by default as in `tiling.apply`.

    Raises
    ------
    ArgumentError
        When `strength` is outside its range.
    MemoryLimitError
        When the memory is too little for the picture.
    """
    if not 0 <= strength <= 1:
        raise ArgumentError("strength", strength, "from 0 (the picture as it is) to 1 (denoised)")
    if strength == 0:
        advance(1)
        return picture
    pixels = picture.pixels  # (H, W, C)
    # A blend is rounded twice, before and after blending; the first time, finely enough not to be seen.
    finer = np.uint16 if pixels.dtype == np.uint8 else np.float32
    denoised = np.empty(pixels.shape, pixels.dtype if strength == 1 else finer)
    rounded = picture.from_unit if strength == 1 else _rounding(denoised.dtype)
    fixed = pixels.nbytes * 2 + denoised.nbytes + _BASE_MEMORY  # the input twice: as decoded, and as read
    memory = None if max_memory is None else max(0, max_memory - fixed)
    source, target = np.moveaxis(pixels, -1, 0), np.moveaxis(denoised, -1, 0)
    try:
        _through(model, source, target, picture.to_unit, rounded, memory)
    except MemoryLimitError as error:
        raise MemoryLimitError(
            f"{(max_memory or 0) // 10**6} MB are too little for this picture",
            fixed // 10**6 + error.needed + 1,
            hint="a larger `--max-memory`, or fewer `--threads`",
        ) from None
    result = denoised if strength == 1 else _blend(picture, denoised, strength)
    if result.dtype.kind == "u":
        keep_dark_means(pixels, result)
    return replace(picture, pixels=result)


def _as_floats(part: Array) -> Array:
    return part if part.dtype.kind == "f" else to_float(part)


def _rounding(dtype: np.dtype[Any]) -> Callable[[Array], Array]:
    return (lambda y: y) if dtype.kind == "f" else (lambda y: to_integer(y, dtype))


def _blend(picture: Picture, denoised: Array, strength: float) -> Array:
    """Blend (H, W, C) denoised pixels with the picture's own, in the picture's depth."""
    blended = np.empty_like(picture.pixels)
    rows = max(1, _BLOCK // max(1, denoised[0].size))
    for start in range(0, len(denoised), rows):
        part = slice(start, start + rows)
        mixed = np.float32(strength) * to_float(denoised[part])
        mixed += np.float32(1 - strength) * picture.to_unit(picture.pixels[part])
        blended[part] = picture.from_unit(mixed)
    return blended


def _through(
    model: Model | Predictor,
    pixels: Array,
    out: Array,
    prepare: Callable[[Array], Array],
    finish: Callable[[Array], Array],
    memory: int | None = None,
) -> Array:
    """Denoise (C, H, W) `pixels` into `out`.

    `prepare` converts a tile to floats in [0, 1], `finish` converts it back.
    """
    predictor = model.predictor if isinstance(model, Model) else model
    predictor.for_channels(len(pixels)).predict(
        pixels[None], before=prepare, after=finish, out=out[None], memory=memory, margin=MARGIN
    )
    return out
