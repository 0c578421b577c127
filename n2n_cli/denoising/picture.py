"""Denoising: one picture in, the same picture with less noise out."""

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

_BLOCK = 1 << 20  # values that are blended at a time
_ELSE = 100_000_000
"""Bytes that a process takes beside pictures and tiles: Python, NumPy and a network."""

MARGIN = 16
"""Pixels of the mirror image around a picture. At its edge a network sees the zeros that layers pad with, and darkens
flat pictures by up to 5 grey levels there; seen from this far it is nothing, for the founding network and the U-Net."""


def denoise(model: Model | Predictor, pixels: Array) -> Array:
    """Denoise a picture of any size, gray or RGB.

    Parameters
    ----------
    model : Model or Predictor
    pixels : (C, H, W) array
        In [0, 1]. A picture of other channels than the network's is fitted to it: gray goes through an RGB network as
        three equal channels and comes back as their mean; each channel of RGB goes through a gray network by itself.

    Returns
    -------
    (C, H, W) array in [0, 1]

    Raises
    ------
    ShapeError
        When `pixels` has other axes, or `Model.channels` cannot tell what the network takes.
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
    advance: Callable[[float], None] = lambda part: None,
) -> Picture:
    """The same picture with its pixels denoised; depth, alpha and metadata stay.

    Parameters
    ----------
    strength : float
        In [0, 1]: of the denoised picture in a blend with the picture as it is. 0 gives it back bit by bit.
    max_memory : int, optional
        Bytes that the process may take in all; by default as `tiling.apply` says.
    advance : function
        Told, by any thread, what part of the picture was done; all parts add up to 1.

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
    # What is rounded before it is blended is rounded twice: the first time, so finely that it is not seen.
    finer = np.uint16 if pixels.dtype == np.uint8 else np.float32
    denoised = np.empty(pixels.shape, pixels.dtype if strength == 1 else finer)
    rounded = picture.from_unit if strength == 1 else _rounding(denoised.dtype)
    memory = None if max_memory is None else _left(max_memory, pixels.nbytes * 2 + denoised.nbytes)
    source, target = np.moveaxis(pixels, -1, 0), np.moveaxis(denoised, -1, 0)
    try:
        _through(model, source, target, picture.to_unit, rounded, memory, advance)
    except MemoryLimitError as error:
        taken = (pixels.nbytes * 2 + denoised.nbytes + _ELSE) // 10**6
        raise MemoryLimitError(
            f"{(max_memory or 0) // 10**6} MB are too little for this picture",
            taken + error.needed + 1,
            hint="a larger `--max-memory`, or fewer `--threads`",
        ) from None
    return replace(picture, pixels=denoised if strength == 1 else _blend(picture, denoised, strength))


def _left(memory: int, pictures: int) -> int:
    """What is left for tiles of the memory in all: pictures are there as they are decoded, as read, and denoised."""
    return max(0, memory - pictures - _ELSE)


def _as_floats(part: Array) -> Array:
    return part if part.dtype.kind == "f" else to_float(part)


def _rounding(dtype: np.dtype[Any]) -> Callable[[Array], Array]:
    return (lambda y: y) if dtype.kind == "f" else (lambda y: to_integer(y, dtype))


def _blend(picture: Picture, denoised: Array, strength: float) -> Array:
    """`strength` of the denoised (H, W, C), in [0, 1], and the rest of the picture's own pixels, in its depth."""
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
    advance: Callable[[float], None] = lambda part: None,
) -> Array:
    """Fill `out` with `finish` of the denoised `prepare` of `pixels`, (C, H, W) both, a tile at a time."""
    predictor = model.predictor if isinstance(model, Model) else model
    predictor.for_channels(len(pixels)).predict(
        pixels[None], before=prepare, after=finish, out=out[None], memory=memory, margin=MARGIN, advance=advance
    )
    return out
