"""Reading of the pages of a FITS file as pictures."""

from __future__ import annotations

import bisect
import io
import itertools
from collections import Counter
from typing import BinaryIO

import numpy as np

from n2n_cli.errors import ImageError, listed
from n2n_cli.images.axes import Axis, Description
from n2n_cli.images.extras import imported
from n2n_cli.images.fits.compressed import TileReader, check_layout, is_lossy
from n2n_cli.images.fits.hdus import Image, StoredPage, image_of, is_no_picture, read_hdus
from n2n_cli.images.picture import Metadata, Part, Picture
from n2n_cli.images.sources import Limits, check_size
from n2n_cli.nn.functional import Array

_TIMES = ("", "TIME", "UTC", "TAI", "TT", "TDB", "FRAME", "PIXEL")
"""CTYPE values of a time axis; an axis without CTYPE counts as time, too."""


class FitsPages:
    """The pages of a FITS file: all images of two or more axes, page by page.

    Parameters
    ----------
    file : BinaryIO
    label : str
        Name of the file in messages.
    limits : Limits

    Raises
    ------
    ImageError
        When astropy is not installed, or the file holds no image.
    ValueError
        When the file is damaged.
    """

    def __init__(self, file: BinaryIO, label: str, limits: Limits) -> None:
        self._file, self._label, self._limits = file, label, limits
        self._fits = imported("astropy.io.fits", "fits", label, "a FITS file")
        hdus = read_hdus(self._fits, file)
        self._hdus = hdus
        found = [image for hdu in hdus if (image := image_of(hdu)) is not None]
        self._images = [image for image in found if not is_no_picture(image.hdu)]
        self._left = [image.hdu.name for image in found if is_no_picture(image.hdu)]
        if not self._images:
            others = Counter(hdu.name for hdu in hdus if hdu.kind or hdu.size)
            holds = listed([f"{name} ({count})" if count > 1 else name for name, count in others.items()])
            raise ImageError(
                f"{label} holds no image of two axes to denoise" + (f", but {holds}" if holds else ""),
                hint="spectra, tables, flags, errors and weights are not denoised",
            )
        for image in self._images:
            if image.is_compressed:
                check_layout(image, label, limits)
        self._ends = list(itertools.accumulate(image.pages for image in self._images))
        self._tiles: tuple[Image, TileReader] | None = None

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of the first page."""
        return self._images[0].size

    def is_reduced(self, number: int) -> bool:
        """Return False: no image is a smaller version of another."""
        return False

    @property
    def description(self) -> Description:
        """Description of the pages.

        Several images count as channels. The page axis of a single image is T (time) or Z, by its CTYPE card.
        """
        first = self._images[0]
        sizes = [size for size in first.axes[:-2] if size > 1]
        if len(self._images) > 1:
            names, counts = zip(*((image.hdu.name, image.pages) for image in self._images), strict=True)
            axes = (Axis("C", len(counts)), *([Axis("T", counts[0])] if counts[0] > 1 else []))
            return Description(axes if len(set(counts)) == 1 else (), "FITS", channels=names, images=counts)
        if len(sizes) != 1:
            return Description(writer="FITS")
        number = len(first.axes) - first.axes[:-2].index(sizes[0])
        kind = first.hdu.text(f"CTYPE{number}").partition("-")[0].upper()
        return Description((Axis("T" if kind in _TIMES else "Z", sizes[0]),), "FITS")

    def page(self, number: int) -> Picture:
        """Read a page.

        Raises
        ------
        ImageError
            When it is too large, or compressed in a way that is not supported.
        ValueError
            When it is damaged.
        """
        series = bisect.bisect_right(self._ends, number)
        image = self._images[series]
        inner = number - (self._ends[series] - image.pages)
        label = self._label if len(self) == 1 else f"{self._label}, page {number + 1},"
        check_size(label, *image.size, self._limits, pixel_bytes=image.dtype.itemsize)
        pixels = image.values(self._read(image, inner))
        notes = tuple[str, ...]()
        if number == 0 and self._left:
            notes += (f"{listed(list(dict.fromkeys(self._left)))}: flags, errors and weights stay as they are",)
        if is_lossy(image):
            notes += ("its floats, which were compressed with loss, are written without loss",)
        return Picture(
            pixels[..., None],
            metadata=Metadata(stored=self._stored(series, inner)),
            notes=notes,
            nodata=image.nodata,
            lossless=not is_lossy(image),
            format="FITS",
        )

    def _read(self, image: Image, number: int) -> Array:
        """Read the stored pixels of a page."""
        if image.is_compressed:
            if self._tiles is None or self._tiles[0] is not image:
                self._tiles = image, TileReader(self._fits, self._file, image)
            return self._tiles[1].page(number)
        rows, columns = image.size
        size = rows * columns * image.stored.itemsize
        self._file.seek(image.hdu.data + number * size)
        stored = np.frombuffer(self._file.read(size), image.stored)
        return stored.reshape(rows, columns)

    def _stored(self, series: int, number: int) -> StoredPage:
        image = self._images[series]
        start = self._images[series - 1].hdu.stop if series else 0
        parts = list[Part]()
        before, behind = (start, image.hdu.start), (0, 0)
        if number == image.pages - 1 and series == len(self._images) - 1:
            behind = image.hdu.stop, self._file.seek(0, io.SEEK_END)
        if number == 0:
            parts = [Part(b"HDU", hdu.name.encode()) for hdu in self._hdus if before[0] <= hdu.start < before[1]]
            parts.append(Part(b"header", image.hdu.header))
        parts += [Part(b"HDU", hdu.name.encode()) for hdu in self._hdus if behind[0] <= hdu.start < behind[1]]
        return StoredPage(
            "FITS",
            tuple(parts),
            file=self._file,
            image=image,
            number=number,
            before=before if number == 0 else (0, 0),
            behind=behind,
        )
