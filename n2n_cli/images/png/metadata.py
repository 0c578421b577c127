"""Metadata of PNG files, read and written.

References
----------
Portable Network Graphics (PNG) Specification (Third Edition), W3C 2025: sections 5.4, 11.3 and 14.2; Extensions to the
PNG Specification, version 1.5.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

from n2n_cli.images import exif, photoshop
from n2n_cli.images.picture import Metadata, Part, Stored, Text
from n2n_cli.images.png.chunks import Header
from n2n_cli.images.tiff.entries import Order

_LONGEST_TEXT, _LONGEST_PROFILE = 2**20, 2**24  # bytes; a small file can decompress to any length
_MOST_TEXT = 2**24  # bytes of all texts of a picture together
_MOST_UNPACKED = 2**26  # maximum bytes decompressed for a picture, kept or not
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_LAYOUT = {b"acTL", b"fcTL", b"fdAT", b"iDOT"}
"""Chunks that describe the layout of pixels in this file (iDOT: Apple's)."""
_OF_SAMPLES = {b"bKGD", b"sBIT", b"hIST"}
"""Chunks whose length depends on the type of the stored pixels."""
_KNOWN = {b"cHRM", b"gAMA", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"pCAL", b"sCAL", b"sTER", b"oFFs", b"gIFg", b"gIFx"}
_KNOWN |= {b"iCCP", b"pHYs", b"eXIf", b"tIME", b"sPLT", *_TEXTS, *_OF_SAMPLES}
_LENGTHS = {
    b"gAMA": 4,
    b"cHRM": 32,
    b"sRGB": 1,
    b"cICP": 4,
    b"mDCV": 24,
    b"cLLI": 8,
    b"pHYs": 9,
    b"tIME": 7,
    b"oFFs": 9,
}
_SAFE_TO_COPY = 32  # bit in the last letter of a name: set if the chunk fits any changed pixels
_OF_SRGB = {b"sRGB", b"gAMA", b"cHRM"}
_XMP = b"XML:com.adobe.xmp"
_RAW_PROFILE = b"Raw profile type "
_RAW_KINDS = {b"exif": "exif", b"APP1": "exif", b"xmp": "xmp", b"iptc": "photoshop"}
"""Keys of `Metadata` by the type of a raw profile, a text that ImageMagick writes."""
_INCH = 0.0254  # metres
_PACKED_FROM = 1024  # minimum bytes of a text to compress; shorter ones do not shrink


def fitting(parts: Iterable[Part], header: Header, *, transparent: bool) -> tuple[list[Part], tuple[str, ...]]:
    """Select the chunks that fit changed pixels; also returns notes on the others.

    As the specification requires, an unknown chunk is kept only if its name marks it as safe to copy.

    Parameters
    ----------
    transparent : bool
        True if the file has a transparent colour, which becomes alpha.
    """
    same = header.depth >= 8 and header.colour != 3 and not transparent
    fit, others = list[Part](), dict[str, None]()
    for part in parts:
        name = bytes(part.key)
        if name in _KNOWN - (set() if same else _OF_SAMPLES) or (name not in _KNOWN and name[3] & _SAFE_TO_COPY):
            fit.append(part)
        elif name not in _LAYOUT:
            others[name.decode("latin-1")] = None
    return fit, (f"its chunks {', '.join(others)} do not fit other pixels and were left out",) if others else ()


def read_metadata(parts: Iterable[Part]) -> tuple[Metadata, tuple[str, ...]]:
    """Decode metadata from chunks; also returns notes on data left out."""
    reader = _Reader()
    for part in parts:
        reader.take(part)
    return reader.finished()


class _Reader:
    """Collector of metadata that leaves out damaged or too long chunks."""

    def __init__(self) -> None:
        self._metadata = Metadata()
        self._kept: list[Part] = []
        self._notes: dict[str, None] = {}  # each once, in order
        self._texts: list[Text] = []
        self._room, self._unpackable = _MOST_TEXT, _MOST_UNPACKED

    def take(self, part: Part) -> None:
        name = bytes(part.key).decode("latin-1")
        try:
            if self._understood(bytes(part.key), part.data):
                self._kept.append(part)
        except _TooLongError:
            self._notes[f"its {name} chunk is too long and was left out"] = None
        except _ExifError:
            self._notes[exif.DAMAGED] = None
        except (ValueError, IndexError, struct.error, zlib.error):
            self._notes[f"its {name} chunk is damaged and was left out"] = None

    def finished(self) -> tuple[Metadata, tuple[str, ...]]:
        if self._texts:
            self._metadata["texts"] = tuple(self._texts)
        if self._kept:
            self._metadata["stored"] = Stored("PNG", tuple(self._kept))
        return self._metadata, tuple(self._notes)

    def _understood(self, name: bytes, content: bytes) -> bool:
        """Add the metadata of a chunk; False if the chunk cannot be written unchanged."""
        if len(content) != _LENGTHS.get(name, len(content)):
            raise ValueError("its length is wrong")
        if name == b"eXIf":
            return self._exif(content)
        if name == b"iCCP":
            if "icc_profile" in self._metadata:
                raise ValueError("there is another one")
            _, _, packed = content.partition(b"\0")
            self._metadata["icc_profile"] = self._unpacked(packed, _LONGEST_PROFILE)
        elif name == b"pHYs":
            x, y, unit = struct.unpack(">IIB", content)
            if unit == 1 and (dpi := exif.dots_per_inch(x * _INCH, y * _INCH)):
                self._metadata["dpi"] = dpi
            elif unit == 0 and (aspect := exif.density(x, y)):
                self._metadata["aspect"] = aspect
        elif name in _TEXTS:
            return self._text(name, content)
        return True

    def _exif(self, content: bytes) -> bool:
        if not content:
            return True
        try:
            data, whole = exif.checked(content)
        except ValueError:
            raise _ExifError from None
        if not whole:
            self._notes[exif.PARTLY_DAMAGED] = None
        self._metadata.setdefault("exif", data)
        return whole

    def _text(self, name: bytes, content: bytes) -> bool:
        keyword, end, rest = content.partition(b"\0")
        if not (0 < len(keyword) < 80 and end):
            raise ValueError("there is no keyword")
        language = translated = b""
        if name == b"iTXt":
            packed, rest = rest[0], rest[1:]
            language, translated, text = rest[1:].split(b"\0", 2)
            text = self._unpacked(rest[:1] + text, _LONGEST_TEXT) if packed else text
        else:
            text = self._unpacked(rest, _LONGEST_TEXT) if name == b"zTXt" else rest
        if len(text) > min(_LONGEST_TEXT, self._room):
            raise _TooLongError
        self._room -= len(text)
        (kind,) = kinds(Part(name, content))
        data = _raw_profile(text, kind) if keyword.startswith(_RAW_PROFILE) and kind != "texts" else text
        if kind == "exif":
            return self._exif(data)
        if kind == "xmp":
            self._metadata["xmp"] = data
        elif kind == "photoshop":
            self._metadata["photoshop"] = data if photoshop.iptc_of(data) else photoshop.with_iptc(b"", data)
        else:
            encoding = "utf-8" if name == b"iTXt" else "latin-1"
            found = (keyword.decode("latin-1"), text.decode(encoding), language.decode("ascii"), translated.decode())
            self._texts.append(Text(keyword=found[0], text=found[1], language=found[2], translated=found[3]))
        return True

    def _unpacked(self, packed: bytes, most: int) -> bytes:
        """Decompress bytes after the first, which is the method and always 0."""
        most = min(most, self._unpackable)
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(packed[1:], most + 1)
        self._unpackable -= min(len(data), self._unpackable)
        if len(data) > most:
            raise _TooLongError
        if packed[:1] != b"\0" or not unpacker.eof:
            raise ValueError("its packed data is damaged")
        return data


class _TooLongError(Exception):
    pass


class _ExifError(Exception):
    pass


def _raw_profile(text: bytes, kind: str) -> bytes:
    """Parse a raw profile: lines with kind and number of bytes, then hex digits."""
    try:
        _, length, digits = text.lstrip(b"\n").split(b"\n", 2)
        data = bytes.fromhex(digits.decode("ascii"))
        if len(data) == int(length):
            return data
    except ValueError:
        pass
    raise _ExifError if kind == "exif" else ValueError("it is not a profile")


def kinds(part: Part) -> set[str]:
    """Keys of `Metadata` that a chunk holds."""
    if part.key not in _TEXTS:
        known = {b"eXIf": {"exif"}, b"iCCP": {"icc_profile"}, b"pHYs": {"dpi", "aspect"}}
        return known.get(bytes(part.key), set())
    keyword = part.data.partition(b"\0")[0]
    profiles = {_RAW_PROFILE + kind: {key} for kind, key in _RAW_KINDS.items()}
    return profiles.get(keyword, {"xmp"} if keyword == _XMP else {"texts"})


def read_stored(stored: Stored) -> Metadata:
    """Decode the metadata in stored chunks."""
    return read_metadata(stored.parts)[0]


def written(key: str, metadata: Metadata, order: Order) -> list[Part] | None:
    """Encode one key of `metadata` as chunks; None if PNG cannot hold it."""
    if key == "exif":
        return [Part(b"eXIf", metadata["exif"].removeprefix(exif.HEAD))]
    if key == "icc_profile":
        return [Part(b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata["icc_profile"]))]
    if key == "xmp":
        return [Part(b"iTXt", _XMP + b"\0\0\0\0\0" + metadata["xmp"])]
    if key == "texts":
        return [_text_chunk(text) for text in metadata["texts"]]
    if key not in ("dpi", "aspect"):
        return None
    x, y = (round(value / _INCH) for value in metadata["dpi"]) if key == "dpi" else _whole(*metadata["aspect"])
    return [Part(b"pHYs", struct.pack(">IIB", x, y, key == "dpi"))] if max(x, y) < 2**31 else None


def names(metadata: Metadata, parts: Iterable[Part]) -> list[str]:
    """Names of the chunks that other formats cannot hold."""
    found = dict.fromkeys(bytes(part.key) for part in parts)
    if b"sRGB" in found or "icc_profile" in metadata:  # gAMA and cHRM then repeat the sRGB values or the profile
        found = {name: None for name in found if name not in _OF_SRGB}
    return ["gamma" if name == b"gAMA" else f"{name.decode('latin-1')} chunk" for name in found]


def _whole(x: float, y: float) -> tuple[int, int]:
    """Find two whole numbers with the ratio x : y."""
    scale = 1 if x % 1 == y % 1 == 0 else 10_000
    return max(1, round(x * scale)), max(1, round(y * scale))


def _text_chunk(text: Text) -> Part:
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
        return Part(b"iTXt", keyword + bytes([packed, 0]) + names + content)
    return Part(b"zTXt", keyword + b"\0" + content) if packed else Part(b"tEXt", keyword + content)
