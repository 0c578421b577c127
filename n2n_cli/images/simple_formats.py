"""Reading of JPEG, WebP and BMP files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import BinaryIO

from PIL import Image

from n2n_cli.errors import ImageError
from n2n_cli.images import jpeg_repair, pillow
from n2n_cli.images.kinds import format_of_file
from n2n_cli.images.picture import Picture
from n2n_cli.images.sources import Limits, check_size, without_warnings


def read_simple(file: BinaryIO, label: str, limits: Limits) -> Picture:
    """Read a JPEG, WebP or BMP.

    Raises errors of `reading.read_picture` or of the decoders.
    """
    with without_warnings(), opened_image(file, label, limits) as (image, whole, notes):
        metadata, noted = pillow.read_metadata(image, whole)
        notes += noted
        if (frames := getattr(image, "n_frames", 1)) > 1:
            notes += (f"only the first of its {frames} views was read",)
        picture = pillow.picture_of(label, image, metadata, notes)
        return replace(picture, lossless=False) if image.format == "WEBP" and _is_lossy_webp(file) else picture


@contextmanager
def opened_image(
    file: BinaryIO, label: str, limits: Limits, *, load: bool = True
) -> Iterator[tuple[Image.Image, BinaryIO, tuple[str, ...]]]:
    """Open a JPEG, WebP or BMP and, with `load`, decode it.

    Yields
    ------
    The image, the file, and notes on data left out of a JPEG.
    """
    whole, notes = file, tuple[str, ...]()
    try:
        image = _opened_image(file, label, limits, load=load)
    except ImageError:
        raise
    except Exception:
        if format_of_file(file) != "JPEG":
            raise
        if (kind := jpeg_repair.unsupported_kind(file)) is not None:
            raise ImageError(f"{label} is {kind}, which is not supported", hint="save it as PNG or TIFF") from None
        with suppress(ValueError):
            whole, damaged = jpeg_repair.without_damage(file)
        if whole is file:
            raise
        image = _opened_image(whole, label, limits, load=load)
        notes = tuple(dict.fromkeys(f"its {name} is damaged and was left out" for name in damaged))
    with image:
        yield image, whole, notes


def _opened_image(file: BinaryIO, label: str, limits: Limits, *, load: bool) -> Image.Image:
    file.seek(0)
    image = Image.open(file, formats=["JPEG", "WEBP", "BMP"])
    check_size(label, image.height, image.width, limits, pixel_bytes=len(image.getbands()))
    if load and image.format != "MPO":
        refuse_animation(label, getattr(image, "n_frames", 1))
    if load:
        image.load()
    return image


def _is_lossy_webp(file: BinaryIO) -> bool:
    """True if the first picture is compressed as VP8 (lossy), not as VP8L (lossless)."""
    at, name = 12, b""
    while name not in (b"VP8 ", b"VP8L"):
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        at += 8 + length + length % 2
    return name == b"VP8 "


def refuse_animation(label: str, frames: int) -> None:
    """Refuse a picture of several frames.

    Raises
    ------
    ImageError
        When there is more than one frame.
    """
    if frames > 1:
        raise ImageError(
            f"{label} is animated, it has {frames} frames; only single pictures are read",
            hint="save the frames as separate pictures",
        )
