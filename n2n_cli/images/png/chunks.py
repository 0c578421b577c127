"""Chunks of a PNG file.

References
----------
Portable Network Graphics (PNG) Specification (Third Edition), W3C 2025: section 5.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import BinaryIO

from n2n_cli.images.picture import Part

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}  # chunks needed to decode the pixels
_HEADER = struct.Struct(">IIBBBBB")
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_LONGEST = 2**31 - 1  # maximum bytes of a chunk, and pixels of a side


@dataclass(frozen=True)
class Header:
    """Header of a PNG file; sizes in pixels, depth in bits per channel."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool


@dataclass
class Chunks:
    """A PNG file split into its chunks.

    Attributes
    ----------
    pixels : list of bytes
        The chunks needed to decode the pixels, complete and in order.
    others : list of Part
        The other chunks, in order.
    damaged : list of bytes
        Names of other chunks whose checksum is wrong.
    ended : bool
        True if the file has its last chunk, IEND.
    """

    header: Header
    pixels: list[bytes] = field(default_factory=list)
    others: list[Part] = field(default_factory=list)
    damaged: list[bytes] = field(default_factory=list)
    ended: bool = True

    def contents(self, name: bytes) -> list[memoryview]:
        """Contents of the pixel chunks with a given name."""
        return [memoryview(chunk)[8:-4] for chunk in self.pixels if chunk[4:8] == name]

    def simple_file(self) -> io.BytesIO:
        """Make a PNG file that holds only the pixels."""
        return io.BytesIO(b"".join([SIGNATURE, *self.pixels]))


def chunks_of(parts: Iterable[Part]) -> bytes:
    """Concatenate chunks, with their lengths, names and checksums."""
    return b"".join(chunk(bytes(part.key), part.data) for part in parts)


def chunk(name: bytes, content: bytes) -> bytes:
    """Build a chunk: length, name, content, checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))


def header_chunk(header: Header) -> bytes:
    """Build the first chunk, IHDR."""
    content = _HEADER.pack(header.width, header.height, header.depth, header.colour, 0, 0, header.interlaced)
    return chunk(b"IHDR", content)


def read_header(file: BinaryIO) -> Header:
    """Read the first chunk, after the signature.

    Raises
    ------
    ValueError
        When it is damaged or invalid.
    """
    name, content, right = _read(file, file.read(8))
    if name != b"IHDR" or len(content) != _HEADER.size or not right:
        raise ValueError("its header is damaged")
    width, height, depth, colour, compression, filtering, interlaced = _HEADER.unpack(content)
    if not (0 < width <= _LONGEST and 0 < height <= _LONGEST):
        raise ValueError(f"its size of {width} x {height} pixels is invalid")
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlaced > 1:
        raise ValueError("its header is invalid")
    return Header(width, height, depth, colour, bool(interlaced))


def read_chunks(file: BinaryIO, header: Header, *, skip_pixels: bool = False) -> Chunks:
    """Read the rest of a file, up to its IEND chunk.

    Parameters
    ----------
    skip_pixels : bool
        Leave out the chunks of the pixels.

    Raises
    ------
    ValueError
        When the file ends too early, a chunk of the pixels is damaged, or an unknown chunk is critical.
    """
    found = Chunks(header)
    found.pixels.append(header_chunk(header))
    behind = False
    while True:
        start = file.read(8)
        if not start and behind:
            found.ended = False
            found.pixels.append(chunk(b"IEND", b""))
            return found
        behind |= start[4:] == b"IDAT"
        if skip_pixels and start[4:] == b"IDAT":
            file.seek(int.from_bytes(start[:4], "big") + 4, io.SEEK_CUR)
            continue
        name, content, right = _read(file, start)
        critical = name in _PIXELS or not name[0] & 32
        if not right and critical:
            raise ValueError(f"the checksum of its {_printable(name)} chunk is wrong")
        if not right:
            found.damaged.append(name)
        elif name in _PIXELS:
            found.pixels.append(chunk(name, content))
        elif critical:
            raise ValueError(f"it needs the unknown chunk {_printable(name)}")
        else:
            found.others.append(Part(name, content, behind=behind))
        if name == b"IEND":
            return found


def _read(file: BinaryIO, head: bytes) -> tuple[bytes, bytes, bool]:
    """Read the chunk that begins with `head`: name, content, and if its checksum fits."""
    if len(head) < 8:
        raise ValueError("it ends too early")
    length, name = struct.unpack(">I4s", head)
    here = file.tell()
    if length + 4 > file.seek(0, io.SEEK_END) - here:  # check before allocating memory
        raise ValueError("it ends too early")
    file.seek(here)
    content = file.read(length)
    return name, content, struct.pack(">I", zlib.crc32(content, zlib.crc32(name))) == file.read(4)


def _printable(name: bytes) -> str:
    return name.decode("ascii", "backslashreplace") if name.isalpha() else name.hex()
