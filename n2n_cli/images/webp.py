"""Chunks of WebP files, and the metadata in them.

References
----------
WebP Container Specification, RFC 9649 (2024).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from n2n_cli.images import exif
from n2n_cli.images.picture import Metadata, Part, Stored
from n2n_cli.images.tiff.entries import Order

_HEAD = 12  # bytes before the first chunk
_LAYOUT = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"}


def bytes_behind(file: BinaryIO) -> int:
    """Number of bytes after a picture."""
    file.seek(4)
    end = 8 + int.from_bytes(file.read(4), "little")
    return max(0, file.seek(0, io.SEEK_END) - end - end % 2)


def read_chunks(file: BinaryIO) -> Iterator[Part]:
    """Read the chunks that do not hold pixels."""
    at, end = _HEAD, file.seek(0, io.SEEK_END) - bytes_behind(file)
    while at + 8 <= end:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if name not in _LAYOUT:
            yield Part(name, file.read(length))
        at += 8 + length + length % 2


def read_metadata(parts: Iterable[Part]) -> tuple[Metadata, tuple[str, ...]]:
    """Decode metadata from chunks; also returns notes on data left out."""
    metadata, others, notes = Metadata(), list[Part](), list[str]()
    for part in parts:
        if part.key == b"EXIF" and part.data:
            try:
                metadata["exif"], whole = exif.checked(part.data)
                notes += [] if whole else [exif.PARTLY_DAMAGED]
            except ValueError:
                notes.append(exif.DAMAGED)
        elif part.key == b"ICCP":
            metadata["icc_profile"] = part.data
        elif part.key == b"XMP ":
            metadata["xmp"] = part.data
        elif part.key == b"C2PA":
            notes.append("its content credentials (C2PA) do not fit other pixels and were left out")
        else:
            others.append(part)
    if "exif" in metadata:
        metadata |= exif.resolution_of(exif.parsed(metadata["exif"]))
    if others:
        metadata["stored"] = Stored("WEBP", tuple(others))
    return metadata, tuple(notes)


def kinds(part: Part) -> set[str]:
    """Return no keys: the encoder writes all metadata that has a key."""
    return set()


def read_stored(stored: Stored) -> Metadata:
    """Return no metadata: the encoder writes all that has a key."""
    return Metadata()


def written(key: str, metadata: Metadata, order: Order) -> list[Part] | None:
    """Return None if WebP cannot hold a key of `metadata`, else no parts."""
    return [] if key in ("exif", "icc_profile", "xmp") else None


def names(metadata: Metadata, parts: Iterable[Part]) -> list[str]:
    """Names of the chunks that other formats cannot hold."""
    return [f"{bytes(part.key).decode('latin-1').strip()} chunk" for part in parts]


def append_chunks(file: BinaryIO, parts: Iterable[Part]) -> None:
    """Add chunks at the end of a file."""
    end = file.seek(0, io.SEEK_END)
    for part in parts:
        data = part.data + bytes(len(part.data) % 2)
        end += file.write(struct.pack("<4sI", part.key, len(part.data)) + data)
    file.seek(4)
    file.write(struct.pack("<I", end - 8))
