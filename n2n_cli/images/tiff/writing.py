"""Writing of TIFF files page by page, with pixels of any depth.

References
----------
TIFF Revision 6.0, Adobe 1992.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

import numpy as np

from n2n_cli.images.carrying import carried
from n2n_cli.images.picture import UNASSOCIATED, Picture
from n2n_cli.images.tiff import pages as tags
from n2n_cli.images.tiff.entries import BIG_HEAD, Directory, DirectoryWriter, Order, Placed, head, whole_numbers
from n2n_cli.images.tiff.metadata import directory_of
from n2n_cli.nn.functional import Array

_STRIP = 2**18  # bytes of a strip before compression
_DEFLATE, _LEVEL = 8, 4
_DIFFERENCES = 2  # value of the tag Predictor
_KINDS = {"u": 1, "i": 2, "f": 3}  # value of the tag SampleFormat by dtype kind
_BLACK_IS_ZERO, _RGB = 1, 2
_CLASSIC_LIMIT = 2**32
_MOST_WAITING = 2**26  # maximum bytes of metadata kept in memory while further pixels are written


class TiffWriter:
    """Writer of pages, one by one; `finish` adds their directories.

    The pixels of all pages follow each other without a gap: ImageJ reads only the first directory of a stack that it
    wrote, and takes the following bytes as pixels of further pages.

    Parameters
    ----------
    file : BinaryIO
        An empty, seekable file.
    order : "<" or ">"
        Byte order. Keeping the source's order keeps metadata valid that only its writer understands.
    """

    def __init__(self, file: BinaryIO, order: Order = "<") -> None:
        self._file = file
        file.write(bytes(BIG_HEAD))  # `finish` writes the header here
        self._writer = DirectoryWriter(file, order)
        self._pages: list[Placed] = []
        self._waiting: list[Directory] = []
        self._waiting_bytes = 0

    def add(self, picture: Picture) -> list[str]:
        """Write a picture; return names of metadata that TIFF cannot hold."""
        pixels, order = picture.channels, self._writer.order
        metadata, parts, parts_order, left_out = carried(picture.metadata, "TIFF")
        described = directory_of(metadata, parts, parts_order).in_order(order)
        height, width, samples = pixels.shape
        compressed = metadata.get("compressed", False)
        planar = samples > 1 and metadata.get("planar", False)
        planes = np.split(pixels, samples, axis=2) if planar else [pixels]
        rows = min(height, max(1, _STRIP // (width * planes[0].shape[2] * pixels.itemsize)))
        offsets, counts = [], []
        for strip in chain.from_iterable(_strips(plane, rows, order, compressed=compressed) for plane in planes):
            offsets.append(self._writer.append(strip, even=False))
            counts.append(len(strip))
        layout = {
            tags.WIDTH: [width],
            tags.LENGTH: [height],
            tags.BITS: [8 * pixels.itemsize] * samples,
            tags.COMPRESSION: [_DEFLATE if compressed else tags.RAW],
            tags.PHOTOMETRIC: [_RGB if picture.pixels.shape[2] - len(picture.extra) == 3 else _BLACK_IS_ZERO],
            tags.STRIP_OFFSETS: offsets,
            tags.SAMPLES: [samples],
            tags.ROWS_PER_STRIP: [rows],
            tags.STRIP_COUNTS: counts,
            tags.SAMPLE_FORMAT: [_KINDS[pixels.dtype.kind]] * samples,
        }
        if picture.alpha is not None or picture.extra:
            layout[tags.EXTRA_SAMPLES] = [*picture.extra] or [UNASSOCIATED]
        if planar:
            layout[tags.PLANAR] = [tags.SEPARATE]
        if compressed and pixels.dtype.kind != "f":
            layout[tags.PREDICTOR] = [_DIFFERENCES]
        entries = described.entries | {tag: whole_numbers(order, values) for tag, values in layout.items()}
        self._waiting.append(Directory(order, entries, described.inner))
        self._waiting_bytes += sum(len(entry.data) for entry in entries.values())
        if self._waiting_bytes > _MOST_WAITING:
            self._place()
        return left_out

    def _place(self) -> None:
        self._pages += [self._writer.place(directory) for directory in self._waiting]
        self._waiting, self._waiting_bytes = [], 0

    def finish(self) -> None:
        """Write the directories, from the last page to the first, and the header."""
        self._place()
        big = self._writer.position + sum(page.size for page in self._pages) > _CLASSIC_LIMIT
        following = 0
        for page in reversed(self._pages):
            following = self._writer.write(page, following, big=big)
        self._file.seek(0)
        self._file.write(head(following, self._writer.order, big=big))


def _strips(pixels: Array, rows: int, order: Order, *, compressed: bool) -> Iterator[bytes]:
    for start in range(0, len(pixels), rows):
        strip = pixels[start : start + rows]
        strip = strip.astype(strip.dtype.newbyteorder(order), order="C")
        if compressed and strip.dtype.kind != "f":
            strip = strip.view(f"{order}u{strip.itemsize}")
            strip[:, 1:] -= strip[:, :-1].copy()
        yield zlib.compress(strip.tobytes(), _LEVEL) if compressed else strip.tobytes()
