"""FITS images compressed in tiles, stored in a table and decoded by astropy.

The sizes, places, lengths and unpacked sizes of the tiles are checked first, since wrong ones could crash the decoders.
"""

from __future__ import annotations

import io
import math
import re
import tempfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from n2n_cli.errors import ImageError
from n2n_cli.images.fits.cards import BLOCK, cards_of, header_of, key_of, with_comment_of
from n2n_cli.images.fits.hdus import Image
from n2n_cli.images.sources import Limits, check_size, without_warnings
from n2n_cli.nn.functional import Array

_METHODS = ("RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1", "NOCOMPRESS")
_COLUMNS = {"COMPRESSED_DATA": False, "GZIP_COMPRESSED_DATA": True, "UNCOMPRESSED_DATA": False}  # True: always gzip
_LOSSLESS = "GZIP_2"
_SHARED = 4  # maximum bytes of all tiles together, as a multiple of their table's
_STEP = 1 << 20  # bytes unpacked at a time
_TIME = slice(4, 8)  # place of the time in a gzip header
_HCOMPRESS = b"\xdd\x99"
_TABLE_CARDS = re.compile(
    r"XTENSION|BITPIX|NAXIS\d*|[PG]COUNT|TFIELDS|T(TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|DIM)\d+|THEAP|ZIMAGE|ZBITPIX"
    r"|ZNAXIS\d*|ZTILE\d+|ZCMPTYPE|ZNAME\d+|ZVAL\d+|ZQUANTIZ|ZDITHER0|ZSCALE|ZZERO|ZMASKCMP|ZHECKSUM|ZDATASUM"
    r"|Z[PG]COUNT"
)
"""Cards on the table and the compression, and checksums of the image before compression."""


def _method(image: Image) -> str:
    return image.hdu.text("ZCMPTYPE").upper()


def is_lossy(image: Image) -> bool:
    """True for floats compressed with loss."""
    if not image.is_compressed or image.stored.kind != "f":
        return False
    return _method(image) not in ("GZIP_1", "GZIP_2", "NOCOMPRESS") or image.hdu.text("ZQUANTIZ") not in ("", "NONE")


def check_layout(image: Image, label: str, limits: Limits) -> None:
    """Check from the header that the tiles of an image can be read.

    Raises
    ------
    ImageError
        When the compression is not supported, or the tiles are too large.
    ValueError
        When the number of tiles does not fit the size of the image.
    """
    if _method(image) not in _METHODS or "ZMASKCMP" in image.hdu.values:
        raise ImageError(
            f"{label} is compressed as {_method(image)!r}, which is not supported", hint="unpack it with `funpack`"
        )
    tile = _tile_axes(image)
    check_size(label, 1, math.prod(tile), limits, pixel_bytes=image.stored.itemsize)
    needed = math.prod(-(-size // side) for size, side in zip(image.axes, tile, strict=True))
    if image.hdu.whole("NAXIS2") != needed:
        raise ValueError(f"it has {image.hdu.whole('NAXIS2'):,} tiles, it should have {needed:,}")
    settings = _settings(image)
    if settings.get("BYTEPIX", 4) not in (1, 2, 4, 8) or settings.get("BLOCKSIZE", 32) not in (16, 32):
        raise ValueError("its tiles are compressed with impossible settings")


class TileReader:
    """Reader of the pages of a compressed image, whose layout was checked.

    Raises
    ------
    ValueError
        When the table is damaged.
    """

    def __init__(self, fits: Any, file: BinaryIO, image: Image) -> None:
        hdu = image.hdu
        self._image = image
        file.seek(hdu.data)
        self._data = file.read(hdu.size)
        self._check(fits)
        with without_warnings():
            self._hdu = _opened(fits, hdu.header, self._data, compressed=True)

    def page(self, number: int) -> Array:
        """Read the stored pixels of a page."""
        place = np.unravel_index(number, self._image.axes[:-2]) if len(self._image.axes) > 2 else ()
        with without_warnings():
            pixels: Array = self._hdu.section[(*(int(index) for index in place), slice(None), slice(None))]
        return pixels

    def _check(self, fits: Any) -> None:
        with without_warnings():
            table = _opened(fits, self._image.hdu.header, self._data, compressed=False)
            rows = table.data.view(np.ndarray)
            formats = {column.name: column.format for column in table.columns}
        if "COMPRESSED_DATA" not in formats:
            raise ValueError("its table has no column of tiles")
        heap = self._image.hdu.whole("THEAP", self._image.hdu.whole("NAXIS1") * len(rows))
        places, total = list[tuple[str, Array]](), 0
        for name in sorted(formats.keys() & _COLUMNS.keys()):
            item = {"B": 1, "I": 2, "J": 4, "E": 4, "D": 8}[formats[name].lstrip("01")[1]]
            found = rows[name].astype(np.int64) * (item, 1) + (0, heap)  # length and start of each tile, in bytes
            if found.min(initial=0) < 0 or found.sum(axis=1).max(initial=0) > len(self._data):
                raise ValueError("one of its tiles lies outside its table")
            places.append((name, found))
            total += int(found[:, 0].sum())
        if total > _SHARED * len(self._data):
            raise ValueError("its tiles share their bytes")
        for name, found in places:
            shapes = _tile_shapes(self._image.axes, _tile_axes(self._image))
            for shape, (size, start) in zip(shapes, found.tolist(), strict=True):
                if size:
                    self._check_tile(memoryview(self._data)[start : start + size], name, shape)

    def _check_tile(self, packed: memoryview, column: str, shape: tuple[int, ...]) -> None:
        method = _method(self._image)
        if _COLUMNS[column] or (column == "COMPRESSED_DATA" and method.startswith("GZIP")):
            _check_gzip(packed, 8 * math.prod(shape))
        elif column == "COMPRESSED_DATA" and method == "HCOMPRESS_1":
            sides = [side for side in shape if side != 1]
            if packed[:2] != _HCOMPRESS or np.frombuffer(packed[2:10], ">i4").tolist() != sides:
                raise ValueError("one of its tiles has a wrong size")


def _opened(fits: Any, header: bytes, data: bytes, *, compressed: bool) -> Any:
    """Open a unit by astropy, after an empty primary unit."""
    primary = fits.PrimaryHDU().header.tostring().encode()
    file = io.BytesIO(primary + header + data.ljust(-(-len(data) // BLOCK) * BLOCK, b"\0"))
    raw = {"do_not_scale_image_data": True, "uint": False, "disable_image_compression": not compressed}
    return fits.open(file, memmap=False, **raw)[1]


def _tile_axes(image: Image) -> tuple[int, ...]:
    """Sizes of a tile, the slowest axis first; a tile is a row by default."""
    count = len(image.axes)
    tile = [image.hdu.whole(f"ZTILE{n}", image.axes[-1] if n == 1 else 1) for n in range(count, 0, -1)]
    if min(tile) < 1:
        raise ValueError("its tiles have no pixels")
    return tuple(min(side, size) for side, size in zip(tile, image.axes, strict=True))


def _tile_shapes(axes: tuple[int, ...], tile: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    counts = [-(-size // side) for size, side in zip(axes, tile, strict=True)]
    for place in np.ndindex(*counts):
        yield tuple(min(side, size - at * side) for at, side, size in zip(place, tile, axes, strict=True))


def _settings(image: Image) -> dict[str, Any]:
    values = image.hdu.values
    names = {n: values.get(f"ZNAME{n}") for n in range(1, 10)}
    return {str(name).upper(): values.get(f"ZVAL{n}") for n, name in names.items() if name is not None}


def _check_gzip(packed: memoryview, most: int) -> None:
    """Check the unpacked size of a tile without keeping its data."""
    unpacker, rest, size = zlib.decompressobj(31), bytes(packed), 0
    while rest and not unpacker.eof:
        size += len(unpacker.decompress(rest, _STEP))
        rest = unpacker.unconsumed_tail
        if size > most:
            break
    if size > most or not unpacker.eof or unpacker.unused_data:
        raise ValueError("one of its tiles does not unpack to its size")


class TileWriter:
    """Writer that collects stored pages and compresses them as in the source file."""

    def __init__(self, fits: Any, image: Image) -> None:
        self._fits, self._image = fits, image
        self._spool = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the writer

    def add(self, stored: Array) -> None:
        """Add the stored pixels of the next page."""
        self._spool.write(np.ascontiguousarray(stored).data)

    def finish(self, cards: list[bytes]) -> tuple[list[bytes], bytes]:
        """Make the table: its cards, with other cards of the image's header, and its data."""
        self._spool.flush()
        image = self._image
        data = np.memmap(self._spool, image.stored, "r", shape=image.axes)
        made = self._compressed(data)
        own = cards_of(made)
        header = header_of(own)
        before = {key: card for card in cards if not (key := key_of(card)).startswith(("ZNAME", "ZVAL"))}
        table = [
            with_comment_of(before.get(key_of(card), card), card)
            for card in own
            if _TABLE_CARDS.fullmatch(key_of(card))
        ]
        kept = [card for card in cards if not _TABLE_CARDS.fullmatch(key_of(card))]
        if image.stored.kind == "f":
            kept = [card for card in kept if key_of(card) != "ZBLANK"]
        self._spool.close()
        return table + kept, made[len(header) :]

    def _compressed(self, data: Array) -> bytes:
        method = {"RICE_ONE": "RICE_1"}.get(_method(self._image), _method(self._image))
        lossless = {"compression_type": _LOSSLESS, "quantize_level": 0.0}
        if data.dtype.kind == "f":
            return self._made(data, {**lossless, "compression_type": method} if method.startswith("GZIP") else lossless)
        try:
            return self._made(data, {"compression_type": method})
        except (ValueError, OverflowError):  # HCOMPRESS and PLIO do not accept all tiles and values
            return self._made(data, lossless)

    def _made(self, data: Array, settings: dict[str, Any]) -> bytes:
        """Make header and data of the table."""
        file = io.BytesIO()
        fits = self._fits
        with without_warnings():
            hdu = fits.CompImageHDU(data, tile_shape=_tile_axes(self._image), **settings)
            fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file)
        made = bytearray(file.getvalue()[BLOCK:])
        if settings["compression_type"].startswith("GZIP"):
            _clear_dates(fits, made)
        return bytes(made)


def _clear_dates(fits: Any, made: bytearray) -> None:
    """Clear the time in gzip headers of tiles, so that equal pixels give equal bytes."""
    header = fits.Header.fromstring(bytes(made))
    start = len(header.tostring())
    heap = start + header["NAXIS1"] * header["NAXIS2"]
    descriptor = ">i8" if "Q" in header["TFORM1"] else ">i4"
    rows = np.frombuffer(made, descriptor, 2 * header["NAXIS2"], start).reshape(-1, 2)
    for offset in rows[:, 1].tolist():
        made[heap + offset + _TIME.start : heap + offset + _TIME.stop] = bytes(4)
