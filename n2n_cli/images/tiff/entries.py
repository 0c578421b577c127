"""Directories of TIFF files and of EXIF data, with values as stored bytes.

References
----------
TIFF Revision 6.0, Adobe 1992: section 2; BigTIFF, Aware Systems 2007; Exif 3.0, CIPA 2023: section 4.6.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import BinaryIO, Literal, NamedTuple, TypeAlias

import numpy as np
from PIL import TiffTags

from n2n_cli.nn.functional import Array

Order: TypeAlias = Literal["<", ">"]

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Size of a value in bytes, by type."""
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 1, 2, 3, 4, 5, 7, 16
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
BIG_HEAD = 16
"""Bytes of the header of a BigTIFF, the longest one."""
EXIF, GPS, INTEROPERABILITY = 34665, 34853, 40965
IPTC = 33723  # holds bytes, although many programs declare 32-bit numbers
_INNER: Mapping[int, tuple[int, ...]] = {0: (EXIF, GPS), EXIF: (INTEROPERABILITY,)}
"""Tags that point to a directory, by the directory that holds them; 0 is the page's directory."""
_OFFSETS, _LONG_OFFSETS = {LONG, 13}, {LONG8, 18}  # types of such a pointer, in any TIFF and only in BigTIFF
_WHOLE = {SHORT, LONG, 9}
_TYPES = {
    ORIENTATION: _WHOLE,
    X_RESOLUTION: {RATIONAL, *_WHOLE},
    Y_RESOLUTION: {RATIONAL, *_WHOLE},
    RESOLUTION_UNIT: _WHOLE,
}
"""Types of single-valued tags that readers interpret, and may fail on if the type is wrong."""
_FAMILY = {1: "bytes", 2: "bytes", 7: "bytes", 3: "whole", 4: "whole", 8: "whole", 9: "whole", 13: "whole"}
_FAMILY |= {5: "fraction", 10: "fraction", 11: "fraction", 12: "fraction"}
"""Kinds of values that programs interchange, by type."""
_HALVES = {5: 4, 10: 4}  # size in bytes of each of the two numbers of a rational
_MOST_SHARED, _LEAST = 4, 2**16  # maximum bytes of different values: a multiple of the file's size, plus this many
_MOST = 2**31  # maximum bytes that may be read again
_MOST_ROWS = 65_535  # maximum number of entries of a file that is not a BigTIFF
_ENDIAN: Mapping[Order, Literal["little", "big"]] = {"<": "little", ">": "big"}


class Entry(NamedTuple):
    """Values of a tag: type, and bytes in the byte order of the directory."""

    type: int
    data: bytes

    def is_usual(self, tag: int) -> bool:
        """True if type and number of values conform to the EXIF standard."""
        return _is_right(tag, self.type, len(self.data) // SIZES[self.type], strict=True)

    def swapped(self) -> Entry:
        """Convert the values to the other byte order."""
        size = _HALVES.get(self.type, SIZES[self.type])
        return Entry(self.type, np.frombuffer(self.data, f"u{size}").byteswap().tobytes())

    def numbers(self, order: Order) -> tuple[int, ...]:
        """Decode the values as unsigned whole numbers; a rational gives two."""
        return tuple(np.frombuffer(self.data, f"{order}u{_HALVES.get(self.type, SIZES[self.type])}").tolist())


def whole_numbers(order: Order, numbers: Sequence[int] | Array) -> Entry:
    """Make an entry of whole numbers: 16 bits if all fit, otherwise 32 or 64 bits."""
    highest = int(np.max(numbers))
    kind = SHORT if highest < 2**16 else LONG if highest < 2**32 else LONG8
    return Entry(kind, np.asarray(numbers, f"{order}u{SIZES[kind]}").tobytes())


@dataclass
class Directory:
    """A directory, and the EXIF directories that it points to.

    Attributes
    ----------
    order : "<" or ">"
        Little- or big-endian.
    entries : dict
        Entries by tag, without the pointers.
    inner : dict
        Directories by the tag that points to them.
    following : int
        Offset of the next directory; 0 for none.
    offset : int
        Offset of this directory.
    damaged : dict
        Tags of invalid rows, by row number in the table.
    """

    order: Order
    entries: dict[int, Entry] = field(default_factory=dict)
    inner: dict[int, Directory] = field(default_factory=dict)
    following: int = 0
    offset: int = 0
    damaged: dict[int, int] = field(default_factory=dict)

    def in_order(self, order: Order) -> Directory:
        """Convert the directory to the byte order `order`."""
        if order == self.order:
            return self
        entries = {tag: entry if tag == IPTC else entry.swapped() for tag, entry in self.entries.items()}
        return Directory(order, entries, {tag: inner.in_order(order) for tag, inner in self.inner.items()})


class Room:
    """Limit on the values of all directories of a file together.

    A small file can name the same bytes as the values of many tags.

    Parameters
    ----------
    size : int
        Size of the file, in bytes.
    """

    def __init__(self, size: int) -> None:
        self._different = _MOST_SHARED * size + _LEAST
        self._all = self._different + _MOST
        self._seen: set[tuple[int, int]] = set()

    def take(self, place: int, length: int) -> bool:
        """Count a part of the file as read; False if the limit is exceeded."""
        new = 0 if (place, length) in self._seen else length
        if length > self._all or new > self._different:
            return False
        self._seen.add((place, length))
        self._all, self._different = self._all - length, self._different - new
        return True


class Slot(NamedTuple):
    """Row of a directory's table.

    A tag, the type and number of its values, and their offset and length in the file in bytes. The length is 0 if the
    type is unknown. The values may be beyond the end of the file.
    """

    tag: int
    type: int
    number: int
    place: int
    length: int


class Table(NamedTuple):
    """Table of a directory.

    Attributes
    ----------
    slots : list of Slot
    following : int
        Offset of the next directory; 0 for the last.
    whole : bool
        True if the file also holds the offset of the next directory.
    length : int
        Length of all rows, in bytes.
    inline : int
        Maximum length of values that a row holds itself, in bytes.
    """

    slots: list[Slot]
    following: int
    whole: bool
    length: int
    inline: int


def read_table(file: BinaryIO, offset: int, order: Order, *, big: bool = False) -> Table:
    """Read the table of a directory, without its values.

    Raises
    ------
    ValueError
        When the file ends within the table, or it is too long.
    """
    head_size, letter, inline = (8, "Q", 8) if big else (2, "I", 4)
    row, endian = struct.Struct(f"{order}HH{letter}"), _ENDIAN[order]
    size, start, end = row.size + inline, offset + head_size, file.seek(0, io.SEEK_END)
    if start > end:
        raise ValueError("its list of pages leads beyond the end of the file")
    file.seek(offset)
    count = int.from_bytes(file.read(head_size), endian)
    if count > _MOST_ROWS or start + count * size > end:
        raise ValueError("the list of its tags is damaged")
    table = file.read(count * size + inline)
    slots = []
    for at in range(0, count * size, size):
        tag, kind, number = row.unpack_from(table, at)
        place, length = start + at + row.size, number * SIZES.get(kind, 0)
        if length > inline:
            place = int.from_bytes(table[at + row.size : at + size], endian)
        slots.append(Slot(tag, kind, number, place, length))
    last = table[count * size :]
    whole = len(last) == inline
    return Table(slots, int.from_bytes(last, endian) if whole else 0, whole, count * size, inline)


def read_directory(
    file: BinaryIO,
    offset: int,
    order: Order,
    *,
    big: bool = False,
    tag: int = 0,
    strict: bool = False,
    room: Room | None = None,
) -> Directory:
    """Read a directory and the EXIF directories below it, without damaged entries.

    The values together take at most as much memory as the file.

    Parameters
    ----------
    tag : int
        Tag that points to the directory; 0 for the directory of a page.
    strict : bool
        Also leave out entries whose type or number of values violates the standards; always done for EXIF data.
    room : Room, optional
        Limit that the directories of a file share.

    Raises
    ------
    ValueError
        When the file ends within the directory.
    """
    table, left = read_table(file, offset, order, big=big), file.seek(0, io.SEEK_END)
    size, room = left, room or Room(left)
    if not room.take(offset, table.length) or (strict and not table.whole):
        raise ValueError("it ends too early")
    found = Directory(order, following=table.following, offset=offset)
    for index, (number, kind, count, place, length) in enumerate(table.slots):
        if count == 0 or (strict and kind not in SIZES):
            continue  # a tag without values, or of an unknown type
        long = length > table.inline
        if long and not (length <= min(size - place, left) and room.take(place, length)):
            found.damaged[index] = number
            continue
        file.seek(place)
        data, left = file.read(length), left - length * long
        if not _is_right(number, kind, count, directory=tag, big=big, strict=strict):
            found.damaged[index] = number
        elif number not in _INNER.get(tag, ()):
            found.entries[number] = Entry(kind, data)
        else:
            try:
                at = int.from_bytes(data, _ENDIAN[order])
                found.inner[number] = read_directory(file, at, order, big=big, tag=number, strict=True, room=room)
            except ValueError:
                found.damaged[index] = number
    return found


def _is_right(tag: int, kind: int, count: int, *, directory: int = 0, big: bool = False, strict: bool = False) -> bool:
    """Check the type and the number of values of an entry, as `read_directory` does."""
    if kind not in SIZES or (strict and kind >= LONG8):
        return False
    if tag in _INNER.get(directory, ()):
        return kind in (_OFFSETS | _LONG_OFFSETS if big else _OFFSETS) and count == 1
    if tag in _TYPES:
        return kind in _TYPES[tag] and count == 1
    wanted = TiffTags.lookup(tag, max(directory, 0) or None)
    if not strict or not wanted.type or tag == IPTC:
        return True
    family = _FAMILY.get(kind)
    return family == _FAMILY.get(wanted.type) and (count == 1 or wanted.length != 1 or family == "bytes")


class Row(NamedTuple):
    """A row of a directory's table: a tag, type and number of values.

    `data` are the values; it is empty if they are too long for a row, and stored at `offset` instead.
    """

    tag: int
    type: int
    number: int
    data: bytes
    offset: int = 0


@dataclass
class Placed:
    """A directory whose values are already written to the file, but not its table."""

    rows: list[Row]
    inner: dict[int, Placed]

    @property
    def size(self) -> int:
        """Maximum size in bytes of the table and of the tables that it points to."""
        return 20 * (len(self.rows) + len(self.inner) + 2) + sum(inner.size for inner in self.inner.values())


class DirectoryWriter:
    """Writer that appends data, values and tables to a file.

    Parameters
    ----------
    file : BinaryIO
        File positioned at its end.
    order : "<" or ">"
    """

    def __init__(self, file: BinaryIO, order: Order) -> None:
        self.order, self.position = order, file.tell()
        self._file = file
        self._places: dict[bytes, int] = {}  # offset by digest of a value

    def append(self, data: bytes, *, even: bool = True) -> int:
        """Write `data` at an even offset, which values and tables need; return the offset."""
        gap = self.position % 2 if even else 0
        place = self.position + gap
        self.position += self._file.write(bytes(gap) + data)
        return place

    def place(self, directory: Directory) -> Placed:
        """Write the long values of a directory; equal values are written once."""
        directory = directory.in_order(self.order)
        rows = []
        for tag, (kind, data) in directory.entries.items():
            digest, offset = sha256(data).digest(), 0
            if len(data) > 4:  # too long for a row, except in BigTIFF
                offset = self._places[digest] = self._places.get(digest) or self.append(data)
            rows.append(Row(tag, kind, len(data) // SIZES[kind], data if len(data) <= 8 else b"", offset))
        return Placed(rows, {tag: self.place(inner) for tag, inner in directory.inner.items()})

    def write(self, placed: Placed, following: int, *, big: bool = False) -> int:
        """Write the tables of a directory and of those below it; return its offset.

        Parameters
        ----------
        following : int
            Offset of the next directory; 0 for the last.
        big : bool
            Write BigTIFF, with offsets of 64 bits.
        """
        inline, letter = (8, "Q") if big else (4, "I")
        rows = list(placed.rows)
        for tag, inner in placed.inner.items():
            offset = self.write(inner, 0, big=big)
            rows.append(Row(tag, LONG8 if big else LONG, 1, struct.pack(f"{self.order}{letter}", offset)))
        table = struct.pack(f"{self.order}{letter if big else 'H'}", len(rows))
        for tag, kind, number, data, offset in sorted(rows):
            value = data if 0 < len(data) <= inline else struct.pack(f"{self.order}{letter}", offset)
            table += struct.pack(f"{self.order}HH{letter}", tag, kind, number) + value.ljust(inline, b"\0")
        return self.append(table + struct.pack(f"{self.order}{letter}", following))


def head(first: int, order: Order = "<", *, big: bool = False) -> bytes:
    """Build the header of a file: 8 bytes, or 16 for BigTIFF.

    Parameters
    ----------
    first : int
        Offset of the first directory.
    """
    start = b"II" if order == "<" else b"MM"
    return start + (struct.pack(f"{order}HHHQ", 43, 8, 0, first) if big else struct.pack(f"{order}HI", 42, first))
