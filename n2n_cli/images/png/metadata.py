"""Metadata of PNG files, read and written.

References
----------
Portable Network Graphics (PNG) Specification (Third Edition), W3C 2025: section 11.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

from n2n_cli.images import exif
from n2n_cli.images.picture import Metadata, Text

_LONGEST_TEXT, _LONGEST_PROFILE = 2**20, 2**24  # bytes; a small file can decompress to any length
_MOST_TEXT = 2**24  # bytes of all texts of a picture together
_MOST_UNPACKED = 2**26  # bytes that are decompressed for a picture, whether they are kept or not
_COLOUR = (b"cHRM", b"cICP", b"gAMA", b"sRGB")
_XMP = "XML:com.adobe.xmp"
_INCH = 0.0254  # metres
_PACKED_FROM = 1024  # bytes; compression gains nothing for shorter texts


def read_metadata(chunks: list[tuple[bytes, bytes]]) -> tuple[Metadata, tuple[str, ...]]:
    """Metadata from (name, content) of chunks, and notes on what was left out."""
    reader = _Reader()
    for name, content in chunks:
        reader.take(name, content)
    return reader.finished()


class _Reader:
    """Collects metadata, leaving out what is damaged or too long."""

    def __init__(self) -> None:
        self._metadata = Metadata()
        self._notes: dict[str, None] = {}  # each once, in order
        self._texts: list[Text] = []
        self._colour: list[tuple[bytes, bytes]] = []
        self._room, self._unpackable = _MOST_TEXT, _MOST_UNPACKED

    def take(self, name: bytes, content: bytes) -> None:
        known: dict[bytes, Callable[[bytes], None]] = {
            b"eXIf": self._exif,
            b"iCCP": self._profile,
            b"pHYs": self._density,
            b"tEXt": self._text,
            b"zTXt": self._packed_text,
            b"iTXt": self._international_text,
        }
        if name in _COLOUR:
            self._colour.append((name, content))
        elif name in known:
            try:
                known[name](content)
            except _TooLongError:
                self._notes[f"its {name.decode()} chunk is too long and was left out"] = None
            except Exception:  # damaged EXIF data may raise any exception
                damaged = exif.DAMAGED if name == b"eXIf" else f"its {name.decode()} chunk is damaged and was left out"
                self._notes[damaged] = None

    def finished(self) -> tuple[Metadata, tuple[str, ...]]:
        if self._texts:
            self._metadata["texts"] = tuple(self._texts)
        if self._colour:
            self._metadata["colour"] = tuple(self._colour)
        return self._metadata, tuple(self._notes)

    def _exif(self, content: bytes) -> None:
        if content:
            self._metadata["exif"] = exif.checked(content)

    def _profile(self, content: bytes) -> None:
        if "icc_profile" in self._metadata:
            raise ValueError
        _, _, packed = content.partition(b"\0")
        self._metadata["icc_profile"] = self._unpacked(packed, _LONGEST_PROFILE)

    def _density(self, content: bytes) -> None:
        x, y, unit = struct.unpack(">IIB", content)
        if unit == 1 and (dpi := exif.dots_per_inch(x * _INCH, y * _INCH)):
            self._metadata["dpi"] = dpi
        elif unit == 0 and (aspect := exif.density(x, y)):
            self._metadata["aspect"] = aspect

    def _text(self, content: bytes) -> None:
        keyword, _, text = content.partition(b"\0")
        self._add(keyword, text.decode("latin-1"))

    def _packed_text(self, content: bytes) -> None:
        keyword, _, packed = content.partition(b"\0")
        self._add(keyword, self._unpacked(packed, _LONGEST_TEXT).decode("latin-1"))

    def _international_text(self, content: bytes) -> None:
        keyword, _, rest = content.partition(b"\0")
        is_packed, rest = rest[0], rest[1:]
        language, translated, text = rest[1:].split(b"\0", 2)
        text = self._unpacked(rest[:1] + text, _LONGEST_TEXT) if is_packed else text
        self._add(keyword, text.decode(), language.decode("ascii"), translated.decode())

    def _add(self, keyword: bytes, text: str, language: str = "", translated: str = "") -> None:
        key = keyword.decode("latin-1")
        if not 0 < len(key) < 80:
            raise ValueError
        if len(text) > min(_LONGEST_TEXT, self._room):
            raise _TooLongError
        self._room -= len(text)
        kind = key.removeprefix("Raw profile type ") if key.startswith("Raw profile type ") else ""
        if key == _XMP or kind == "xmp":
            self._metadata["xmp"] = _raw_profile(text) if kind else text.encode()
        elif kind in ("exif", "APP1"):  # as ImageMagick writes it
            try:
                self._metadata.setdefault("exif", exif.checked(_raw_profile(text)))
            except Exception:
                self._notes[exif.DAMAGED] = None
        else:
            self._texts.append(Text(keyword=key, text=text, language=language, translated=translated))

    def _unpacked(self, packed: bytes, most: int) -> bytes:
        """Decompress bytes; the first one is the method, always 0."""
        most = min(most, self._unpackable)
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(packed[1:], most + 1)
        self._unpackable -= min(len(data), self._unpackable)
        if len(data) > most:
            raise _TooLongError
        if packed[:1] != b"\0" or not unpacker.eof:
            raise ValueError
        return data


class _TooLongError(Exception):
    pass


def _raw_profile(text: str) -> bytes:
    """Parse bytes from text: lines with their kind and number, then hex digits."""
    _, length, digits = text.lstrip("\n").split("\n", 2)
    data = bytes.fromhex("".join(digits.split()))
    if len(data) != int(length):
        raise ValueError
    return data


def write_metadata(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    """(name, content) of the chunks to be written before the pixels, in order."""
    for name, content in metadata.get("colour", ()):
        if not (name == b"sRGB" and "icc_profile" in metadata):  # the two would contradict each other
            yield name, content
    if "icc_profile" in metadata:
        yield b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata["icc_profile"])
    if "dpi" in metadata:
        x, y = (round(value / _INCH) for value in metadata["dpi"])
        yield b"pHYs", struct.pack(">IIB", x, y, 1)
    elif "aspect" in metadata:
        yield b"pHYs", struct.pack(">IIB", *_whole(*metadata["aspect"]), 0)
    if "exif" in metadata:
        yield b"eXIf", metadata["exif"].removeprefix(exif.HEAD)
    if "xmp" in metadata:
        yield b"iTXt", _XMP.encode() + b"\0\0\0\0\0" + metadata["xmp"]
    for text in metadata.get("texts", ()):
        yield _text_chunk(text)


def _whole(x: float, y: float) -> tuple[int, int]:
    """Two whole numbers of the ratio x : y."""
    scale = 1 if x % 1 == y % 1 == 0 else 10_000
    return max(1, round(x * scale)), max(1, round(y * scale))


def _text_chunk(text: Text) -> tuple[bytes, bytes]:
    keyword = text["keyword"].encode("latin-1") + b"\0"
    international = bool(text["language"] or text["translated"])
    try:
        content = text["text"].encode("utf-8" if international else "latin-1")
    except UnicodeEncodeError:
        content, international = text["text"].encode(), True
    packed = len(content) >= _PACKED_FROM
    content = zlib.compress(content) if packed else content
    if international:
        names = text["language"].encode() + b"\0" + text["translated"].encode() + b"\0"
        return b"iTXt", keyword + bytes([packed, 0]) + names + content
    return (b"zTXt", keyword + b"\0" + content) if packed else (b"tEXt", keyword + content)
