"""Reading and writing of the metadata of TIFF pages.

References
----------
TIFF Revision 6.0, Adobe 1992; Photoshop TIFF technical notes, Adobe 2002; TIFF/EP, ISO 12234-2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from PIL import TiffTags

from n2n_cli.images import exif, photoshop
from n2n_cli.images.picture import Metadata, Part, Stored
from n2n_cli.images.tiff import entries as tiff
from n2n_cli.images.tiff import pages as tags
from n2n_cli.images.tiff.entries import Directory, Entry, Order, Room, read_directory
from n2n_cli.images.tiff.pages import Page

SUBFILE, PHOTOSHOP = 254, 34377
LAYOUT = frozenset(
    {
        *(256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 284, 288, 289, 292, 293),
        *(317, 320, 332, 334, 336, 338, 339, 347, *range(322, 329), *range(512, 522), *range(529, 533)),
        *(559, 32995, 32996, 32997, 32998, 33421, 33422, *range(34016, 34033), 50674),
    }
)
"""Tags that describe how pixels are stored. All others are carried, except `_NOT_CARRIED`."""
_NOT_CARRIED = {
    330: "SubIFDs",  # this tag and the next three hold offsets in the file
    400: "GlobalParametersIFD",
    33628: "UIC1Tag",
    34412: "CZ_LSMINFO",
    280: "MinSampleValue",  # this tag and the next ones describe the old pixels
    281: "MaxSampleValue",
    340: "SMinSampleValue",
    341: "SMaxSampleValue",
    37724: "Photoshop's layers",
    52545: "content credentials (C2PA)",
}
_RESOLUTION = {tags.X_RESOLUTION, tags.Y_RESOLUTION, tags.RESOLUTION_UNIT}
_KEYS_HELD = {
    tags.ICC_PROFILE: {"icc_profile"},
    tags.XMP: {"xmp"},
    PHOTOSHOP: {"photoshop"},
    tiff.IPTC: {"photoshop"},
    **{tag: {"dpi", "aspect"} for tag in _RESOLUTION},
}
_NOT_FROM_EXIF = LAYOUT | {*_NOT_CARRIED} | _RESOLUTION | {SUBFILE, 255, *range(50706, 50742)}  # 50706...: raw files


def read_metadata(page: Page, room: Room | None = None) -> tuple[Metadata, tuple[str, ...]]:
    """Read the metadata of a page; also returns notes on data left out.

    Pages of one file share `room`.
    """
    order: Order = "<" if page.head[:2] == b"II" else ">"
    try:
        found = read_directory(page.file, page.offset, order, big=len(page.head) > 8, room=room)
    except ValueError:
        return Metadata(), ("its metadata is damaged and was left out",)
    notes = list(_damage(found))
    entries = {tag: entry for tag, entry in found.entries.items() if tag not in LAYOUT}
    if names := [_NOT_CARRIED[tag] for tag in entries if tag in _NOT_CARRIED]:
        notes.append(f"its {', '.join(names)} would not fit the new file and were left out")
    entries = {tag: entry for tag, entry in entries.items() if tag not in _NOT_CARRIED}
    if page.orientation > 1:  # also of a wrong type
        entries[tiff.ORIENTATION] = exif.entry(order, tiff.SHORT, (page.orientation,))
    of_exif = exif.DESCRIPTIVE_TAGS - ({tiff.ORIENTATION} if page.orientation == 1 else set())
    descriptive = {tag: entry for tag, entry in entries.items() if tag in of_exif and entry.is_usual(tag)}
    parts = tuple(Part(tag, data, kind) for tag, (kind, data) in entries.items() if tag not in descriptive)
    metadata = read_stored(Stored("TIFF", parts, order))
    if descriptive or found.inner:
        metadata["exif"] = exif.built(Directory(order, descriptive, found.inner))
    if parts:
        metadata["stored"] = Stored("TIFF", parts, order)
    if page.tags.get(tags.COMPRESSION, tags.RAW) not in (tags.RAW, *tags.LOSSY):
        metadata["compressed"] = True
    if page.integers(tags.PLANAR) == (tags.SEPARATE,):
        metadata["planar"] = True
    return metadata, tuple(notes)


def _damage(found: Directory) -> Iterator[str]:
    damaged = [tag for tag in found.damaged.values() if tag not in LAYOUT | {tiff.ORIENTATION}]
    if {tiff.EXIF, tiff.GPS} & {*damaged}:
        yield exif.DAMAGED
    if any(directory.damaged for directory in exif.directories(found) if directory is not found):
        yield exif.PARTLY_DAMAGED
    if names := [name_of(tag) for tag in damaged if tag not in (tiff.EXIF, tiff.GPS)]:
        yield f"its {', '.join(names)} is damaged and was left out"


def read_stored(stored: Stored) -> Metadata:
    """Decode the metadata in stored tags, except EXIF data and damaged metadata."""
    directory = Directory(stored.order, {int(part.key): Entry(part.type, part.data) for part in stored.parts})
    data = {tag: entry.data for tag, entry in directory.entries.items()}
    metadata = exif.resolution_of(directory)
    if tags.ICC_PROFILE in data:
        metadata["icc_profile"] = data[tags.ICC_PROFILE]
    if tags.XMP in data:
        metadata["xmp"] = data[tags.XMP]
    with suppress(ValueError):
        if resources := photoshop.with_iptc(data.get(PHOTOSHOP, b""), data.get(tiff.IPTC, b"")):
            metadata["photoshop"] = resources
    return metadata


def kinds(part: Part) -> set[str]:
    """Keys of `Metadata` that a tag holds."""
    return _KEYS_HELD.get(int(part.key), set())


def written(key: str, metadata: Metadata, order: Order) -> list[Part] | None:
    """Encode one key of `metadata` as tags; `directory_of` writes EXIF data."""
    if key == "icc_profile":
        return [Part(tags.ICC_PROFILE, metadata["icc_profile"], tiff.UNDEFINED)]
    if key == "xmp":
        return [Part(tags.XMP, metadata["xmp"], tiff.BYTE)]
    if key == "photoshop":
        iptc = photoshop.iptc_of(metadata["photoshop"])
        resources = [Part(PHOTOSHOP, metadata["photoshop"], tiff.BYTE)]
        return resources + ([Part(tiff.IPTC, iptc, tiff.UNDEFINED)] if iptc else [])
    if key not in ("dpi", "aspect"):
        return []
    x, y = metadata["dpi"] if key == "dpi" else metadata["aspect"]
    entries = exif.resolution_entries(x, y, unit=2 if key == "dpi" else 1)
    encoded = {tag: exif.entry(order, *values) for tag, values in entries.items()}
    return [Part(tag, data, kind) for tag, (kind, data) in encoded.items()]


def directory_of(metadata: Metadata, parts: Iterable[Part], order: Order) -> Directory:
    """Build the directory of a page's metadata, in the byte order of `parts`."""
    found = exif.parsed(metadata["exif"]).in_order(order) if "exif" in metadata else Directory(order)
    carried = {tag: entry for tag, entry in found.entries.items() if tag not in _NOT_FROM_EXIF}
    carried |= {int(part.key): Entry(part.type, part.data) for part in parts}
    if tags.XMP in carried and carried[tags.XMP].type not in (tiff.BYTE, tiff.UNDEFINED):
        carried[tags.XMP] = Entry(tiff.BYTE, carried[tags.XMP].data)  # Pillow fails on any other type
    return Directory(order, carried, found.inner)


def left_of_exif(data: bytes) -> list[str]:
    """Names of EXIF data that `directory_of` leaves out."""
    found = exif.parsed(data)
    names = [name_of(tag) for tag in found.entries if tag in _NOT_FROM_EXIF - LAYOUT - _RESOLUTION]
    return names + (["EXIF thumbnail"] if found.following else [])


def names(metadata: Metadata, parts: Iterable[Part]) -> list[str]:
    """Names of the tags that other formats cannot hold."""
    return [name_of(int(part.key)) for part in parts if part.key not in (SUBFILE, tiff.ORIENTATION)]


def name_of(tag: int) -> str:
    """Name of a tag, with its number."""
    name = TiffTags.lookup(tag).name
    return f"tag {tag}" if name == "unknown" else f"{name} ({tag})"
