"""Writing of TIFF files: pixels of any depth, one page at a time.

References
----------
TIFF Revision 6.0, Adobe 1992.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from n2n_cli.images import exif
from n2n_cli.images.picture import Metadata, Picture
from n2n_cli.images.tiff import pages as tags
from n2n_cli.images.tiff.directory import BIG_HEAD, Values, directory, head
from n2n_cli.nn.functional import Array

_STRIP = 2**18  # bytes of a strip before compression
_DEFLATE, _LEVEL = 8, 4
_DIFFERENCES = 2  # of the tag Predictor
_KINDS = {"u": 1, "i": 2, "f": 3}  # of the tag SampleFormat
_BLACK_IS_ZERO, _RGB, _ALPHA = 1, 2, 2
_CLASSIC_LIMIT = 2**32


class TiffWriter:
    """Writes pages one by one; `finish` adds their directories.

    Parameters
    ----------
    file : BinaryIO
        Empty and seekable.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pages: list[tuple[dict[int, Values], Image.Exif | None]] = []
        self._at = file.write(bytes(BIG_HEAD))  # `finish` writes the header here

    def add(self, picture: Picture) -> None:
        """Write a picture's pixels."""
        pixels, metadata = picture.channels, picture.metadata
        # Parsed before anything is written: damaged EXIF data raise an exception.
        found = exif.without_layout(exif.loaded(metadata["exif"])) if "exif" in metadata else None
        entries: dict[int, Values] = {tag: value for tag, value in (found or {}).items() if isinstance(value, str)}
        if found and found.get(exif.ORIENTATION, 1) in range(1, 9):
            entries[exif.ORIENTATION] = int(found.get(exif.ORIENTATION, 1))
        if picture.alpha is not None:
            entries[tags.EXTRA_SAMPLES] = _ALPHA
        height, width, samples = pixels.shape
        compressed = metadata.get("compressed", False)
        rows = min(height, max(1, _STRIP // (width * samples * pixels.itemsize)))
        offsets, counts = [], []
        for strip in _strips(pixels, rows, compressed=compressed):
            offsets.append(self._at)
            counts.append(self._file.write(strip))
            self._at += counts[-1]
        self._at += self._file.write(bytes(self._at % 2))
        entries |= {
            tags.WIDTH: width,
            tags.LENGTH: height,
            tags.BITS: [8 * pixels.itemsize] * samples,
            tags.COMPRESSION: _DEFLATE if compressed else tags.RAW,
            tags.PHOTOMETRIC: _BLACK_IS_ZERO if samples < 3 else _RGB,
            tags.STRIP_OFFSETS: offsets,
            tags.SAMPLES: samples,
            tags.ROWS_PER_STRIP: rows,
            tags.STRIP_COUNTS: counts,
            tags.SAMPLE_FORMAT: [_KINDS[pixels.dtype.kind]] * samples,
            **_metadata_entries(metadata),
        }
        if compressed and pixels.dtype.kind != "f":
            entries[tags.PREDICTOR] = _DIFFERENCES
        self._pages.append((entries, found))

    def finish(self) -> None:
        """Write the directories, from the last page to the first, and the header."""
        sizes = (len(directory(entries, 0, 0, big=True)) + _sub_size(found) for entries, found in self._pages)
        big = self._at + sum(sizes) > _CLASSIC_LIMIT
        following = 0
        for entries, found in reversed(self._pages):
            for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
                if found is not None and (data := _sub_directory(found, tag, self._at, big=big)):
                    entries[int(tag)] = self._append(data)
            following = self._append(directory(entries, self._at, following, big=big))
        self._file.seek(0)
        self._file.write(head(following, big=big))

    def _append(self, data: bytes) -> int:
        """Write `data` at the end; returns its offset."""
        place = self._at
        self._at += self._file.write(data + bytes(len(data) % 2))
        return place


def _metadata_entries(metadata: Metadata) -> dict[int, Values]:
    """Entries for the metadata except EXIF data."""
    entries: dict[int, Values] = {}
    if "icc_profile" in metadata:
        entries[tags.ICC_PROFILE] = metadata["icc_profile"]
    if "xmp" in metadata:
        entries[tags.XMP] = metadata["xmp"]
    resolution = metadata.get("dpi", metadata.get("aspect"))
    if resolution:
        x, y = (Fraction(value).limit_denominator(2**15) for value in resolution)
        entries |= {tags.X_RESOLUTION: x, tags.Y_RESOLUTION: y, tags.RESOLUTION_UNIT: 2 if "dpi" in metadata else 1}
    if metadata.get("reduced"):
        entries[tags.SUBFILE] = 1
    return entries


def _sub_directory(found: Image.Exif, tag: int, offset: int, *, big: bool) -> bytes:
    """Directory of EXIF's or GPS's own tags for position `offset`; empty if none."""
    values: dict[int, Any] = dict(found.get_ifd(tag))
    if ExifTags.IFD.Interop in values:
        values[ExifTags.IFD.Interop] = found.get_ifd(ExifTags.IFD.Interop)
    inner = ImageFileDirectory_v2(head(0, big=big), group=tag)
    for number, value in values.items():
        inner[number] = value
    return inner.tobytes(offset) if values else b""


def _sub_size(found: Image.Exif | None) -> int:
    """Maximum bytes of EXIF directories; BigTIFF's entries are twice as long."""
    return 0 if found is None else 2 * len(found.tobytes()) + 1024


def _strips(pixels: Array, rows: int, *, compressed: bool) -> Iterator[bytes]:
    for start in range(0, len(pixels), rows):
        strip = pixels[start : start + rows]
        strip = strip.astype(strip.dtype.newbyteorder("<"), order="C")
        if compressed and strip.dtype.kind != "f":
            strip = strip.view(f"<u{strip.itemsize}")
            strip[:, 1:] -= strip[:, :-1].copy()
        yield zlib.compress(strip.tobytes(), _LEVEL) if compressed else strip.tobytes()
