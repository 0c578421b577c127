"""Interpretation of a TIFF page's channels: colours, alpha, missing data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from n2n_cli.errors import ImageError
from n2n_cli.images.picture import ALPHA, ASSOCIATED, UNASSOCIATED, Metadata, Picture
from n2n_cli.images.tiff import pages as tags
from n2n_cli.images.tiff.blocks import decoded
from n2n_cli.images.tiff.pages import Page
from n2n_cli.images.tiff.pixels import Layout, decode
from n2n_cli.nn.functional import Array

_WHITE_IS_ZERO, _RGB = 0, 2
_UNKNOWN = 0  # value of the tag ExtraSamples
_GDAL_NODATA = 42113


def read_tiff_page(label: str, page: Page, layout: Layout, metadata: Metadata, notes: tuple[str, ...]) -> Picture:
    """Read a page of gray or RGB pixels.

    Raises
    ------
    ImageError
        When the page has too few channels for its colours.
    ValueError, OSError
        When the page is damaged.
    """
    colours = 3 if page.integer(tags.PHOTOMETRIC, 0) == _RGB else 1
    extra = page.integers(tags.EXTRA_SAMPLES)
    if colours == 3 and layout.samples == 4 and not extra:
        extra = (UNASSOCIATED,)  # old programs wrote RGBA without this tag
    others = layout.samples - colours
    if others < 0:
        few = f"{label} has {layout.samples} channels per pixel, RGB has 3"
        raise ImageError(few, hint="save it again as gray or RGB")
    extra = (*extra, *[_UNKNOWN] * others)[:others]
    pixels, blocks = decoded(page, lambda blocks: decode(page, layout, blocks))
    notes += blocks.notes
    if page.integer(tags.PHOTOMETRIC, 0) == _WHITE_IS_ZERO:
        if pixels.dtype.kind != "u":
            raise ImageError(
                f"{label} has {pixels.dtype} pixels where white is zero", hint="save it with black as zero"
            )
        pixels[..., 0] = ~pixels[..., 0]
    alpha = None
    if len(extra) == 1 and extra[0] in ALPHA:
        pixels, alpha = pixels[..., :colours], pixels[..., -1]
    if alpha is not None and extra == (ASSOCIATED,):
        pixels = _divided(pixels, alpha)
        notes += ("its premultiplied colours were divided by its alpha",)
    pixels, alpha = np.ascontiguousarray(pixels), None if alpha is None else np.ascontiguousarray(alpha)
    extra = extra if alpha is None else ()
    return Picture(pixels, alpha, metadata, notes, _nodata(page), format="TIFF", extra=extra)


def colours_alone(label: str, picture: Picture) -> Picture:
    """Remove a fourth channel of unknown meaning from a picture.

    Raises
    ------
    ImageError
        When it has other channels besides gray or RGB.
    """
    if not picture.extra:
        return picture
    channels = picture.pixels.shape[2]
    if channels != 4 or len(picture.extra) > 1:
        raise ImageError(
            f"{label} has {channels} channels per pixel; only gray or RGB with or without alpha are read",
            hint="save each channel as a separate picture or page",
        )
    note = "its fourth channel, whose meaning is not stated, was left out"
    pixels = np.ascontiguousarray(picture.pixels[..., :3])
    return replace(picture, pixels=pixels, extra=(), notes=(*picture.notes, note))


def _nodata(page: Page) -> float | None:
    """Read the value that stands for missing data from GDAL's tag."""
    try:
        return float(str(page.tags.get(_GDAL_NODATA, "")).strip(" \0"))
    except ValueError:  # no such tag, or not a number
        return None


def _divided(pixels: Array, alpha: Array) -> Array:
    """Divide premultiplied colours by alpha; fully transparent pixels become 0."""
    whole = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
    share = alpha[..., None].astype(np.float64)
    colours = np.divide(pixels * float(whole), share, out=np.zeros(pixels.shape), where=share > 0)
    if pixels.dtype.kind in "iu":
        colours = np.clip(np.rint(colours), 0, whole)
    return colours.astype(pixels.dtype)
