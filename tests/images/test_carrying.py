"""Metadata is copied byte for byte, converted between formats, or named in a note."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from n2n_cli.images import read_pages, read_picture, upright, write_pages
from n2n_cli.images.exif import with_entries
from tests.images import metadata_table
from tests.images.metadata_table import IPTC, RESOURCES, XMP
from tests.images.pictures import RGB, SRGB, Tags, chunk, exif_of, jpeg_with, png_with, tagged, tags_of, webp_with
from tests.torture.metadata import CORPUS, problem_of, random_exif

LAYOUT = {256, 257, 258, 259, 262, 273, 277, 278, 279, 339}


def rewritten(data: bytes, image_format: str) -> tuple[bytes, tuple[str, ...]]:
    """Write the pages of a file again; return the new file and all notes."""
    pages, file = list(read_pages(io.BytesIO(data), name="it")), io.BytesIO()
    notes = write_pages(file, pages, format=image_format, name="it")
    return file.getvalue(), tuple(dict.fromkeys(note for page in pages for note in page.notes)) + notes


def described(data: bytes) -> list[Tags]:
    """Tags of each page that do not describe the layout of the pixels."""
    return [{tag: entry for tag, entry in page.items() if tag not in LAYOUT} for page in tags_of(data)]


def segments(data: bytes) -> list[tuple[int, bytes]]:
    """Markers and contents of a JPEG's application segments and comments."""
    found, at = [], 2
    while data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4])
        if 0xE0 <= data[at + 1] < 0xF0 or data[at + 1] == 0xFE:
            found.append((data[at + 1], data[at + 4 : at + 2 + length]))
        at += 2 + length
    return found


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Names and contents of a PNG's chunks."""
    found, at = [], 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def page_tags(order: str, seed: int) -> Tags:
    """Tags of every type, including GeoTIFF, GDAL, ImageJ and OME-XML."""
    return {
        269: (2, b"document\0"),
        270: (2, '<OME PhysicalSizeXUnit="µm"/>\0'.encode("latin-1" if seed else "utf-8")),
        282: (5, struct.pack(f"{order}II", 3_076_923, 20)),
        283: (5, struct.pack(f"{order}II", 720_000, 10_000)),
        285: (2, b"page %d\0" % seed),
        296: (3, struct.pack(f"{order}H", 3)),
        700: (7, XMP),
        33432: (2, "© Zoë Ångström\0".encode()),
        33550: (12, struct.pack(f"{order}3d", 10, 10, 0)),
        33723: (4, IPTC[:12]),
        34735: (3, struct.pack(f"{order}8H", 1, 1, 0, 1, 1024, 0, 1, seed)),
        42113: (2, b"-9999\0"),
        50838: (4, struct.pack(f"{order}2I", 12, 26)),
        50839: (1, (b"IJIJ" if order == ">" else b"JIJI") + bytes(9)),
        65000: (16, struct.pack(f"{order}2Q", 2**40, seed)),
        65001: (2, b"abc\0"),
    }


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_every_tag_of_every_page_is_kept(order: str, big: bool) -> None:
    pages = [page_tags(order, 0), {}, page_tags(order, 7)]
    data, notes = rewritten(tagged(*pages, order=order, big=big), "TIFF")
    assert notes == ()
    assert data[:2] == (b"II" if order == "<" else b"MM")
    assert described(data) == pages
    assert all(np.array_equal(page.pixels, RGB) for page in read_pages(io.BytesIO(data), name="it"))


def test_pages_of_two_byte_orders_in_one_file() -> None:
    pages = [read_picture(io.BytesIO(tagged(page_tags(order, 1), order=order)), name="it") for order in "<>"]
    file = io.BytesIO()
    assert write_pages(file, pages, format="TIFF", name="it") == ()
    first, second = described(file.getvalue())
    del first[50839], second[50839]  # bytes that only ImageJ interprets
    assert first == second


def test_exif_directories_are_kept_in_a_tiff() -> None:
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "TIFF", exif=b"Exif\0\0" + CORPUS[0])
    before, after = (
        read_picture(io.BytesIO(data), name="it").metadata
        for data in (file.getvalue(), rewritten(file.getvalue(), "TIFF")[0])
    )
    assert before["exif"] == after["exif"]
    assert b"note" * 20 in after["exif"]


def test_tags_about_the_old_file_are_omitted_with_one_note() -> None:
    page: Tags = {330: (4, bytes(4)), 280: (3, b"\7\0"), 37724: (7, b"layers")}
    data, notes = rewritten(tagged(*[page] * 30), "TIFF")
    assert notes == ("its MinSampleValue, SubIFDs, Photoshop's layers would not fit the new file and were left out",)
    assert described(data) == [{}] * 30


@pytest.mark.parametrize("kind", [3, 4])
def test_orientation_of_a_page_is_kept(kind: int) -> None:
    page: Tags = {274: (kind, b"\6\0" + bytes(2 * kind - 6)), 282: (5, struct.pack("<II", 2, 1))}
    assert described(rewritten(tagged(page), "TIFF")[0]) == [page | {274: (3, b"\6\0")}]
    jpeg, notes = rewritten(tagged(page), "JPEG")
    assert notes == ()
    with Image.open(io.BytesIO(jpeg)) as image:
        assert image.getexif()[274] == 6


def test_jpeg_segments_are_kept_in_order() -> None:
    wanted = [
        (0xE1, exif_of(Make="maker")),
        (0xFE, "Stra\xdfe".encode("latin-1")),
        (0xED, b"Photoshop 3.0\0" + RESOURCES),
        (0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(40) + XMP),
        (0xE1, b"FLIR\0" + bytes(60_000)),
        (0xE2, b"ICC_PROFILE\0\1\1" + SRGB),
        (0xEC, b"Ducky" + bytes(9)),
        (0xFE, b"a second one"),
    ]
    data, notes = rewritten(jpeg_with(*wanted), "JPEG")
    assert notes == ()
    assert segments(data)[1:] == wanted
    assert segments(data)[0] == segments(jpeg_with())[0]


def test_jpeg_segments_about_the_old_pixels_are_omitted() -> None:
    credentials = (b"JP\0\1\0\0\0\1" + bytes(9) + b"c2pa", b"JP\0\1\0\0\0\2" + bytes(99))
    old = [(0xEE, b"Adobe\0\x64" + bytes(5)), (0xE2, b"MPF\0" + bytes(9)), *((0xEB, part) for part in credentials)]
    data, notes = rewritten(jpeg_with(*old, (0xEB, b"JP\0\2" + bytes(20))), "JPEG")
    assert notes == ("its content credentials (C2PA) do not fit other pixels and were left out",)
    assert segments(data)[1:] == [(0xEB, b"JP\0\2" + bytes(20))]


DAMAGED = {
    "EXIF data": (0xE1, b"Exif\0\0II*\0" + bytes(4)),
    "colour profile": (0xE2, b"ICC_PROFILE\0\1\2" + SRGB),
    "IPTC data": (0xED, b"Photoshop 3.0\0" + RESOURCES[:-9]),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_only_the_damaged_segment_is_omitted(name: str) -> None:
    data, notes = rewritten(jpeg_with(DAMAGED[name], (0xFE, b"kept")), "JPEG")
    assert notes == (f"its {name} is damaged and was left out",)
    assert segments(data)[1:] == [(0xFE, b"kept")]


@pytest.mark.parametrize("depth", [8, 16])
def test_png_chunks_are_kept_in_place(depth: int) -> None:
    before = [
        (b"cICP", b"\1\x0d\0\1"),
        (b"mDCV", bytes(24)),
        (b"cLLI", bytes(8)),
        (b"iCCP", b"a name\0\0" + zlib.compress(SRGB, 1)),
        (b"sBIT", bytes([7, 7, 7])),
        (b"bKGD", struct.pack(">3H", 1, 2, 3)),
        (b"pHYs", struct.pack(">IIB", 15_384_615, 7, 1)),
        (b"zTXt", b"Title\0\0" + zlib.compress(b"gr\xfcn")),
        (b"iTXt", b"Author\0\0\0\0\0" + "Zoë".encode()),
        (b"prVt", b"safe to copy"),
    ]
    behind = [(b"tIME", b"\x07\xe8\1\1\1\1\1"), (b"prVu", b"safe, too"), (b"eXIf", exif_of()[6:])]
    after = b"".join(chunk(*content) for content in behind)
    source = png_with(*before, behind=after)
    if depth == 16:
        header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
        start = source[:8] + chunk(b"IHDR", header) + b"".join(chunk(*content) for content in before)
        source = start + chunk(b"IDAT", zlib.compress(bytes(7))) + after + chunk(b"IEND", b"")
    data, notes = rewritten(source, "PNG")
    assert notes == ()
    found = [content for content in chunks(data) if content[0] not in (b"IHDR", b"IEND")]
    pixels = [name for name, _ in found].index(b"IDAT")
    assert found[:pixels] == before
    assert [content for content in found[pixels:] if content[0] != b"IDAT"] == behind


def test_png_chunks_about_the_old_pixels_are_omitted_with_a_note() -> None:
    unfit = [(b"prVT", b"not safe"), (b"dSIG", b""), (b"iDOT", bytes(28)), (b"prVt", b"safe")]
    data, notes = rewritten(png_with(*unfit), "PNG")
    assert notes == ("its chunks prVT, dSIG do not fit other pixels and were left out",)
    assert chunks(data)[1] == (b"prVt", b"safe")


def test_png_chunks_about_a_palette_are_omitted() -> None:
    image = Image.new("P", (3, 2))
    image.putpalette([1, 2, 3])
    file = io.BytesIO()
    image.save(file, "PNG")
    at = file.getvalue().index(b"IDAT") - 4
    data = file.getvalue()[:at] + chunk(b"bKGD", b"\0") + file.getvalue()[at:]
    assert "its chunks bKGD do not fit other pixels and were left out" in rewritten(data, "PNG")[1]


def test_bytes_after_a_picture_are_omitted_with_a_note() -> None:
    progressive = io.BytesIO()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(progressive, "JPEG", progressive=True)
    long = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8)).save(long, "JPEG", quality=99)
    assert len(long.getvalue()) > 2**20
    for data in (jpeg_with(), png_with(), webp_with(), progressive.getvalue(), long.getvalue()):
        assert read_picture(io.BytesIO(data), name="it").notes == ()
        found = read_picture(io.BytesIO(data + b"\xff\xd8 a video \xff\xd9"), name="it")
        assert found.notes == ("data after its picture (13 bytes) was left out",)


def test_tiff_takes_the_byte_order_of_exif_data() -> None:
    for data, start in zip(CORPUS, (b"II", b"MM"), strict=False):
        tiff, notes = rewritten(jpeg_with((0xE1, b"Exif\0\0" + data)), "TIFF")
        assert tiff[:2] == start
        assert notes == ()
        assert read_picture(io.BytesIO(tiff), name="it").metadata["dpi"] == pytest.approx((762, 381))


@pytest.mark.parametrize("kind", [1, 2])
def test_xmp_inside_exif_data_is_written_to_a_tiff(kind: int) -> None:
    exif = with_entries(b"", {700: (kind, XMP), 50706: (1, b"\1\4\0\0")})
    tiff, notes = rewritten(jpeg_with((0xE1, exif)), "TIFF")
    assert described(tiff) == [{700: (1, XMP)}]
    assert notes == ("TIFF cannot hold its DNGVersion (50706)",)


def test_iptc_data_is_converted_between_jpeg_and_tiff() -> None:
    tiff, notes = rewritten(jpeg_with((0xED, b"Photoshop 3.0\0" + RESOURCES)), "TIFF")
    assert notes == ()
    assert described(tiff)[0][33723] == (7, IPTC)
    assert described(tiff)[0][34377] == (1, RESOURCES)
    jpeg, notes = rewritten(tagged({33723: (7, IPTC)}), "JPEG")
    assert notes == ()
    assert segments(jpeg)[1:] == [(0xED, b"Photoshop 3.0\0" + RESOURCES)]


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_texts_keep_their_bytes_in_exif_data(order: str) -> None:
    text = "© 2024 Zoë, 0.1 µm".encode()
    tags = {270: (2, text + b"\0"), 34853: (4, struct.pack(f"{order}I", 0))}
    for image_format in ("JPEG", "PNG", "WEBP", "TIFF"):
        data, notes = rewritten(tagged(tags, order=order), image_format)
        assert text in data
        assert notes == ("its EXIF data is damaged and was left out",)  # the offset 0 is invalid


def test_png_texts_fill_missing_exif_entries() -> None:
    texts = [(b"tEXt", b"Author\0Zo\xeb"), (b"tEXt", b"Title\0a title")]
    tiff, notes = rewritten(png_with(*texts), "TIFF")
    assert described(tiff) == [{315: (2, "Zoë\0".encode())}]
    assert notes == ("TIFF cannot hold its texts (Title)",)
    exif = exif_of(Artist="somebody", MakerNote=b"note" * 9)
    jpeg, notes = rewritten(png_with(*texts, (b"tEXt", b"Software\0program"), (b"eXIf", exif[6:])), "JPEG")
    assert notes == ("JPEG cannot hold its texts (Author, Title)",)
    with Image.open(io.BytesIO(jpeg)) as image:
        assert (image.getexif()[315], image.getexif()[305]) == ("somebody", "program")
        assert image.info["exif"].index(b"note" * 9) == exif.index(b"note" * 9)


@pytest.mark.parametrize("source", ["TIFF", "PNG"])
@pytest.mark.parametrize("target", ["TIFF", "PNG", "JPEG", "WEBP", "BMP"])
def test_tiny_pixel_size_is_kept(source: str, target: str) -> None:
    per_centimetre = 153_846.15
    share = struct.pack("<II", 3_076_923, 20)
    tags: Tags = {282: (5, share), 283: (5, share), 296: (3, b"\3\0")}
    file = tagged(tags) if source == "TIFF" else png_with((b"pHYs", struct.pack(">IIB", 15_384_615, 15_384_615, 1)))
    data, notes = rewritten(file, target)
    assert notes == ()
    assert read_picture(io.BytesIO(data), name="it").metadata["dpi"] == pytest.approx(
        [per_centimetre * 2.54] * 2, rel=1e-6
    )
    if source == target == "TIFF":
        assert described(data) == [tags]


def test_long_exif_data_is_omitted_from_a_jpeg_with_a_note() -> None:
    exif = exif_of(ImageDescription="x" * 70_000)
    data, notes = rewritten(png_with((b"eXIf", exif[6:])), "JPEG")
    assert notes == ("JPEG cannot hold its EXIF data",)
    assert len(segments(data)) == 1


def test_exif_data_in_several_segments_is_joined() -> None:
    exif = exif_of(ImageDescription="x" * 70_000)
    data, notes = rewritten(jpeg_with((0xE1, exif[:60_000]), (0xE1, exif[:6] + exif[60_000:])), "PNG")
    assert notes == ()
    assert (b"eXIf", exif[6:]) in chunks(data)


@pytest.mark.parametrize("kind", [3, 4, 9])
def test_exif_integers_of_any_size_are_read(kind: int) -> None:
    rows = [(274, kind, 1, 6), (282, kind, 1, 300), (283, kind, 1, 150)]
    exif = struct.pack("<H", 3) + b"".join(struct.pack("<HHII", *row) for row in rows) + bytes(4)
    picture = read_picture(io.BytesIO(jpeg_with((0xE1, b"Exif\0\0II*\0\x08\0\0\0" + exif))), name="it")
    assert picture.notes == ()
    assert picture.metadata["dpi"] == (300, 150)
    assert np.array_equal(upright(picture).pixels, np.rot90(picture.pixels, -1))


def test_unusual_exif_entries_of_cameras_are_kept() -> None:
    zeros, unknown = (0, 0, 0, 0), (1, 0, 1, 206)  # as Nikon and Sony write them
    rows = [(271, 2, 4, 0x31303330), (33723, 4, 3, 12), (37121, 2, 4, 0), unknown, zeros]  # IPTC data as by Kodak
    exif = struct.pack("<H", len(rows)) + b"".join(struct.pack("<HHII", *row) for row in rows) + bytes(4)
    segment = (0xE1, b"Exif\0\0II*\0\x08\0\0\0" + exif)
    data, notes = rewritten(jpeg_with(segment), "JPEG")
    assert notes == ()
    assert segment in segments(data)


def test_text_of_a_wrong_type_is_kept_only_in_a_tiff() -> None:
    page: Tags = {305: (5, bytes(8)), 315: (2, b"me\0")}
    assert described(rewritten(tagged(page), "TIFF")[0]) == [page]
    jpeg, notes = rewritten(tagged(page), "JPEG")
    assert notes == ("JPEG cannot hold its Software (305)",)
    assert read_picture(io.BytesIO(jpeg), name="it").notes == ()


@pytest.mark.parametrize("name", [b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"pHYs", b"tIME"])
def test_png_chunk_of_a_wrong_length_is_omitted(name: bytes) -> None:
    data, notes = rewritten(png_with((name, b"")), "PNG")
    assert notes == (f"its {name.decode()} chunk is damaged and was left out",)
    assert name not in data


def test_damaged_exif_entries_are_removed_and_others_stay_in_place() -> None:
    exif = bytearray(CORPUS[0])
    at = exif.index(struct.pack("<HH", 271, 2))
    struct.pack_into("<I", exif, at + 8, 10_000)  # an offset beyond the end
    data, notes = rewritten(png_with((b"eXIf", bytes(exif))), "PNG")
    assert notes == ("a damaged part of its EXIF data was left out",)
    (found,) = (content for name, content in chunks(data) if name == b"eXIf")
    assert len(found) == len(exif)
    assert found.index(b"note" * 20) == exif.index(b"note" * 20)
    assert problem_of(found) is None
    with Image.open(io.BytesIO(data)) as image:
        assert 271 not in image.getexif()
        assert image.getexif().get_ifd(34665)[37500] == b"note" * 20


def test_note_names_metadata_that_a_format_cannot_hold() -> None:
    _, notes = rewritten(tagged(page_tags("<", 0) | {65001: (2, b"abc\0")}), "PNG")
    assert notes == (
        "PNG cannot hold its IPTC data, DocumentName (269), PageName (285), ModelPixelScaleTag (33550), "
        "GeoKeyDirectoryTag (34735), GDAL_NODATA (42113), ImageJMetaDataByteCounts (50838), ImageJMetaData (50839), "
        "tag 65000, tag 65001",
    )


ONE_BYTE = struct.pack("<HHHIIHHIII", 2, 282, 7, 1, 8, 296, 3, 1, 2, 0)  # a resolution of a single byte


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
def test_resolution_of_a_wrong_type_is_removed(image_format: str) -> None:
    data, notes = rewritten(png_with((b"eXIf", b"II*\0\x08\0\0\0" + ONE_BYTE)), image_format)
    assert "a damaged part of its EXIF data was left out" in notes
    with Image.open(io.BytesIO(data)) as image:
        assert 282 not in image.getexif()
        assert np.asarray(image).shape == RGB.shape


def test_overlapping_tags_are_limited_by_the_file_size() -> None:
    length, count = 300_000, 60
    pages: list[Tags] = [{65000: (7, b"")} for _ in range(count)]
    data = bytearray(tagged(*pages)) + bytes(length + count)
    for number in range(count):  # every page refers to another, overlapping part of the end
        at = data.index(struct.pack("<HHI", 65000, 7, 0))
        struct.pack_into("<II", data, at + 4, length, len(data) - length - number)
    found = list(read_pages(io.BytesIO(data), name="it"))
    assert len(found) == count
    kept = sum(len(part.data) for page in found if "stored" in page.metadata for part in page.metadata["stored"].parts)
    assert length < kept < 5 * len(data)
    assert found[-1].notes == ("its tag 65000 is damaged and was left out",)


def test_profile_shared_by_pages_is_written_once() -> None:
    pages: list[Tags] = [{34675: (7, SRGB)}, *({34675: (7, b"")} for _ in range(40))]
    data = bytearray(tagged(*pages))
    for _ in range(40):
        at = data.index(struct.pack("<HHI", 34675, 7, 0))
        struct.pack_into("<II", data, at + 4, len(SRGB), data.index(SRGB))
    again, notes = rewritten(bytes(data), "TIFF")
    assert notes == ()
    assert described(again) == [{34675: (7, SRGB)}] * 41
    assert again.count(SRGB) == 1


def test_random_exif_data_is_written_readable() -> None:
    rng = random.Random(0)
    for _ in range(150):
        data = random_exif(rng)
        assert problem_of(data) is None, data.hex()


def test_table_of_metadata_is_up_to_date() -> None:
    wanted = metadata_table.START + metadata_table.table() + metadata_table.END
    hint = "run `python -m tests.images.metadata_table`"
    assert wanted in metadata_table.DOCUMENT.read_text(encoding="utf-8"), hint
