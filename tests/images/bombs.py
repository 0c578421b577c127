"""Small image files that demand much memory or time."""

from __future__ import annotations

import functools
import io
import math
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from n2n_cli.images.tiff.entries import head
from tests.images.directories import Values, directory
from tests.images.pictures import GRAY, chunk, png


def tile(side: int, compression: int, packed: bytes, count: int = 1) -> bytes:
    """TIFF of 16x16 gray pixels in a tile of `side` x `side`."""
    tags: dict[int, Values] = {256: 16, 257: 16, 258: 8, 259: compression, 262: 1, 277: 1, 322: side, 323: side}
    tags |= {324: 8, 325: len(packed)}
    return head(8 + len(packed), big=False) + packed + directory(tags, 8 + len(packed), 0, big=False)


@functools.cache
def zeros(length: int) -> bytes:
    """`length` zero bytes, compressed by zlib."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(2**20)) for _ in range(length >> 20)]
    return b"".join([*parts, packer.compress(bytes(length % 2**20)), packer.flush()])


def by_lzw(side: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((side, side), np.uint8)).save(file, "TIFF", compression="tiff_lzw", tiffinfo={278: side})
    with Image.open(file) as image:
        place, length = image.tag_v2[273][0], image.tag_v2[279][0]  # type: ignore[attr-defined]
    return file.getvalue()[place : place + length]


def overlapping_tags(count: int, length: int) -> bytes:
    """TIFF of one pixel with `count` tags that all refer to the same `length` bytes."""
    rows = [struct.pack("<HHII", *row) for row in ((256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 1, 8), (259, 3, 1, 1))]
    rows += [struct.pack("<HHII", *row) for row in ((262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (279, 4, 1, 1))]
    rows += [struct.pack("<HHII", 40_000 + i, 7, length, 8) for i in range(count)]
    table = struct.pack("<H", len(rows)) + b"".join(rows) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + length) + bytes(length) + table


def overlapping_exif(count: int, length: int) -> bytes:
    """EXIF data with `count` tags that all refer to the same `length` bytes."""
    rows = b"".join(struct.pack("<HHII", 40_000 + i, 7, length, 8) for i in range(count))
    table = struct.pack("<H", count) + rows + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + table + bytes(max(0, length - len(table)))


def sharing_pages(count: int, side: int) -> bytes:
    """TIFF of `count` pages that share one strip of zeros."""
    packed = zeros(side * side)
    tags: dict[int, Values] = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 277: 1, 278: side}
    tags |= {273: 8, 279: len(packed)}
    data, first = bytearray(packed), 8 + len(packed)
    size = len(directory(tags, 0, 0, big=False))
    for number in range(count):
        place = first + number * size
        data += directory(tags, place, place + size if number < count - 1 else 0, big=False)
    return head(first, big=False) + bytes(data)


def overlapping_tiles(count: int, length: int, *, apart: int, photometric: int, compression: int) -> bytes:
    """TIFF of overlapping tiles of 16x16 pixels, `length` bytes each.

    Each begins `apart` bytes after the one before.
    """
    side = 16 * math.isqrt(count)
    tags: dict[int, Values] = {256: side, 257: side, 258: 8, 259: compression, 262: photometric, 277: 1}
    tags |= {322: 16, 323: 16, 324: [8 + apart * i for i in range(count)], 325: [length] * count}
    if photometric == 3:
        tags[320] = [0] * 768
    data = bytes(length + apart * count)
    data += bytes(len(data) % 2)
    return head(8 + len(data), big=False) + data + directory(tags, 8 + len(data), 0, big=False)


def png_with(*chunks: bytes) -> bytes:
    data = png(3, 2, 8, 0, b"".join(b"\0" + bytes(row) for row in GRAY.tolist()))
    return data[:33] + b"".join(chunks) + data[33:]


def jpeg_with_exif(exif: bytes) -> bytes:
    file = io.BytesIO()
    Image.fromarray(GRAY).save(file, "JPEG", exif=b"Exif\0\0" + exif)
    return file.getvalue()


def fits_header(*cards: str) -> bytes:
    """FITS header of cards such as `NAXIS=2`."""
    lines = "".join(f"{key:8}= {value:>20}".ljust(80) for key, value in (card.split("=") for card in cards))
    header = (lines + "END".ljust(80)).encode()
    return header.ljust(-(-len(header) // 2880) * 2880)


def fits_tiles(shape: tuple[int, ...], tile: tuple[int, ...], count: int, packed: bytes) -> bytes:
    """FITS file with an image in tiles that all hold the same gzip-compressed bytes."""
    sizes = [f"ZNAXIS{n}={size}" for n, size in enumerate(reversed(shape), 1)]
    sizes += [f"ZTILE{n}={size}" for n, size in enumerate(reversed(tile), 1)]
    table = ["XTENSION='BINTABLE'", "BITPIX=8", "NAXIS=2", "NAXIS1=8", f"NAXIS2={count}", f"PCOUNT={len(packed)}"]
    table += ["GCOUNT=1", "TFIELDS=1", "TTYPE1='COMPRESSED_DATA'", "TFORM1='1PB(9)'", "ZIMAGE=T", "ZCMPTYPE='GZIP_1'"]
    data = struct.pack(">ii", len(packed), 0) * count + packed
    primary = fits_header("SIMPLE=T", "BITPIX=8", "NAXIS=0")
    return primary + fits_header(*table, "ZBITPIX=16", f"ZNAXIS={len(shape)}", *sizes) + data + bytes(-len(data) % 2880)


@functools.cache
def gzipped(content: bytes, length: int) -> bytes:
    """`content` and then `length` zero bytes, compressed by gzip."""
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(content), *(packer.compress(bytes(2**20)) for _ in range(length >> 20))]
    return b"".join([*parts, packer.flush()])


def mrc(*sizes: int) -> bytes:
    """Header of an MRC file of floats with these sizes, and some pixels."""
    return (struct.pack("<4i", *sizes, 2) + bytes(192) + b"MAP DD").ljust(1024, b"\0") + bytes(4096)


BOMBS: dict[str, Callable[[], bytes]] = {
    "tile of 256 MB": lambda: tile(16_384, 8, zeros(2**28)),
    "tile of 4 GB": lambda: tile(65_520, 8, zeros(2**28)),
    "tile of 64 MB": lambda: tile(8_192, 8, zeros(2**26)),
    "tile of 64 MB by LZW": lambda: tile(8_192, 5, by_lzw(8_192)),
    "tile of 4 GB by LZW": lambda: tile(65_520, 5, by_lzw(8_192)),
    "strip that is longer than the picture": lambda: tile(16, 8, zeros(2**28)),
    "4,000 tags of the same 1 MB": lambda: overlapping_tags(4_000, 2**20),
    "EXIF of 4,000 tags of the same 1 MB": lambda: png_with(chunk(b"eXIf", overlapping_exif(4_000, 2**20))),
    "EXIF of 5,000 tags of the same 60 kB": lambda: jpeg_with_exif(overlapping_exif(5_000, 60_000)),
    "300 colour profiles of 16 MB": lambda: png_with(
        *[chunk(b"iCCP", b"a\0\0" + packed) for packed in [zeros(2**24)] for _ in range(300)]
    ),
    "3,000 texts of 4 MB": lambda: png_with(
        *[chunk(b"zTXt", b"a\0\0" + packed) for packed in [zeros(2**22)] for _ in range(3_000)]
    ),
    "100,000 tiles that share 4 kB": lambda: overlapping_tiles(316**2, 4_096, apart=0, photometric=1, compression=5),
    "100,000 tiles of a palette that share 4 kB": lambda: overlapping_tiles(
        316**2, 4_096, apart=0, photometric=3, compression=1
    ),
    "100,000 tiles that overlap": lambda: overlapping_tiles(316**2, 4_096, apart=2, photometric=3, compression=5),
    "1,000 pages that share a strip of 64 MB": lambda: sharing_pages(1_000, 8_192),
    "FITS image of 10^18 pixels": lambda: fits_header(
        "SIMPLE=T", "BITPIX=8", "NAXIS=2", "NAXIS1=1000000000", "NAXIS2=1000000000"
    ),
    "FITS image of 999 axes": lambda: fits_header(
        "SIMPLE=T", "BITPIX=8", "NAXIS=999", *(f"NAXIS{n}=99" for n in range(1, 1000))
    ),
    "FITS tile that unpacks to 256 MB": lambda: fits_tiles((4, 9), (4, 9), 1, gzipped(b"", 2**28)),
    "FITS cube of 10^9 pages in one tile": lambda: fits_tiles((10**9, 4, 9), (10**9, 4, 9), 1, gzipped(b"", 0)),
    "FITS cube of 10^9 pages in no tiles": lambda: fits_tiles((10**9, 4, 9), (1, 1, 9), 1, gzipped(b"", 0)),
    "100,000 FITS tiles that share 1 kB": lambda: fits_tiles(
        (10**5, 512, 1024), (1, 512, 1024), 10**5, gzipped(b"", 2**20)
    ),
    "FITS file that unpacks to 600 MB": lambda: gzipped(fits_header("SIMPLE=T", "BITPIX=8", "NAXIS=0"), 600 << 20),
    "MRC file of 10^9 sections": lambda: mrc(8, 8, 10**9),
    "MRC section of 10^18 pixels": lambda: mrc(10**9, 10**9, 1),
}
