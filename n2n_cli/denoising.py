"""Denoising: one picture in, the same picture with less noise out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from n2n_cli.errors import ShapeError
from n2n_cli.images import Picture
from n2n_cli.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.pixels import to_float, to_integer


def denoise(model: Model, channels: int, pixels: Array) -> Array:
    """Denoise a picture of any size, gray or RGB.

    Parameters
    ----------
    model : Model
    channels : int
        That the model's network takes.
    pixels : (C, H, W) array
        In [0, 1]. A picture of other channels than the network's is fitted to it: gray goes through an RGB network as
        three equal channels and comes back as their mean; each channel of RGB goes through a gray network by itself.

    Returns
    -------
    (C, H, W) array in [0, 1]

    Raises
    ------
    ShapeError
        When `pixels` has other axes.
    """
    if pixels.ndim != 3:
        raise ShapeError(f"a picture has to have the shape (C, H, W), it has {pixels.shape}")
    dtype = pixels.dtype if pixels.dtype.kind == "f" else np.float32
    return _through(model, channels, pixels, np.empty(pixels.shape, dtype), lambda y: np.clip(y, 0, 1))


def denoise_picture(model: Model, channels: int, picture: Picture) -> Picture:
    """The same picture with its pixels denoised; depth, alpha and metadata stay."""
    denoised = np.empty_like(picture.pixels)  # (H, W, C)
    depth = denoised.dtype
    pixels, out = (np.moveaxis(array, -1, 0) for array in (picture.pixels, denoised))
    _through(model, channels, pixels, out, lambda y: to_integer(y, depth))
    return replace(picture, pixels=denoised)


def _through(model: Model, channels: int, pixels: Array, out: Array, finish: Callable[[Array], Array]) -> Array:
    """Fill `out` with what the network makes of `pixels`, both (C, H, W), and `finish` of that, a tile at a time."""
    own = pixels.shape[0]
    spread = own == 1 < channels

    def before(part: Array) -> Array:
        part = to_float(part) if part.dtype.kind != "f" else part
        return np.repeat(part, channels, axis=1) if spread else part

    def after(y: Array) -> Array:
        return finish(y.mean(axis=1, keepdims=True) if spread else y)

    alone = own != channels and not spread  # each channel is a picture by itself
    x, y = (array[:, None] if alone else array[None] for array in (pixels, out))
    model.predict(x, before=before, after=after, out=y)
    return out
