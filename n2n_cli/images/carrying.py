"""Choice of the metadata to write into a file.

All metadata from a file of the same format is written as stored. From another format, the kinds of metadata that the
new format can hold are written, and the names of the others are returned.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, Protocol

from n2n_cli.images import exif, jpeg, photoshop, webp
from n2n_cli.images.picture import Metadata, Part, Stored
from n2n_cli.images.png import metadata as png
from n2n_cli.images.tiff import entries as tiff_entries
from n2n_cli.images.tiff import metadata as tiff
from n2n_cli.images.tiff.entries import Order


class _Format(Protocol):
    """Metadata of one format, as a module."""

    def kinds(self, part: Part) -> set[str]:
        """Keys of `Metadata` that a part holds."""

    def read_stored(self, stored: Stored) -> Metadata:
        """Decode the metadata in the parts of a file."""

    def written(self, key: str, metadata: Metadata, order: Order) -> list[Part] | None:
        """Encode one key of `metadata` as parts; None if the format cannot hold it."""

    def names(self, metadata: Metadata, parts: Iterable[Part]) -> list[str]:
        """Names of parts that hold no key."""


class _Instrument:
    """Metadata of an instrument's format, which no other format can hold."""

    def __init__(self, header: str) -> None:
        self._header = header

    def kinds(self, part: Part) -> set[str]:
        return set()

    def read_stored(self, stored: Stored) -> Metadata:
        return Metadata()

    def written(self, key: str, metadata: Metadata, order: Order) -> list[Part] | None:
        return None

    def names(self, metadata: Metadata, parts: Iterable[Part]) -> list[str]:
        """Names of the header and of the other units of the file."""
        return [self._header if part.key == b"header" else part.data.decode("latin-1") for part in parts]


_FORMATS: dict[str, _Format] = {"PNG": png, "JPEG": jpeg, "TIFF": tiff, "WEBP": webp}
_FORMATS |= {"FITS": _Instrument("FITS header"), "MRC": _Instrument("MRC header")}
_NO_TEXTS = ("BMP", "FITS", "MRC")
_NAMES = {"exif": "EXIF data", "icc_profile": "colour profile", "xmp": "XMP data"}
_NAMES |= {"dpi": "resolution", "aspect": "resolution"}


class Carried(NamedTuple):
    """Metadata for a file of one format.

    Attributes
    ----------
    metadata : Metadata
        Metadata of all kinds; some were moved into EXIF data.
    parts : list of Part
        This metadata and other parts as written, except EXIF data of a TIFF and all kinds of a WebP.
    order : "<" or ">"
        Byte order of a TIFF's parts.
    left_out : list of str
        Names of metadata that the format cannot hold.
    """

    metadata: Metadata
    parts: list[Part]
    order: Order
    left_out: list[str]


def carried(metadata: Metadata, image_format: str) -> Carried:
    """Choose the metadata for a file."""
    stored = metadata.get("stored", Stored("", ()))
    own = stored if stored.format == image_format else Stored(image_format, (), order_of(metadata))
    into = _FORMATS.get(image_format)
    before = into.read_stored(own) if into else Metadata()
    metadata, left_out = _moved(metadata, before, image_format)
    parts = [part for part in own.parts if into and _same(before, metadata, into.kinds(part))]
    for key in ("exif", "icc_profile", "xmp", "photoshop", "dpi", "aspect", "texts"):
        if key in metadata and not _same(before, metadata, {key}):
            added = into.written(key, metadata, own.order) if into else [] if key == "dpi" else None
            parts += added or []
            left_out += [_name(key, metadata)] if added is None else []
    if image_format == "TIFF" and "exif" in metadata:
        left_out += tiff.left_of_exif(metadata["exif"])
    if stored.format != image_format:
        left_out += other_names(metadata)
    return Carried(metadata, parts, own.order, left_out)


def other_names(metadata: Metadata) -> list[str]:
    """Names of the stored parts for which `Metadata` has no key."""
    if "stored" not in metadata:
        return []
    of, parts = _FORMATS[metadata["stored"].format], metadata["stored"].parts
    return of.names(metadata, [part for part in parts if not of.kinds(part)])


def order_of(metadata: Metadata) -> Order:
    """Byte order of stored tags, or of EXIF data."""
    if "stored" in metadata and metadata["stored"].format == "TIFF":
        return metadata["stored"].order
    return exif.parsed(metadata["exif"]).order if "exif" in metadata else "<"


def _same(before: Metadata, after: Metadata, keys: set[str]) -> bool:
    return all(before.get(key) == after.get(key) for key in keys)


def _name(key: str, metadata: Metadata) -> str:
    return photoshop.name_of(metadata["photoshop"]) if key == "photoshop" else _NAMES[key]


def _moved(metadata: Metadata, before: Metadata, image_format: str) -> tuple[Metadata, list[str]]:
    """Move metadata for which the format has no other place into EXIF data.

    Also returns the names of metadata that has no place at all.
    """
    metadata, moved = metadata.copy(), dict[int, exif.Values]()
    known = exif.parsed(metadata["exif"]) if "exif" in metadata else None
    keys: tuple[Literal["dpi", "aspect"], ...] = ("dpi", "aspect")
    for key in keys:
        values = metadata.get(key)
        if values and not _same(before, metadata, {key}) and not _has_place(key, metadata, image_format):
            if known is None or exif.resolution_of(known) != {key: values}:
                moved |= exif.resolution_entries(*values, unit=2 if key == "dpi" else 1)
            del metadata[key]
    lost = list[str]()
    if image_format != "PNG" and not _same(before, metadata, {"texts"}):
        kept = []
        for text in metadata.pop("texts", ()):
            tag = exif.TEXTS.get(text["keyword"])
            if image_format == "JPEG" and text["keyword"] == "Comment":
                kept.append(text)
            elif image_format in _NO_TEXTS or tag is None or tag in moved or (known and tag in known.entries):
                lost.append(text["keyword"])
            else:
                moved[tag] = (tiff_entries.ASCII, text["text"].encode() + b"\0")
        if kept:
            metadata["texts"] = tuple(kept)
    if moved:
        metadata["exif"] = exif.with_entries(metadata.get("exif", b""), moved)
    return metadata, [f"texts ({', '.join(lost)})"] if lost else []


def _has_place(key: str, metadata: Metadata, image_format: str) -> bool:
    """True if a format can hold a resolution outside EXIF data."""
    return image_format != "WEBP" and (image_format != "JPEG" or jpeg.whole_resolution(metadata) is not None)
