"""Writing of FITS images page by page; other units of a source file are copied."""

from __future__ import annotations

import math
from typing import Any, BinaryIO

import numpy as np

from n2n_cli.images.carrying import carried
from n2n_cli.images.copying import copy_part
from n2n_cli.images.extras import imported
from n2n_cli.images.fits import cards as headers
from n2n_cli.images.fits.cards import BLOCK, CARD, key_of, made_card
from n2n_cli.images.fits.checksums import ALL_ONES, Sum32, encoded
from n2n_cli.images.fits.compressed import TileWriter
from n2n_cli.images.fits.hdus import Image, StoredPage
from n2n_cli.images.picture import Picture
from n2n_cli.nn.functional import Array

_ZEROS = {"int8": -(2**7), "uint16": 2**15, "uint32": 2**31}


class FitsWriter:
    """Writer of pages, one by one; `finish` completes the last image.

    Pages that were read from a FITS file are written into copies of its images, between copies of its other units;
    other pages, into new images.

    Parameters
    ----------
    file : BinaryIO
        An empty, seekable file.
    label : str
        Name of the file in messages.

    Raises
    ------
    ImageError
        When astropy is not installed.
    """

    def __init__(self, file: BinaryIO, label: str) -> None:
        self._file, self._fits = file, imported("astropy.io.fits", "fits", label, "a FITS file")
        self._unit: _CopiedImage | _NewImage | None = None
        self._is_first = True

    def add(self, picture: Picture) -> list[str]:
        """Write a picture; return names of metadata that FITS cannot hold."""
        stored = picture.metadata.get("stored")
        history = picture.metadata.get("history", "")
        if isinstance(stored, StoredPage) and stored.image is not None and _is_page(picture, stored.image):
            if stored.number == 0:
                self.finish()
                self._copy(stored, *stored.before)
                self._unit = _CopiedImage(self._fits, self._file, stored.image, history)
            if not isinstance(self._unit, _CopiedImage):
                raise ValueError("the first page of one of its images is missing")
            self._unit.add(picture)
            if stored.behind != (0, 0):
                self.finish()
                self._copy(stored, *stored.behind)
            return []
        if not (isinstance(self._unit, _NewImage) and self._unit.takes(picture)):
            self.finish()
            self._unit = _NewImage(self._fits, self._file, picture, history, is_first=self._is_first)
            self._is_first = False
        self._unit.add(picture)
        return carried(picture.metadata, "FITS").left_out

    def finish(self) -> None:
        """Complete the current image."""
        if self._unit is not None:
            self._unit.finish()
            self._unit, self._is_first = None, False

    def _copy(self, stored: StoredPage, start: int, stop: int) -> None:
        copy_part(stored.file, start, stop, self._file, "FITS")


def _is_page(picture: Picture, image: Image) -> bool:
    return picture.pixels.shape == (*image.size, 1) and picture.pixels.dtype == image.dtype


class _CopiedImage:
    """Writer of an image of a FITS file, with its header."""

    def __init__(self, fits: Any, file: BinaryIO, image: Image, history: str) -> None:
        self._fits, self._file, self._image, self._history = fits, file, image, history
        self._cards = headers.with_history(headers.cards_of(image.hdu.header), history)
        self._start = file.tell()
        self._sum, self._range = Sum32(), _Range()
        self._tiles = TileWriter(fits, image) if image.is_compressed else None
        if self._tiles is None:
            file.write(headers.header_of(self._cards))

    def add(self, picture: Picture) -> None:
        """Write the pixels of the next page."""
        values = picture.pixels[..., 0]
        self._range.add(values, self._image.nodata)
        stored = self._image.stored_of(values)
        if self._tiles is None:
            data = np.ascontiguousarray(stored).data.cast("B")
            self._sum.add(data)
            self._file.write(data)
        else:
            self._tiles.add(stored)

    def finish(self) -> None:
        """Pad the last block; update statistics and checksums in the header."""
        if self._tiles is not None:
            self._cards, data = self._tiles.finish(self._cards)
            self._file.write(headers.header_of(self._cards))
            self._sum.add(data)
            self._file.write(data)
        _pad(self._file)
        cards = headers.with_values(self._fits, self._cards, self._range.values if self._history else {})
        _rewrite(self._file, self._start, headers.header_of(self._summed(cards)))

    def _summed(self, cards: list[bytes]) -> list[bytes]:
        """Correct existing checksums; correct ones stay as they are."""
        data = self._sum.value
        if self._image.hdu.text("DATASUM") != str(data):
            cards = headers.with_values(self._fits, cards, {"DATASUM": (str(data), "data unit checksum")})
        if "CHECKSUM" not in map(key_of, cards) or self._whole(cards, data) == ALL_ONES:
            return cards
        cards = headers.with_values(self._fits, cards, {"CHECKSUM": ("0" * 16, "HDU checksum")})
        text = encoded(self._whole(cards, data))
        return headers.with_values(self._fits, cards, {"CHECKSUM": (text, "HDU checksum")})

    def _whole(self, cards: list[bytes], data: int) -> int:
        whole = Sum32()
        whole.add(headers.header_of(cards))
        whole.add(data.to_bytes(4, "big"))
        return whole.value


class _NewImage:
    """Writer of an image of other pages: gray pages, or colours as planes."""

    def __init__(self, fits: Any, file: BinaryIO, first: Picture, history: str, *, is_first: bool) -> None:
        self._fits, self._file, self._history, self._is_first = fits, file, history, is_first
        self._shape, self._dtype, self._nodata = first.pixels.shape, first.pixels.dtype, first.nodata
        self._pages, self._start = 0, file.tell()
        file.write(bytes(BLOCK))  # `finish` writes the header here

    def takes(self, picture: Picture) -> bool:
        """True if a picture can be the next page of this image."""
        return (picture.pixels.shape, picture.pixels.dtype) == (self._shape, self._dtype)

    def add(self, picture: Picture) -> None:
        """Write the pixels of the next page."""
        pixels = np.moveaxis(picture.pixels, -1, 0)
        if self._dtype.name in _ZEROS:
            signed = np.dtype(f"{'u' if self._dtype.itemsize == 1 else 'i'}{self._dtype.itemsize}")
            bit = 1 << 8 * self._dtype.itemsize - 1
            pixels = np.ascontiguousarray(pixels).view(f"u{self._dtype.itemsize}") ^ bit
            pixels = pixels.view(signed)
        self._file.write(np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(">"))).data.cast("B"))
        self._pages += 1

    def finish(self) -> None:
        """Pad the last block and write the header."""
        _pad(self._file)
        height, width, colours = self._shape
        axes = [width, height, *([colours] if colours > 1 else []), *([self._pages] if self._pages > 1 else [])]
        first = ("SIMPLE", True) if self._is_first else ("XTENSION", "IMAGE")
        values: list[tuple[str, object]] = [
            first,
            ("BITPIX", (-8 if self._dtype.kind == "f" else 8) * self._dtype.itemsize),
        ]
        values += [("NAXIS", len(axes)), *((f"NAXIS{n}", size) for n, size in enumerate(axes, 1))]
        values += [("EXTEND", True)] if self._is_first else [("PCOUNT", 0), ("GCOUNT", 1)]
        zero = _ZEROS.get(self._dtype.name, 0)
        values += [("BSCALE", 1), ("BZERO", zero)] if zero else []
        if self._nodata is not None and self._dtype.kind != "f" and float(self._nodata).is_integer():
            values.append(("BLANK", int(self._nodata) - zero))
        cards = [made_card(self._fits, key, value) for key, value in values]
        room = BLOCK // CARD - 1 - len(cards)
        _rewrite(self._file, self._start, headers.header_of(cards + headers.history_cards(self._history)[:room]))


class _Range:
    """Minimum and maximum of the values, for the cards that state them."""

    def __init__(self) -> None:
        self._low, self._high = math.inf, -math.inf

    def add(self, values: Array, nodata: float | None) -> None:
        """Include a page."""
        valid = np.isfinite(values) if values.dtype.kind == "f" else values != nodata
        self._low = min(self._low, float(values.min(where=valid, initial=_extreme(values, high=True))))
        self._high = max(self._high, float(values.max(where=valid, initial=_extreme(values, high=False))))

    @property
    def values(self) -> dict[str, float]:
        """Values of the cards; empty if no value was added."""
        return {"DATAMIN": self._low, "DATAMAX": self._high} if self._low <= self._high else {}


def _extreme(values: Array, *, high: bool) -> float:
    if values.dtype.kind == "f":
        return math.inf if high else -math.inf
    limits = np.iinfo(values.dtype)
    return int(limits.max if high else limits.min)


def _pad(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % BLOCK))


def _rewrite(file: BinaryIO, start: int, header: bytes) -> None:
    end = file.tell()
    file.seek(start)
    file.write(header)
    file.seek(end)
