"""Rotation of stored pictures to upright.

Files are read and written as stored, with the orientation in the metadata. Code that displays or compares pictures
rotates them upright first.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from n2n_cli.images import exif
from n2n_cli.images.picture import Metadata, Picture
from n2n_cli.images.pixels import flip_rotate
from n2n_cli.images.tiff.entries import SHORT

_VARIANTS = (0, 2, 3, 1, 4, 5, 7, 6)
"""Variants of `flip_rotate` that make a picture upright, indexed by orientation - 1."""


def orientation_of(metadata: Metadata) -> int:
    """EXIF orientation, from 1 (upright) to 8; 1 if unknown."""
    return exif.orientation(metadata["exif"]) if "exif" in metadata else 1


def upright(picture: Picture) -> Picture:
    """Rotate and flip a picture to upright, by its orientation."""
    orientation = orientation_of(picture.metadata)
    if orientation == 1:
        return picture
    metadata, variant = picture.metadata.copy(), _VARIANTS[orientation - 1]
    metadata["exif"] = exif.with_entries(metadata["exif"], {exif.ORIENTATION: (SHORT, (1,))})
    if "xmp" in metadata:
        metadata["xmp"] = exif.upright_xmp(metadata["xmp"])
    if orientation > 4 and "dpi" in metadata:
        metadata["dpi"] = metadata["dpi"][::-1]
    if orientation > 4 and "aspect" in metadata:
        metadata["aspect"] = metadata["aspect"][::-1]
    pixels = np.ascontiguousarray(flip_rotate(picture.pixels, variant))
    alpha = None if picture.alpha is None else np.ascontiguousarray(flip_rotate(picture.alpha, variant))
    return replace(picture, pixels=pixels, alpha=alpha, metadata=metadata)
