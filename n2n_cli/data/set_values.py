"""Value transform of a data set, and its pictures as network input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from n2n_cli.data.stack_shots import Shot, ShotReader
from n2n_cli.errors import ArgumentError, ImageError
from n2n_cli.images import Picture, read_picture, upright
from n2n_cli.images.pixels import LUMA, to_float, to_integer
from n2n_cli.nn.functional import Array
from n2n_cli.values.choice import MODES, SAMPLED, values_by_text
from n2n_cli.values.prepared import Prepared
from n2n_cli.values.transform import Values, parse_values


def values_of_set(paths: Sequence[Shot], text: str) -> Values | None:
    """Choose the transform for all pictures of a data set; None for display pictures.

    Noise2Noise needs targets whose noise has zero mean, so measured values are scaled linearly. A variance-stabilising
    transform is used only on request.

    Parameters
    ----------
    paths : sequence of Shot
        Picture files, or pages of stacks; at least one.
    text : str
        `DataConfig.values`.
    """
    return values_of_pictures(_sample(paths), text)


def values_of_pictures(pictures: Iterator[Picture], text: str) -> Values | None:
    """Choose the transform from a sample of the pictures; see `values_of_set`."""
    if text not in MODES:
        return parse_values(text)
    first = next(pictures, None)
    if text == "display" or first is None:
        return None
    values = values_by_text(text, first, pictures)
    if not values.measured:
        return None
    return values if text == "photons" and not values.reason else values.stretched()


def _sample(paths: Sequence[Shot]) -> Iterator[Picture]:
    with ShotReader() as reader:
        for path in paths[:: max(1, len(paths) // SAMPLED)][:SAMPLED]:
            with suppress(ImageError):  # reported when the file is read for use
                yield reader.read(path)


def values_note(values: Values | None) -> tuple[str, ...]:
    """Note for the user about measured values."""
    return () if values is None else (f"values {values.low:.4g} to {values.high:.4g} are scaled to 0 to 1",)


def seen_pixels(label: str, picture: Picture, values: Values | None) -> Array:
    """(H, W, C) pixels: unchanged for display pictures, else transformed floats.

    Values that are not finite, or far outside the set's range, are filled in from their surroundings.

    Raises
    ------
    ImageError
        When a picture with measured values is in a set of display pictures.
    """
    dtype = picture.pixels.dtype
    if values is None:
        if dtype.kind != "f" and dtype not in (np.uint8, np.uint16):
            raise ImageError(
                f"{label} has {dtype} values, unlike the display pictures of the set",
                hint="use pictures of one kind, or `--values linear`",
            )
        if dtype.kind != "f" or np.isfinite(picture.pixels).all():
            return picture.pixels
    return Prepared(picture, values or Values("display")).picture.pixels


def read_pixels(path: Path, channels: int, values: Values | None = None, *, page: int | None = None) -> Array:
    """Read (H, W, channels) upright pixels, converted between gray and RGB.

    Gray of RGB is the luma of ITU-R BT.601.

    Parameters
    ----------
    values : Values, optional
        The transform of measured values.
    page : int, optional
        Page of a file that has several, as in `read_picture`.

    Returns
    -------
    uint8 or uint16 array, or transformed float32 array

    Raises
    ------
    ImageError
        Errors of `read_picture` and `seen_pixels`.
    ArgumentError
        When `channels` is neither 1 nor 3.
    """
    if channels not in (1, 3):
        raise ArgumentError("channels", channels, "1 (gray) or 3 (RGB) to read pictures from image files")
    return with_colours(seen_pixels(f"`{path}`", upright(read_picture(path, page=page)), values), channels)


def with_colours(pixels: Array, channels: int) -> Array:
    """Convert (H, W, C) gray or RGB pixels to gray (1) or RGB (3)."""
    if channels == pixels.shape[2]:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    luma = to_float(pixels) @ LUMA
    return luma if pixels.dtype.kind == "f" else to_integer(luma, pixels.dtype)
