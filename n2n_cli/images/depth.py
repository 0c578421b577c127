"""Interpretation of a TIFF page's channels: colours, alpha, value range."""

from __future__ import annotations

import numpy as np

from n2n_cli.errors import ImageError
from n2n_cli.images.picture import Metadata, Picture
from n2n_cli.images.tiff import pages as tags
from n2n_cli.images.tiff.blocks import decoded
from n2n_cli.images.tiff.pages import Page
from n2n_cli.images.tiff.pixels import Layout, decode
from n2n_cli.nn.functional import Array

_WHITE_IS_ZERO, _RGB = 0, 2
_UNKNOWN, _ASSOCIATED, _UNASSOCIATED = 0, 1, 2  # of the tag ExtraSamples


def read_tiff_page(label: str, page: Page, layout: Layout, metadata: Metadata, notes: tuple[str, ...]) -> Picture:
    """Read a page of gray or RGB pixels.

    Raises
    ------
    ImageError
        When it has channels of unknown meaning, or values that are not finite.
    ValueError, OSError
        When the page is damaged.
    """
    colours = 3 if page.integer(tags.PHOTOMETRIC, 0) == _RGB else 1
    extra = page.integers(tags.EXTRA_SAMPLES)
    if colours == 3 and layout.samples == 4 and not extra:
        extra = (_UNASSOCIATED,)  # as old programs wrote RGBA
    known = [(), (_ASSOCIATED,), (_UNASSOCIATED,), *([(_UNKNOWN,)] if colours == 3 else [])]
    if layout.samples != colours + len(extra) or extra not in known:
        raise ImageError(
            f"{label} has {layout.samples} channels per pixel; only gray or RGB with or without alpha are read",
            hint="save each channel as a picture, or as a page, of its own",
        )
    pixels, blocks = decoded(page, lambda blocks: decode(page, layout, blocks))
    pixels, noted = _plain_type(pixels)
    notes += blocks.notes + noted
    if page.integer(tags.PHOTOMETRIC, 0) == _WHITE_IS_ZERO:
        if pixels.dtype.kind != "u":
            raise ImageError(
                f"{label} has {pixels.dtype} pixels where white is zero", hint="save it with black as zero"
            )
        pixels[..., 0] = ~pixels[..., 0]
    check_finite(label, pixels)
    alpha = pixels[..., -1] if extra in ((_ASSOCIATED,), (_UNASSOCIATED,)) else None
    pixels = pixels[..., :colours]
    if extra == (_UNKNOWN,):
        notes += ("its fourth channel, whose meaning is not stated, was left out",)
    if alpha is not None and extra == (_ASSOCIATED,):
        pixels = _divided(pixels, alpha)
        notes += ("its colours were divided by its alpha, which had been multiplied in",)
    pixels, alpha = np.ascontiguousarray(pixels), None if alpha is None else np.ascontiguousarray(alpha)
    value_range, noted = range_of(pixels)
    return Picture(pixels, alpha, metadata, notes + noted, value_range, format="TIFF")


def _plain_type(pixels: Array) -> tuple[Array, tuple[str, ...]]:
    """Convert floats of 16 or 64 bits to 32 bits."""
    if pixels.dtype.kind != "f" or pixels.itemsize == 4:
        return pixels, ()
    with np.errstate(over="ignore"):
        narrow = pixels.astype(np.float32)
    return narrow, (f"its {8 * pixels.itemsize}-bit floats became 32-bit floats",)


def check_finite(label: str, pixels: Array) -> None:
    """Refuse values that are not finite.

    Raises
    ------
    ImageError
        With the number of such values.
    """
    if pixels.dtype.kind == "f" and (count := pixels.size - np.count_nonzero(np.isfinite(pixels))):
        raise ImageError(
            f"{label} holds {count:,} values that are not numbers (NaN) or infinite",
            hint="replace them first, for example each by the median of its neighbours",
        )


def range_of(pixels: Array) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """`Picture.value_range` of pixels, and a note when it is not the default."""
    if pixels.dtype in (np.uint8, np.uint16):
        return None, ()
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype.kind == "f" and low >= 0 and high <= 1:
        return None, ()
    return (low, high), (f"its values, {low:.6g} to {high:.6g}, are 0 to 1 for the network",)


def _divided(pixels: Array, alpha: Array) -> Array:
    """Divide premultiplied colours by alpha; fully transparent pixels become 0."""
    whole = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
    share = alpha[..., None].astype(np.float64)
    colours = np.divide(pixels * float(whole), share, out=np.zeros(pixels.shape), where=share > 0)
    if pixels.dtype.kind in "iu":
        colours = np.clip(np.rint(colours), 0, whole)
    return colours.astype(pixels.dtype)
