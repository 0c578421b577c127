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
from typing import Any, BinaryIO

import numpy as np
from PIL.TiffImagePlugin import IFDRational

from n2n_cli.images.tiff.entries import ASCII, BYTE, RATIONAL, UNDEFINED, Order, Slot, read_table
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
_MOST_NUMBERS = 2**16  # maximum numbers converted to Python's; `numbers` reads more


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
        self._file, self._place = file, offset
        self._order: Order = "<" if head[:2] == b"II" else ">"
        if offset < len(head):
            raise ValueError("its list of pages leads beyond the end of the file")
        table, end = read_table(file, offset, self._order, big=len(head) > 8), file.seek(0, io.SEEK_END)
        self.following, self.whole = table.following, table.whole
        self._slots: dict[int, Slot] = {}
        damaged = []
        for slot in table.slots:
            if slot.length and slot.place + slot.length <= end:
                self._slots.setdefault(slot.tag, slot)
            elif slot.length:
                damaged.append(slot.tag)
        self.damaged = tuple(damaged)

    def __iter__(self) -> Iterator[int]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, tag: object) -> bool:
        return tag in self._slots

    def __getitem__(self, tag: int) -> Any:
        slot = self._slots[tag]
        if slot.type in (BYTE, UNDEFINED):
            return self.raw(tag)
        if slot.type == ASCII:
            return self.raw(tag).removesuffix(b"\0").decode("latin-1")
        if slot.number > _MOST_NUMBERS:
            raise ValueError(f"tag {tag} has {slot.number:,} values")
        if slot.type in (RATIONAL, _SIGNED_RATIONAL):
            letter = "I" if slot.type == RATIONAL else "i"
            parts = struct.unpack(f"{self._order}{2 * slot.number}{letter}", self.raw(tag))
            values = tuple(IFDRational(*pair) for pair in zip(parts[::2], parts[1::2], strict=True))
        else:
            values = tuple(self.numbers(tag).tolist())
        return values[0] if len(values) == 1 else values

    def slot(self, tag: int) -> Slot:
        """Look up type, number and place of a tag's values."""
        return self._slots[tag]

    def lies_in(self, start: int, end: int) -> bool:
        """True if the directory, one that it names, or a value starts in the given range."""
        inner = (place for tag in _DIRECTORIES for place in self.numbers(tag).tolist())
        places = [self._place, *(slot.place for slot in self._slots.values()), *inner]
        return any(start <= place < end for place in places)

    def raw(self, tag: int, most: int | None = None) -> bytes:
        """Read the bytes of a tag's values as stored, at most the first `most`."""
        slot = self._slots[tag]
        self._file.seek(slot.place)
        return self._file.read(slot.length if most is None else min(most, slot.length))

    def numbers(self, tag: int) -> Array:
        """Read the numbers of a tag, in native byte order; empty if there are none."""
        slot = self._slots.get(tag)
        name = None if slot is None else _NUMBERS.get(slot.type)
        if name is None:
            return np.zeros(0, np.int64)
        stored = np.dtype(name).newbyteorder("<" if self._order == "<" else ">")
        return np.frombuffer(self.raw(tag), stored).astype(name)
