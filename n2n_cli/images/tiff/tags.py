"""Values of a TIFF directory, each read from the file on request.

Nothing is read in advance, since a small file can claim any number of long values, also of the same bytes.

References
----------
TIFF Revision 6.0, Adobe 1992: section 2; BigTIFF, Aware Systems 2007.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL.TiffImagePlugin import IFDRational

from n2n_cli.images.tiff.entries import ASCII, BYTE, RATIONAL, SIZES, UNDEFINED
from n2n_cli.nn.functional import Array

_NUMBERS = {
    1: "u1",
    3: "u2",
    4: "u4",
    6: "i1",
    8: "i2",
    9: "i4",
    11: "f4",
    12: "f8",
    13: "u4",
    16: "u8",
    17: "i8",
    18: "u8",
}
_SIGNED_RATIONAL = 10
_DIRECTORIES = (330, 34665, 34853)  # tags of offsets: SubIFDs, Exif, GPS
_MOST_ENTRIES = 65_535  # maximum number of entries of a file that is not a BigTIFF
_MOST_NUMBERS = 2**16  # maximum numbers converted to Python's; `numbers` reads more


class Entry(NamedTuple):
    """Type and number of values, and their offset and length in the file in bytes."""

    type: int
    number: int
    place: int
    length: int


class Tags(Mapping[int, Any]):
    """Values of a directory by their tag numbers, in Pillow's types.

    Bytes and undefined values are bytes, text is decoded as Latin-1, a single number is a scalar, several are a tuple.

    Parameters
    ----------
    file : BinaryIO
    head : bytes
        Header of the file: 8 bytes, or 16 for BigTIFF.
    offset : int
        Offset of the directory.

    Attributes
    ----------
    following : int
        Offset of the next directory; 0 for the last.
    damaged : tuple of int
        Tags whose values would be beyond the end of the file.
    whole : bool
        True if the file also holds the offset of the next directory.

    Raises
    ------
    ValueError
        When the directory is not inside the file.
    """

    def __init__(self, file: BinaryIO, head: bytes, offset: int) -> None:
        self._file, self._place, self._order = file, offset, "<" if head[:2] == b"II" else ">"
        count_format, entry_format, inline = ("Q", "HHQ", 8) if len(head) > 8 else ("H", "HHI", 4)
        end = file.seek(0, io.SEEK_END)
        start = offset + struct.calcsize(count_format)
        if not (len(head) <= offset and start <= end):
            raise ValueError("its list of pages leads beyond the end of the file")
        file.seek(offset)
        count = self._offset(file.read(start - offset))
        size = struct.calcsize(self._order + entry_format) + inline
        if count > _MOST_ENTRIES or start + count * size > end:
            raise ValueError("the list of its tags is damaged")
        table = file.read(count * size + inline)
        self._entries: dict[int, Entry] = {}
        damaged = []
        for at in range(0, count * size, size):
            tag, kind, number = struct.unpack_from(self._order + entry_format, table, at)
            length = number * SIZES.get(kind, 0)
            place = start + at + size - inline
            if length > inline:
                place = self._offset(table[at + size - inline : at + size])
            if length and place + length <= end:
                self._entries.setdefault(tag, Entry(kind, number, place, length))
            elif length:
                damaged.append(tag)
        self.damaged = tuple(damaged)
        last = table[count * size :]
        self.following = self._offset(last) if len(last) == inline else 0
        self.whole = len(last) == inline

    def _offset(self, data: bytes) -> int:
        return int.from_bytes(data, "little" if self._order == "<" else "big")

    def __iter__(self) -> Iterator[int]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, tag: object) -> bool:
        return tag in self._entries

    def __getitem__(self, tag: int) -> Any:
        entry = self._entries[tag]
        if entry.type in (BYTE, UNDEFINED):
            return self.raw(tag)
        if entry.type == ASCII:
            return self.raw(tag).removesuffix(b"\0").decode("latin-1")
        if entry.number > _MOST_NUMBERS:
            raise ValueError(f"tag {tag} has {entry.number:,} values")
        if entry.type in (RATIONAL, _SIGNED_RATIONAL):
            letter = "I" if entry.type == RATIONAL else "i"
            parts = struct.unpack(f"{self._order}{2 * entry.number}{letter}", self.raw(tag))
            values = tuple(IFDRational(*pair) for pair in zip(parts[::2], parts[1::2], strict=True))
        else:
            values = tuple(self.numbers(tag).tolist())
        return values[0] if len(values) == 1 else values

    def entry(self, tag: int) -> Entry:
        """Look up type, number and place of a tag's values."""
        return self._entries[tag]

    def lies_in(self, start: int, end: int) -> bool:
        """True if the directory, one that it names, or a value starts in the given range."""
        inner = (place for tag in _DIRECTORIES for place in self.numbers(tag).tolist())
        places = [self._place, *(entry.place for entry in self._entries.values()), *inner]
        return any(start <= place < end for place in places)

    def raw(self, tag: int, most: int | None = None) -> bytes:
        """Read the bytes of a tag's values as stored, at most the first `most`."""
        entry = self._entries[tag]
        self._file.seek(entry.place)
        return self._file.read(entry.length if most is None else min(most, entry.length))

    def numbers(self, tag: int) -> Array:
        """Read the numbers of a tag, in native byte order; empty if there are none."""
        entry = self._entries.get(tag)
        name = None if entry is None else _NUMBERS.get(entry.type)
        if name is None:
            return np.zeros(0, np.int64)
        stored = np.dtype(name).newbyteorder("<" if self._order == "<" else ">")
        return np.frombuffer(self.raw(tag), stored).astype(name)
