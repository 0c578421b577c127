"""Checking and editing of EXIF data and resolutions."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, TypeAlias

from n2n_cli.images.picture import Metadata
from n2n_cli.images.tiff import entries as tiff
from n2n_cli.images.tiff.entries import Directory, DirectoryWriter, Entry, Order, Placed, Row

Values: TypeAlias = tuple[int, tuple[int, ...] | bytes]

HEAD = b"Exif\0\0"
ORIENTATION = tiff.ORIENTATION
DAMAGED = "its EXIF data is damaged and was left out"
PARTLY_DAMAGED = "a damaged part of its EXIF data was left out"
DESCRIPTIVE_TAGS = {270, 271, 272, ORIENTATION, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096)}
"""Tags of a TIFF page that EXIF data has, too: texts, camera, dates, ratings."""
TEXTS = {"Description": 270, "Software": 305, "Author": 315, "Copyright": 33432, "Comment": 270}
"""Tags for texts of other formats, by PNG keyword."""
_ORDERS: Mapping[bytes, Order] = {b"II*\0": "<", b"MM\0*": ">"}
_EMPTY = tiff.head(8, "<") + bytes(6)
_ROW = 12  # bytes of a row of a directory
_CENTIMETRE, _CENTIMETRES_AN_INCH = 3, 2.54  # value of the tag ResolutionUnit
_LIMIT = 2**32  # limit of the numbers of a rational
_XMP_ORIENTATION = re.compile(rb'(tiff:Orientation(?:=["\']|>))[0-9]')


def parsed(data: bytes) -> Directory:
    """Parse the directories of EXIF data.

    Raises
    ------
    ValueError
        When the first directory cannot be read.
    """
    data = data.removeprefix(HEAD)
    if data[:4] not in _ORDERS or len(data) < 8:
        raise ValueError("its EXIF data has no header")
    order = _ORDERS[data[:4]]
    return tiff.read_directory(io.BytesIO(data), struct.unpack(f"{order}I", data[4:8])[0], order, strict=True)


def checked(data: bytes) -> tuple[bytes, bool]:
    """Add JPEG's header to EXIF data and remove damaged entries.

    All else stays in its place, since makers' notes may hold offsets.

    Returns
    -------
    (bytes, bool)
        The data, and True if no entry was removed.

    Raises
    ------
    ValueError
        When no part of the data can be read.
    """
    changed = bytearray(data.removeprefix(HEAD))
    whole = True
    for _ in range(4):  # directories may overlap, so that a change of one damages another
        first = parsed(bytes(changed))
        if not (first.entries or first.inner or whole):
            raise ValueError("its EXIF data is empty")
        found = [*directories(first)]
        if first.following:
            try:
                found.append(
                    tiff.read_directory(io.BytesIO(changed), first.following, first.order, tag=-1, strict=True)
                )
            except ValueError:
                first.damaged[-1] = 0
        damaged = [directory for directory in found if directory.damaged]
        if not damaged:
            return HEAD + bytes(changed), whole
        whole = False
        for directory in damaged:
            _cut(changed, directory)
    raise ValueError("its EXIF data is damaged")


def directories(first: Directory) -> Iterator[Directory]:
    """Yield a directory and all directories below it."""
    yield first
    for inner in first.inner.values():
        yield from directories(inner)


def _cut(data: bytearray, directory: Directory) -> None:
    """Remove damaged rows of a directory's table in place.

    Row -1 is the offset of the next directory.
    """
    rows, following = _table(data, directory)
    kept = b"".join(row for index, row in enumerate(rows) if index not in directory.damaged)
    following = bytes(4) if -1 in directory.damaged else following
    table = struct.pack(f"{directory.order}H", len(kept) // _ROW) + kept + following
    end = directory.offset + 2 + len(rows) * _ROW + 4
    data[directory.offset : end] = table.ljust(end - directory.offset, b"\0")


def _table(data: bytes | bytearray, directory: Directory) -> tuple[list[bytes], bytes]:
    """Read the rows of a directory's table, and the offset after them."""
    start = directory.offset + 2
    (count,) = struct.unpack_from(f"{directory.order}H", data, directory.offset)
    end = start + count * _ROW
    return [bytes(data[at : at + _ROW]) for at in range(start, end, _ROW)], bytes(data[end : end + 4])


def built(directory: Directory) -> bytes:
    """Build EXIF data from directories."""
    file = io.BytesIO()
    file.write(bytes(8))
    writer = DirectoryWriter(file, directory.order)
    first = writer.write(writer.place(directory), 0)
    return HEAD + tiff.head(first, directory.order) + file.getvalue()[8:]


def with_entries(data: bytes, entries: Mapping[int, Values]) -> bytes:
    """Add entries, given by type and values, to EXIF data.

    All else stays in its place.
    """
    data = data.removeprefix(HEAD) or _EMPTY
    first = parsed(data)
    added = Directory(first.order, {tag: entry(first.order, *values) for tag, values in entries.items()})
    file = io.BytesIO()
    file.write(data)
    writer = DirectoryWriter(file, first.order)
    rows = [Row(*struct.unpack(f"{first.order}HHI4s", row)) for row in _table(data, first)[0]]
    placed = writer.place(added)
    place = writer.write(Placed([row for row in rows if row.tag not in entries] + placed.rows, {}), first.following)
    return HEAD + tiff.head(place, first.order) + file.getvalue()[8:]


def entry(order: Order, kind: int, values: tuple[int, ...] | bytes) -> Entry:
    """Make an entry of bytes, or of whole numbers; a rational is given by two."""
    if isinstance(values, bytes):
        return Entry(kind, values)
    letter = {tiff.SHORT: "H", tiff.LONG: "I", tiff.RATIONAL: "I", tiff.LONG8: "Q"}[kind]
    return Entry(kind, struct.pack(f"{order}{len(values)}{letter}", *values))


def upright_xmp(data: bytes) -> bytes:
    """Set the orientation in XMP data to upright."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", data)


def orientation(data: bytes) -> int:
    """Read the orientation, 1 to 8, from checked EXIF data; 1 by default."""
    first = parsed(data)
    found = first.entries.get(ORIENTATION)
    value = found.numbers(first.order)[0] if found else 1
    return value if 1 <= value <= 8 else 1


def resolution_of(directory: Directory) -> Metadata:
    """Read the resolution of a directory, as `dpi` or `aspect`; empty if it has none."""
    values = []
    for tag in (tiff.X_RESOLUTION, tiff.Y_RESOLUTION):
        over, under = (*directory.entries[tag].numbers(directory.order), 1)[:2] if tag in directory.entries else (0, 1)
        values.append(over / under if under else 0)
    found = directory.entries.get(tiff.RESOLUTION_UNIT)
    unit = found.numbers(directory.order)[0] if found else 2
    if unit == 1:
        aspect = density(values[0], values[1])
        return Metadata(aspect=aspect) if aspect else Metadata()
    dpi = dots_per_inch(values[0], values[1], unit)
    return Metadata(dpi=dpi) if dpi else Metadata()


def resolution_entries(x: float, y: float, *, unit: int) -> dict[int, Values]:
    """Make the entries of a resolution; `unit` is 1 for none and 2 for dots per inch."""
    entries: dict[int, Values] = {tiff.RESOLUTION_UNIT: (tiff.SHORT, (unit,))}
    for tag, value in ((tiff.X_RESOLUTION, x), (tiff.Y_RESOLUTION, y)):
        share = Fraction(value).limit_denominator(max(1, min(2**20, int(_LIMIT / (value + 1)))))
        entries[tag] = (tiff.RATIONAL, (share.numerator, share.denominator))
    return entries


def density(x: Any, y: Any) -> tuple[float, float] | None:
    """Convert a resolution to floats; None if it is invalid."""
    try:
        pair = float(x), float(y)
    except (ArithmeticError, TypeError, ValueError):
        return None
    return pair if all(0 < value < _LIMIT for value in pair) else None


def dots_per_inch(x: Any, y: Any, unit: Any = None) -> tuple[float, float] | None:
    """Convert a resolution to dots per inch; None if invalid or 1, meaning unknown.

    Parameters
    ----------
    unit : int, optional
        Unit as in EXIF data: 3 for dots per centimetre, any other value for dots per inch.
    """
    pair = density(x, y)
    if pair and unit == _CENTIMETRE:
        pair = density(*(_CENTIMETRES_AN_INCH * value for value in pair))
    return pair if pair and min(pair) > 1 else None
