"""Segments of JPEG files, and the metadata in them.

References
----------
ITU-T T.81 (1992): B.1.1; ITU-T T.871 (2011): JFIF; Exif 3.0, CIPA 2023: section 4.7; XMP part 3, Adobe 2020: 1.1.3;
ICC.1:2022: B.4.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from n2n_cli.images import exif, photoshop
from n2n_cli.images.picture import Metadata, Part, Stored, Text
from n2n_cli.images.tiff.entries import Order

_APP0, _APP1, _APP2, _APP11, _APP13, _APP14, _COMMENT = 0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xEE, 0xFE
_START_OF_SCAN, _WITHOUT_LENGTH = 0xDA, (0x00, 0x01, *range(0xD0, 0xDA))
_MARKER, _END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL), b"\xff\xd9"  # within the pixels
_BLOCK = 2**20  # bytes searched at once
_LONGEST = 65_533  # maximum bytes of a segment's content
_JFIF = struct.Struct(">5sHBHHBB")  # head, version, unit, densities, size of a thumbnail
_PER_INCH, _PER_CENTIMETRE = 1, 2  # units of JFIF
_ICC_HEAD = 14  # bytes: name, number of the segment, number of all segments
_ICC, _XMP = b"ICC_PROFILE\0", b"http://ns.adobe.com/xap/1.0/\0"
_KINDS = {
    (_APP0, b"JFIF\0"): {"dpi", "aspect"},
    (_APP1, exif.HEAD): {"exif"},
    (_APP1, _XMP): {"xmp"},
    (_APP2, _ICC): {"icc_profile"},
    (_APP13, photoshop.HEAD): {"photoshop"},
    (_COMMENT, b""): {"texts"},
}
_LAYOUT = ((_APP14, b"Adobe"), (_APP2, b"MPF\0"))
"""Segments that describe how a file stores pixels: their colour transform, and offsets of further pictures."""


def read_segments(file: BinaryIO) -> Iterator[Part]:
    """Read the application segments and comments of a JPEG, up to its pixels."""
    file.seek(2)
    while byte := file.read(1):
        if byte != b"\xff":
            continue
        while byte == b"\xff":
            byte = file.read(1)
        if not byte or byte[0] == _START_OF_SCAN:
            return
        if byte[0] in _WITHOUT_LENGTH:
            continue
        content = file.read(max(0, int.from_bytes(file.read(2)) - 2))
        if _APP0 <= byte[0] < _APP0 + 16 or byte[0] == _COMMENT:
            yield Part(byte[0], content)


def bytes_behind(file: BinaryIO) -> int:
    """Number of bytes after the picture, such as a video.

    The position of `file` is where `read_segments` ended.
    """
    base, size, at = file.tell(), file.seek(0, io.SEEK_END), 0
    block = _block(file, base)
    while True:
        found = _MARKER.search(block, at)
        if found and found[0] == _END:
            return size - base - found.end()
        if found and found.end() + 2 <= len(block):  # start of another scan, or of tables before it
            at = found.end() + max(2, int.from_bytes(block[found.end() : found.end() + 2]))
        elif len(block) < _BLOCK:
            return 0
        else:
            base += found.start() if found else max(at, len(block) - 1)
            block, at = _block(file, base), 0


def _block(file: BinaryIO, at: int) -> bytes:
    file.seek(at)
    return file.read(_BLOCK)


def segments_of(parts: Iterable[Part]) -> bytes:
    """Concatenate segments, with their markers and lengths."""
    return b"".join(struct.pack(">BBH", 0xFF, part.key, len(part.data) + 2) + part.data for part in parts)


def kinds(part: Part) -> set[str]:
    """Keys of `Metadata` that a segment holds."""
    found = (kinds for (key, head), kinds in _KINDS.items() if part.key == key and part.data.startswith(head))
    return next(found, set())


def read_metadata(parts: Iterable[Part]) -> tuple[Metadata, tuple[str, ...]]:
    """Decode metadata from segments; also returns notes on data left out."""
    kept = [part for part in parts if not any(part.key == key and part.data.startswith(h) for key, h in _LAYOUT)]
    signed = {part.data[2:4] for part in kept if part.key == _APP11 and b"c2pa" in part.data}  # numbers of boxes
    kept = [part for part in kept if part.key != _APP11 or part.data[2:4] not in signed]
    notes = ["its content credentials (C2PA) do not fit other pixels and were left out"] if signed else []
    metadata = Metadata()
    for key, (name, read) in _READERS.items():
        own = [part for part in kept if key in kinds(part)]
        try:
            values, whole = read([part.data for part in own]) if own else (Metadata(), True)
            metadata |= values
            notes += [] if whole else [exif.PARTLY_DAMAGED]
        except (ValueError, struct.error):
            whole = False
            notes.append(f"its {name} is damaged and was left out")
        kept = kept if whole else [part for part in kept if part not in own]
    if "exif" in metadata and "dpi" not in metadata and (known := exif.resolution_of(exif.parsed(metadata["exif"]))):
        metadata.pop("aspect", None)
        metadata |= known
    if kept:
        metadata["stored"] = Stored("JPEG", tuple(kept))
    return metadata, tuple(notes)


def _exif(contents: list[bytes]) -> tuple[Metadata, bool]:
    joined = b"".join(content.removeprefix(exif.HEAD) for content in contents)
    data, whole = exif.checked(joined) if joined else (b"", True)
    return (Metadata(exif=data) if data else Metadata()), whole


def _profile(contents: list[bytes]) -> tuple[Metadata, bool]:
    contents = sorted({*contents})  # sorted by number; some files repeat segments
    if [content[12:14] for content in contents] != [bytes([i + 1, len(contents)]) for i in range(len(contents))]:
        raise ValueError("a segment of the profile is missing")
    return Metadata(icc_profile=b"".join(content[_ICC_HEAD:] for content in contents)), True


def _photoshop(contents: list[bytes]) -> tuple[Metadata, bool]:
    data = b"".join(content.removeprefix(photoshop.HEAD) for content in contents)
    photoshop.iptc_of(data)
    return Metadata(photoshop=data), True


def _jfif(contents: list[bytes]) -> tuple[Metadata, bool]:
    _, _, unit, x, y, _, _ = _JFIF.unpack_from(contents[0])
    if unit in (_PER_INCH, _PER_CENTIMETRE):
        dpi = exif.dots_per_inch(x, y, unit + 1)
        return (Metadata(dpi=dpi) if dpi else Metadata()), True
    aspect = exif.density(x, y) if x != y else None
    return (Metadata(aspect=aspect) if aspect else Metadata()), True


def _comments(contents: list[bytes]) -> tuple[Metadata, bool]:
    texts = tuple(_comment(content) for content in contents if content)
    return (Metadata(texts=texts) if texts else Metadata()), True


def _comment(content: bytes) -> Text:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return Text(keyword="Comment", text=text, language="", translated="")


_READERS: dict[str, tuple[str, Callable[[list[bytes]], tuple[Metadata, bool]]]] = {
    "exif": ("EXIF data", _exif),
    "icc_profile": ("colour profile", _profile),
    "xmp": ("XMP data", lambda contents: (Metadata(xmp=contents[0].removeprefix(_XMP)), True)),
    "photoshop": ("IPTC data", _photoshop),
    "dpi": ("JFIF segment", _jfif),
    "texts": ("comment", _comments),
}


def read_stored(stored: Stored) -> Metadata:
    """Decode the metadata in stored segments."""
    return read_metadata(stored.parts)[0]


def written(key: str, metadata: Metadata, order: Order) -> list[Part] | None:
    """Encode one key of `metadata` as segments; None if JPEG cannot hold it."""
    parts = []
    if key == "exif":
        parts = [Part(_APP1, metadata["exif"])]
    elif key == "xmp":
        parts = [Part(_APP1, _XMP + metadata["xmp"])]
    elif key == "photoshop":
        parts = [Part(_APP13, photoshop.HEAD + metadata["photoshop"])]
    elif key == "texts":
        parts = [Part(_COMMENT, text["text"].encode()) for text in metadata["texts"]]
    elif key == "icc_profile":
        profile, length = metadata["icc_profile"], _LONGEST - _ICC_HEAD
        pieces = [profile[at : at + length] for at in range(0, len(profile), length)]
        if len(pieces) > 255:
            return None
        parts = [Part(_APP2, _ICC + bytes([i, len(pieces)]) + piece) for i, piece in enumerate(pieces, 1)]
    elif whole := whole_resolution(metadata):
        parts = [Part(_APP0, _JFIF.pack(b"JFIF\0", 0x101, _PER_INCH if key == "dpi" else 0, *whole, 0, 0))]
    return parts if parts and all(len(part.data) <= _LONGEST for part in parts) else None


def whole_resolution(metadata: Metadata) -> tuple[int, int] | None:
    """Round a resolution to whole numbers, as JFIF requires.

    None if that changes the resolution by 0.1% or more.
    """
    values = metadata.get("dpi") or metadata.get("aspect") or (0, 0)
    x, y = (round(value) for value in values)
    fits = all(0 < n < 2**16 and abs(n - value) < value / 1000 for n, value in zip((x, y), values, strict=True))
    return (x, y) if fits else None


def names(metadata: Metadata, parts: Iterable[Part]) -> list[str]:
    """Names of the segments that other formats cannot hold."""
    found: dict[str, None] = {}
    for part in parts:
        word = part.data[:40].partition(b"\0")[0].decode("latin-1")
        word = "extended XMP" if word.endswith("/xmp/extension/") else word
        found[f"APP{int(part.key) - _APP0}{f' ({word})' if word.isprintable() and word else ''}"] = None
    return list(found)
