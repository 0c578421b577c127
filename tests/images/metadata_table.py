"""Table of metadata by format, for docs/FILES.md, made by writing files.

`python -m tests.images.metadata_table` writes it into the document.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from n2n_cli.images import read_picture, write_picture
from tests.images.pictures import RGB, SRGB, chunk, exif_of, jpeg_with, png_with, tagged, webp_with

DOCUMENT = Path(__file__).parents[2] / "docs" / "FILES.md"
START, END = "<!-- made by tests/images/metadata_table.py -->\n", "<!-- end -->\n"
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
KEPT, CONVERTED, NOTED, IMPLIED = "kept", "converted", "noted", "implied"

EXIF = exif_of(Make="maker of the camera", GPSInfo={1: "N"}, ImageDescription="a description")
LONG = exif_of(ImageDescription="x" * 70_000)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf>\xc2\xb5m</rdf></x:xmpmeta>'
IPTC = b"\x1c\x02\x50\x00\x0aA. Example"
RESOURCES = struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(IPTC)) + IPTC + bytes(1)
C2PA = b"JP\0\1" + struct.pack(">II", 1, 40) + b"jumb" + bytes(8) + b"jumdc2pa" + bytes(8)
RAW_IPTC = f"\niptc\n{len(RESOURCES):8}\n{RESOURCES.hex()}\n".encode()
TINY = struct.pack(">IIB", 15_384_615, 15_384_615, 1)  # 65 nm a pixel


class Kind(NamedTuple):
    """A file with one kind of metadata, and some of its bytes."""

    file: bytes
    needle: bytes


def of_png(*chunks: tuple[bytes, bytes], needle: bytes | None = None) -> Kind:
    return Kind(png_with(*chunks), needle or chunk(*chunks[0]))


def of_jpeg(*segments: tuple[int, bytes], needle: bytes | None = None) -> Kind:
    return Kind(jpeg_with(*segments), needle or segments[0][1])


def of_tiff(*tags: tuple[int, int, bytes]) -> Kind:
    return Kind(tagged({tag: (kind, data) for tag, kind, data in tags}), tags[0][2])


def saved(image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, image_format, **options)
    return file.getvalue()


def bmp_with_profile() -> bytes:
    """BMP of version 5."""
    plain = saved("BMP", dpi=(0, 0))
    header = struct.pack("<I", 124) + plain[18:54] + bytes(16) + b"DEBM" + bytes(52)
    header += struct.pack("<II", 124 + len(plain) - 54, len(SRGB)) + bytes(4)
    start = plain[:2] + struct.pack("<IIII", len(plain) + 84 + len(SRGB), 0, 138, 0)[:12]
    return start + header + plain[54:] + SRGB


DOUBLES = struct.pack("<6d", 0, 0, 0, 500_000, 5_300_000, 0)
KINDS: dict[str, dict[str, Kind]] = {
    "PNG": {
        "EXIF": of_png((b"eXIf", EXIF[6:]), needle=b"maker of the camera"),
        "EXIF above 64 kB": of_png((b"eXIf", LONG[6:]), needle=b"x" * 70_000),
        "colour profile": of_png((b"iCCP", b"name\0\0" + zlib.compress(SRGB, 1)), needle=SRGB),
        "XMP": of_png((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP), needle=XMP),
        "IPTC as ImageMagick writes it": of_png((b"tEXt", b"Raw profile type iptc\0" + RAW_IPTC), needle=IPTC),
        "resolution": of_png((b"pHYs", TINY)),
        "pixel aspect ratio": of_png((b"pHYs", struct.pack(">IIB", 2, 3, 0))),
        "texts Author, Copyright, Description, Software": of_png(
            (b"tEXt", b"Author\0A. Example"), needle=b"A. Example"
        ),
        "text Comment": of_png((b"tEXt", b"Comment\0a comment"), needle=b"a comment"),
        "other texts": of_png((b"tEXt", b"Title\0a title")),
        "gAMA, cHRM": of_png((b"gAMA", struct.pack(">I", 50_000))),
        "sRGB": of_png((b"sRGB", b"\0")),
        "cICP, mDCV, cLLI": of_png((b"cICP", b"\1\x0d\0\1")),
        "sBIT, bKGD": of_png((b"bKGD", bytes(6))),
        "tIME": of_png((b"tIME", b"\x07\xe8\1\1\1\1\1")),
        "unknown chunk, safe to copy": of_png((b"teSt", b"unknown")),
        "other unknown chunk": of_png((b"teST", b"unknown")),
    },
    "JPEG": {
        "EXIF": of_jpeg((0xE1, EXIF), needle=b"maker of the camera"),
        "EXIF above 64 kB": of_jpeg((0xE1, LONG[:60_000]), (0xE1, LONG[:6] + LONG[60_000:]), needle=b"x" * 9_000),
        "colour profile": of_jpeg((0xE2, b"ICC_PROFILE\0\1\1" + SRGB), needle=SRGB),
        "XMP": of_jpeg((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP), needle=XMP),
        "extended XMP": of_jpeg((0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(40) + XMP)),
        "IPTC, Photoshop (APP13)": of_jpeg((0xED, b"Photoshop 3.0\0" + RESOURCES), needle=IPTC),
        "resolution (JFIF)": Kind(saved("JPEG", dpi=(300, 300)), struct.pack(">BHH", 1, 300, 300)),
        "comment": of_jpeg((0xFE, "Straße".encode("latin-1")), needle=b"Stra"),
        "further comments": of_jpeg((0xFE, b"a comment"), (0xFE, b"a second one"), needle=b"a second one"),
        "thermal picture (FLIR)": of_jpeg((0xE1, b"FLIR\0" + bytes(9))),
        "content credentials (C2PA)": of_jpeg((0xEB, C2PA)),
        "other APPn segments": of_jpeg((0xE4, b"unknown\0" + bytes(9))),
        "bytes behind the picture": Kind(jpeg_with() + b"a video", b"a video"),
    },
    "TIFF": {
        "ImageDescription, Artist, Copyright, ...": of_tiff((270, 2, "Straße, 0.1 µm\0".encode("latin-1"))),
        "colour profile": of_tiff((34675, 7, SRGB)),
        "XMP": of_tiff((700, 1, XMP)),
        "IPTC": of_tiff((33723, 7, IPTC)),
        "Photoshop": of_tiff((34377, 1, RESOURCES.replace(b"\4\4", b"\4\5", 1))),
        "resolution": of_tiff(
            (282, 5, struct.pack("<II", 3_076_923, 20)), (283, 5, struct.pack("<II", 3_076_923, 20)), (296, 3, b"\3\0")
        ),
        "DocumentName, PageName": of_tiff((285, 2, b"a page\0")),
        "GeoTIFF, GDAL": of_tiff((33922, 12, DOUBLES), (42113, 2, b"-9999\0")),
        "ImageJ": of_tiff((50839, 1, b"JIJI" + bytes(9)), (50838, 4, struct.pack("<I", 13))),
        "MicroManager": of_tiff((51123, 2, b'{"pixel": 1}\0')),
        "any other tag": of_tiff((65_000, 7, b"unknown")),
        "smaller pictures (SubIFDs)": of_tiff((330, 4, struct.pack("<I", 8))),
        "MinSampleValue, MaxSampleValue": of_tiff((280, 3, b"\7\0")),
        "Photoshop's layers": of_tiff((37724, 7, b"Adobe Photoshop Document Data Block\0")),
        "content credentials (C2PA)": of_tiff((52545, 7, C2PA)),
    },
    "WEBP": {
        "EXIF": Kind(saved("WEBP", exif=EXIF), b"maker of the camera"),
        "colour profile": Kind(saved("WEBP", icc_profile=SRGB), SRGB),
        "XMP": Kind(saved("WEBP", xmp=XMP), XMP),
        "other chunks": Kind(webp_with((b"test", b"unknown")), b"test\7\0\0\0unknown"),
    },
    "BMP": {
        "resolution": Kind(saved("BMP", dpi=(300, 300)), struct.pack("<II", 11_811, 11_811)),
        "colour profile": Kind(bmp_with_profile(), SRGB),
    },
}
IMPLIED_KINDS = {("PNG", "sRGB")}
"""What another format says by saying nothing."""


def outcome(source: str, name: str, target: str) -> str:
    """Write a file anew in a format, and see what became of its metadata."""
    kind, file = KINDS[source][name], io.BytesIO()
    picture = read_picture(io.BytesIO(kind.file), name="it")
    notes = picture.notes + write_picture(file, picture, format=target, name="it")
    back = read_picture(file, name="it")
    assert back.notes == ()
    assert len(notes) <= 1
    after, needles = back.metadata, (kind.needle, kind.needle.hex().encode())
    there = any(needle in file.getvalue() + after.get("icc_profile", b"") for needle in needles)
    for key in ("dpi", "aspect"):
        there |= key in picture.metadata and after.get(key) == pytest.approx(picture.metadata[key], rel=1e-3)
    if there:
        assert not notes
        return KEPT if source == target else CONVERTED
    assert notes or (source, name) in IMPLIED_KINDS, f"{name} of {source} is lost in {target} without a word"
    return NOTED if notes else IMPLIED


def table() -> str:
    """The table as Markdown."""
    titles = ["WebP" if name == "WEBP" else name for name in FORMATS]
    lines = [f"| read from | metadata | in {' | '.join(titles)} |", "| --- " * (2 + len(FORMATS)) + "|"]
    for source, kinds in KINDS.items():
        for name in kinds:
            cells = [outcome(source, name, target) for target in FORMATS]
            lines.append(f"| {titles[FORMATS.index(source)]} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(START)
    DOCUMENT.write_text(before + START + table() + END + rest.partition(END)[2], encoding="utf-8")
