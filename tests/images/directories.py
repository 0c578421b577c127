"""TIFF directories for tests, from Python values.

References
----------
TIFF Revision 6.0, Adobe 1992: section 2; BigTIFF, Aware Systems 2007.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple, TypeAlias

from n2n_cli.images.tiff.entries import ASCII, BYTE, LONG, LONG8, RATIONAL, SHORT, UNDEFINED, Order


class StoredValues(NamedTuple):
    """Type, number and bytes of stored values.

    The bytes are in the byte order of the file.
    """

    type: int
    number: int
    data: bytes


Values: TypeAlias = StoredValues | bytes | str | int | Fraction | Sequence[int]

_BYTES = {700: BYTE}  # XMP
_LIMIT = 2**32


def directory(tags: Mapping[int, Values], offset: int, following: int, *, big: bool, order: Order = "<") -> bytes:
    """A directory for position `offset` of the file, followed by its longer values.

    Whole numbers are written with 16 bits if all fit, otherwise with 32 or, in BigTIFF, 64 bits.

    Parameters
    ----------
    tags : mapping of tag to values
    offset : int
    following : int
        Offset of the next directory; 0 for the last.
    big : bool
        BigTIFF: offsets of 64 bits.
    order : "<" or ">"
        Little-endian or big-endian.
    """
    count, entry, inline = (f"{order}Q", f"{order}HHQ", 8) if big else (f"{order}H", f"{order}HHI", 4)
    byte_order: Literal["little", "big"] = "little" if order == "<" else "big"
    place = offset + struct.calcsize(count) + len(tags) * (struct.calcsize(entry) + inline) + inline
    entries, behind = [struct.pack(count, len(tags))], bytearray()
    for tag in sorted(tags):
        kind, number, data = _encoded(tag, tags[tag], order)
        if len(data) > inline:
            at = (place + len(behind)).to_bytes(inline, byte_order)
            behind += data + bytes(len(data) % 2)  # every value starts at an even offset
            data = at
        entries.append(struct.pack(entry, tag, kind, number) + data.ljust(inline, b"\0"))
    entries.append(following.to_bytes(inline, byte_order))
    return b"".join(entries) + behind


def _encoded(tag: int, values: Values, order: Order) -> tuple[int, int, bytes]:
    """Type, count and bytes of a tag's values."""
    if isinstance(values, StoredValues):
        return values
    if isinstance(values, bytes):
        return _BYTES.get(tag, UNDEFINED), len(values), values
    if isinstance(values, str):
        data = values.encode() + b"\0"
        return ASCII, len(data), data
    if isinstance(values, Fraction):
        return RATIONAL, 1, struct.pack(f"{order}II", values.numerator, values.denominator)
    numbers = [values] if isinstance(values, int) else list(values)
    highest = max(numbers)
    kind, letter = (SHORT, "H") if highest < 2**16 else (LONG, "I") if highest < _LIMIT else (LONG8, "Q")
    return kind, len(numbers), struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
