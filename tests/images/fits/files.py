"""FITS files written by astropy, shared by several tests."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from astropy.io import fits

from n2n_cli.nn.functional import Array


def scene(seed: int = 0, height: int = 24, width: int = 30) -> Array:
    """Counts of stars on a sky background."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    clean = np.full((height, width), 40.0)
    for _ in range(6):
        y, x, flux = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(200, 3000)
        clean += flux / 12 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 4)
    counts: Array = rng.poisson(clean)
    return counts


def with_hole(pixels: Array, value: float) -> Array:
    """Pixels with a border of another value."""
    holed = pixels.copy()
    holed[..., :2, :] = value
    return holed


def header(**cards: Any) -> fits.Header:
    made = fits.Header()
    for key, value in cards.items():
        made[key] = value
    return made


def scaled(pixels: Array, **cards: Any) -> fits.ImageHDU:
    """Image of integers with cards such as BSCALE, stored without applying them."""
    hdu = fits.ImageHDU(pixels, do_not_scale_image_data=True)
    hdu.header.update(cards)
    return hdu


def table() -> fits.BinTableHDU:
    rows = np.array([(1, "first"), (2, "second")], dtype=[("number", ">i4"), ("name", "S8")])
    return fits.BinTableHDU(rows, name="SOURCES")


def saved(*hdus: Any, checksum: bool = False) -> bytes:
    """FITS file of the given units.

    An empty primary unit is added unless the first one is primary.
    """
    file = io.BytesIO()
    first = [] if isinstance(hdus[0], fits.PrimaryHDU) else [fits.PrimaryHDU(header=header(TELESCOP="small"))]
    fits.HDUList([*first, *hdus]).writeto(file, checksum=checksum, output_verify="ignore")
    return file.getvalue()


def opened(data: bytes, **options: Any) -> fits.HDUList:
    """Open a file with astropy.

    Astropy warns of wrong checksums and damage, and tests treat warnings as errors.
    """
    return fits.open(io.BytesIO(data), checksum=True, **options)


COUNTS = scene()
FLOATS = with_hole(COUNTS.astype(np.float32) / 3 - 5, np.nan)
IMAGES: dict[str, Any] = {
    "8 bits": lambda: fits.ImageHDU(np.minimum(COUNTS, 255).astype(np.uint8)),
    "16 bits": lambda: fits.ImageHDU((COUNTS - 50).astype(np.int16)),
    "16 bits unsigned": lambda: fits.ImageHDU((COUNTS + 33_000).astype(np.uint16)),
    "32 bits": lambda: fits.ImageHDU(COUNTS.astype(np.int32) * -100_000),
    "32 bits unsigned": lambda: fits.ImageHDU(COUNTS.astype(np.uint32) + np.uint32(2**31)),
    "8 bits signed": lambda: fits.ImageHDU((np.minimum(COUNTS, 250) - 125).astype(np.int8)),
    "64 bits": lambda: fits.ImageHDU(COUNTS.astype(np.int64) * 2**32),
    "floats": lambda: fits.ImageHDU(FLOATS),
    "long floats": lambda: fits.ImageHDU(FLOATS.astype(np.float64)),
    "BLANK": lambda: scaled(with_hole(COUNTS, -32768).astype(np.int16), BLANK=-32768),
    "BSCALE": lambda: scaled(with_hole(COUNTS, 7).astype(np.int16), BSCALE=0.25, BZERO=-3.5, BLANK=7),
    "scaled floats": lambda: scaled(FLOATS, BSCALE=0.5, BZERO=10.0),
    "cube": lambda: fits.ImageHDU(np.stack([scene(seed) for seed in range(5)]).astype(np.uint16)),
    "four axes": lambda: fits.ImageHDU(np.stack([scene(seed) for seed in range(6)]).reshape(2, 3, 24, 30) / 2),
    "compressed": lambda: fits.CompImageHDU((COUNTS + 33_000).astype(np.uint16)),
    "compressed cube": lambda: fits.CompImageHDU(
        np.stack([scene(seed) for seed in range(3)]).astype(np.int32), compression_type="RICE_1", tile_shape=(2, 10, 30)
    ),
    "HCOMPRESS": lambda: fits.CompImageHDU(
        COUNTS.astype(np.int32), compression_type="HCOMPRESS_1", tile_shape=(12, 15)
    ),
    "PLIO": lambda: fits.CompImageHDU(COUNTS.astype(np.int16), compression_type="PLIO_1"),
    "GZIP": lambda: fits.CompImageHDU(FLOATS, compression_type="GZIP_1", quantize_level=0.0),
    "compressed floats": lambda: fits.CompImageHDU(FLOATS, compression_type="RICE_1", quantize_level=16.0),
}
"""Image extensions of all kinds, by name."""
