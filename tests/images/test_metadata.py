"""Metadata in reading and writing, whole and damaged."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps
from PIL.TiffImagePlugin import IFDRational

from n2n_cli.data.set_values import read_pixels
from n2n_cli.images import (
    Metadata,
    Part,
    Picture,
    Stored,
    Text,
    picture_size,
    read_picture,
    upright,
    write_picture,
)
from n2n_cli.nn.functional import Array
from tests.images.pictures import (
    ALPHA,
    GRAY,
    RGB,
    SRGB,
    chunk,
    exif_of,
    mode,
    png,
)


@pytest.mark.parametrize("source", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("target", [".png", ".jpg", ".tif", ".webp"])
def test_exif_and_colour_profile_are_copied(tmp_path: Path, source: str, target: str) -> None:
    exif = exif_of(Make="maker", ImageDescription="a description", Artist="somebody")
    Image.fromarray(RGB).save(tmp_path / f"a{source}", exif=exif, icc_profile=SRGB)
    write_picture(tmp_path / f"b{target}", read_picture(tmp_path / f"a{source}"))
    with Image.open(tmp_path / f"b{target}") as image:
        found = image.getexif()
        assert found[ExifTags.Base.Make] == "maker"
        assert found[ExifTags.Base.ImageDescription] == "a description"
        assert found[ExifTags.Base.Artist] == "somebody"
        assert found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] == IFDRational(1, 125)
        assert image.info["icc_profile"] == SRGB


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp"])
def test_exif_is_copied_byte_for_byte(tmp_path: Path, ending: str) -> None:
    exif = exif_of(Make="maker", Orientation=3, Rating=5, PhotometricInterpretation=6)
    Image.fromarray(RGB).save(tmp_path / f"a{ending}", exif=exif)
    write_picture(tmp_path / f"b{ending}", read_picture(tmp_path / f"a{ending}"))
    with Image.open(tmp_path / f"a{ending}") as before, Image.open(tmp_path / f"b{ending}") as after:
        assert after.info["exif"] == before.info["exif"]


@pytest.mark.parametrize("source", [".png", ".jpg", ".tif", ".bmp"])
@pytest.mark.parametrize("target", [".png", ".jpg", ".tif", ".bmp"])
def test_resolution_is_copied(tmp_path: Path, source: str, target: str) -> None:
    Image.fromarray(RGB).save(tmp_path / f"a{source}", dpi=(300, 150))
    write_picture(tmp_path / f"b{target}", read_picture(tmp_path / f"a{source}"))
    assert read_picture(tmp_path / f"b{target}").metadata["dpi"] == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize("density", [(0, 0), (0, 1), (1, 1), (1, 0), None], ids=str)
def test_invalid_resolution_is_omitted(tmp_path: Path, density: tuple[int, int] | None) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.tif", dpi=None if density is None else (7919, 300))
    content, wanted = (tmp_path / "a.tif").read_bytes(), struct.pack("<II", 7919, 1)
    if density is not None:
        assert wanted in content
        (tmp_path / "a.tif").write_bytes(content.replace(wanted, struct.pack("<II", *density)))
    picture = read_picture(tmp_path / "a.tif")
    assert spelt(picture) == {}
    assert np.array_equal(picture.pixels, RGB)


def test_resolution_as_text_is_omitted(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.tif", dpi=(300, 300))
    content, tag = (tmp_path / "a.tif").read_bytes(), struct.pack("<HHI", 282, 5, 1)
    assert tag in content
    (tmp_path / "a.tif").write_bytes(
        content.replace(tag + content.split(tag)[1][:4], struct.pack("<HHI", 282, 2, 4) + b"ten\0")
    )
    picture = read_picture(tmp_path / "a.tif")
    assert spelt(picture) == {}
    assert picture.notes == ("its XResolution (282) is damaged and was left out",)
    assert np.array_equal(picture.pixels, RGB)


def test_metadata_after_the_pixels_of_a_png_is_read(tmp_path: Path) -> None:
    exif = exif_of(Orientation=6)
    data = png(3, 2, 8, 0, b"\0abc\0def", behind=chunk(b"eXIf", exif[6:]))
    (tmp_path / "a.png").write_bytes(data)
    assert read_picture(tmp_path / "a.png").metadata["exif"] == exif


def test_exif_data_written_as_text_by_imagemagick_is_read(tmp_path: Path) -> None:
    exif = exif_of(Orientation=6, Make="maker")
    text = f"\nexif\n{len(exif):8}\n{exif.hex()}\n".encode("latin-1")
    profile = chunk(b"tEXt", b"Raw profile type exif\0" + text)
    (tmp_path / "a.png").write_bytes(png(3, 2, 8, 0, b"\0abc\0def", behind=profile))
    kept = Image.Exif()
    kept.load(read_picture(tmp_path / "a.png").metadata["exif"])
    assert dict(kept)[ExifTags.Base.Orientation] == 6
    assert dict(kept)[ExifTags.Base.Make] == "maker"


@pytest.mark.parametrize("damage", [b"MM\0*\0\0\0", b"XX\0*\0\0\0\x08\0\0", b"M"])
@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp"])
def test_damaged_exif_data_is_omitted(tmp_path: Path, damage: bytes, ending: str) -> None:
    Image.fromarray(RGB).save(tmp_path / f"a{ending}", exif=b"Exif\0\0" + damage)
    picture = read_picture(tmp_path / f"a{ending}")
    assert picture.notes == ("its EXIF data is damaged and was left out",)
    assert "exif" not in picture.metadata


def test_layout_tags_in_exif_data_are_not_written_to_a_tiff(tmp_path: Path) -> None:
    exif = exif_of(PhotometricInterpretation=0, Compression=6, RowsPerStrip=1, Make="maker")
    Image.fromarray(GRAY).save(tmp_path / "a.png", exif=exif)
    write_picture(tmp_path / "b.tif", read_picture(tmp_path / "a.png"))
    with Image.open(tmp_path / "b.tif") as image:
        assert image.getexif()[ExifTags.Base.PhotometricInterpretation] == 1
        assert np.array_equal(np.asarray(image), GRAY)


def test_colour_profile_of_cmyk_is_omitted(tmp_path: Path) -> None:
    mode("CMYK", np.zeros((2, 3, 4), np.uint8)).save(tmp_path / "a.tif", icc_profile=b"of CMYK", dpi=(300, 300))
    picture = read_picture(tmp_path / "a.tif")
    assert spelt(picture) == {"dpi": (300, 300)}
    assert "its colour profile does not fit RGB and was left out" in picture.notes


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("source", [".png", ".tif"])
@pytest.mark.parametrize("target", [".png", ".tif", ".bmp", ".webp", ".jpg"])
def test_orientation_is_kept_when_shown(tmp_path: Path, orientation: int, source: str, target: str) -> None:
    quarters = np.kron(np.array([[40, 90], [200, 140]]), np.ones((16, 32))).astype(np.uint8)  # (32, 64)
    Image.fromarray(quarters).save(tmp_path / f"a{source}", exif=exif_of(Orientation=orientation))
    picture = read_picture(tmp_path / f"a{source}")
    assert picture.pixels.shape[:2] == (32, 64)  # as stored, not upright
    assert picture_size(tmp_path / f"a{source}") == upright(picture).pixels.shape[:2]
    write_picture(tmp_path / f"b{target}", picture)

    def shown(path: Path) -> Array:
        # Open the content: Pillow scrambles rotated gray TIFFs that it opens by name.
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("L")).astype(float)

    before, after = shown(tmp_path / f"a{source}"), shown(tmp_path / f"b{target}")
    assert after.shape == before.shape
    assert np.abs(after - before).max() < (10 if target in (".webp", ".jpg") else 0.5)
    assert np.abs(read_pixels(tmp_path / f"b{target}", 1)[..., 0] - before).max() < 12


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6">\xc3\xa4</rdf></x:xmpmeta>'
TEXTS: tuple[Text, ...] = (
    {"keyword": "Title", "text": "gr\xfcn", "language": "", "translated": ""},
    {"keyword": "Comment", "text": "long " * 400, "language": "", "translated": ""},
    {"keyword": "Author", "text": "\u5f20", "language": "zh", "translated": "\u4f5c\u8005"},
    {"keyword": "Author", "text": "\u5f20" * 900, "language": "", "translated": ""},
)
COLOUR = (
    Part(b"cHRM", struct.pack(">8I", *range(8))),
    Part(b"gAMA", struct.pack(">I", 45455)),
    Part(b"sRGB", b"\0"),
)
ALL: Metadata = {"exif": exif_of(Make="maker"), "xmp": XMP, "texts": TEXTS, "dpi": (300, 150)}


def spelt(picture: Picture) -> Metadata:
    """Metadata without the parts stored as bytes."""
    metadata = picture.metadata.copy()
    metadata.pop("stored", None)
    return metadata


def through(picture: Picture, image_format: str) -> tuple[Metadata, tuple[str, ...]]:
    """Write and read an image; return its metadata and all notes."""
    file = io.BytesIO()
    notes = write_picture(file, picture, format=image_format, name="it")
    back = read_picture(file, name="it")
    return spelt(back), notes + back.notes


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_keeps_all_metadata(dtype: type) -> None:
    metadata, notes = through(Picture(RGB.astype(dtype), None, ALL), "PNG")
    assert metadata["dpi"] == pytest.approx((300, 150), abs=0.02)
    assert metadata | {"dpi": (300, 150)} == ALL
    assert notes == ()


def test_upright_updates_orientation_and_resolution() -> None:
    turned: Metadata = {"xmp": XMP, "exif": exif_of(Orientation=6, Make="maker"), "dpi": (300, 150)}
    picture = upright(Picture(RGB, ALPHA, turned))
    assert np.array_equal(picture.pixels, np.rot90(RGB, -1))
    assert np.array_equal(picture.alpha, np.rot90(ALPHA, -1))  # type: ignore[arg-type]
    assert picture.metadata["xmp"] == XMP.replace(b'Orientation="6"', b'Orientation="1"')
    assert picture.metadata["dpi"] == (150, 300)
    exif = Image.Exif()
    exif.load(picture.metadata["exif"])
    assert (exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make]) == (1, "maker")
    assert upright(picture) is picture


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_orientation_is_copied_unchanged(image_format: str) -> None:
    turned: Metadata = {"xmp": XMP, "exif": exif_of(Orientation=6), "dpi": (300, 150)}
    metadata, _ = through(Picture(RGB, None, turned), image_format)
    assert metadata["xmp"] == XMP
    assert metadata["dpi"] == pytest.approx((300, 150), abs=0.02)
    exif = Image.Exif()
    exif.load(metadata["exif"])
    assert exif[ExifTags.Base.Orientation] == 6


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_aspect_ratio_without_a_unit_is_copied(image_format: str, dtype: type) -> None:
    metadata: Metadata = {"aspect": (2, 3)}
    assert through(Picture(RGB.astype(dtype), None, metadata), image_format) == (metadata, ())
    ratio, _ = through(Picture(RGB.astype(dtype), None, {"aspect": (1.5, 1)}), image_format)
    assert ratio["aspect"][0] / ratio["aspect"][1] == pytest.approx(1.5)


@pytest.mark.parametrize(("orientation", "wanted"), [(3, (300, 150)), (6, (150, 300))])
def test_resolution_is_rotated_with_the_pixels(orientation: int, wanted: tuple[int, int]) -> None:
    picture = Picture(RGB, None, {"dpi": (300, 150), "exif": exif_of(Orientation=orientation)})
    assert through(picture, "BMP")[0]["dpi"] == pytest.approx(wanted, abs=0.02)


def test_resolution_of_a_jpeg_is_read_from_exif_data(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path, exif=exif_of(Make="maker"))
    assert "dpi" not in read_picture(path).metadata
    exif = exif_of(XResolution=IFDRational(100), YResolution=IFDRational(50), ResolutionUnit=3)
    Image.fromarray(RGB).save(path, exif=exif)
    assert read_picture(path).metadata["dpi"] == (254, 127)


def test_comment_is_copied_by_jpeg_and_png() -> None:
    comment: Text = {"keyword": "Comment", "text": "gr\xfcn", "language": "", "translated": ""}
    for image_format in ("JPEG", "PNG"):
        assert through(Picture(RGB, None, {"texts": (comment,)}), image_format) == ({"texts": (comment,)}, ())


LEFT_OUT: dict[str, tuple[str, Metadata, str]] = {
    "texts in WebP": ("WEBP", {"texts": TEXTS}, "WEBP cannot hold its texts (Title, Author)"),
    "texts in JPEG": ("JPEG", {"texts": TEXTS[:2]}, "JPEG cannot hold its texts (Title)"),
    "gamma in TIFF": ("TIFF", {"stored": Stored("PNG", COLOUR[:2])}, "TIFF cannot hold its cHRM chunk, gamma"),
    "gamma of sRGB": ("TIFF", {"stored": Stored("PNG", COLOUR)}, ""),
    "gamma beside a profile": ("TIFF", {"stored": Stored("PNG", COLOUR[:2]), "icc_profile": SRGB}, ""),
    "BMP": (
        "BMP",
        {"icc_profile": SRGB, "xmp": XMP, "exif": exif_of()},
        "BMP cannot hold its EXIF data, colour profile, XMP data",
    ),
    "long XMP in JPEG": ("JPEG", {"xmp": bytes(65_505)}, "JPEG cannot hold its XMP data"),
    "XMP that just fits in JPEG": ("JPEG", {"xmp": bytes(65_504)}, ""),
}


@pytest.mark.parametrize(("image_format", "metadata", "wanted"), LEFT_OUT.values(), ids=LEFT_OUT.keys())
def test_omitted_metadata_is_named(image_format: str, metadata: Metadata, wanted: str) -> None:
    assert through(Picture(RGB, None, metadata), image_format)[1] == ((wanted,) if wanted else ())


def bomb(name: bytes) -> bytes:
    start = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[name]
    return chunk(name, start + zlib.compress(bytes(2**25)))


DAMAGED: dict[str, tuple[bytes, str]] = {
    "zTXt bomb": (bomb(b"zTXt"), "its zTXt chunk is too long and was left out"),
    "iTXt bomb": (bomb(b"iTXt"), "its iTXt chunk is too long and was left out"),
    "iCCP bomb": (bomb(b"iCCP"), "its iCCP chunk is too long and was left out"),
    "many texts": (
        b"".join(chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**20 - 1))) for _ in range(17)),
        "its zTXt chunk is too long and was left out",
    ),
    "iCCP cut": (chunk(b"iCCP", b"k\0\0" + zlib.compress(SRGB)[:50]), "its iCCP chunk is damaged and was left out"),
    "another packing": (chunk(b"zTXt", b"k\0\1" + zlib.compress(b"")), "its zTXt chunk is damaged and was left out"),
    "no keyword": (chunk(b"tEXt", b"\0text"), "its tEXt chunk is damaged and was left out"),
    "text that is no UTF-8": (chunk(b"iTXt", b"k\0\0\0\0\0\xff"), "its iTXt chunk is damaged and was left out"),
    "pHYs cut": (chunk(b"pHYs", bytes(8)), "its pHYs chunk is damaged and was left out"),
    "wrong checksum": (chunk(b"tEXt", b"k\0text")[:-1] + b"?", "its tEXt chunk is damaged and was left out"),
    "EXIF data": (chunk(b"eXIf", b"XX\0*"), "its EXIF data is damaged and was left out"),
    "EXIF data as text": (
        chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 5\n00\n"),
        "its EXIF data is damaged and was left out",
    ),
}


@pytest.mark.parametrize(("behind", "note"), DAMAGED.values(), ids=DAMAGED.keys())
@pytest.mark.parametrize("depth", [8, 16])
def test_only_the_damaged_chunk_is_omitted(behind: bytes, note: str, depth: int) -> None:
    more = chunk(b"tEXt", b"Title\0kept")
    file = io.BytesIO(png(1, 1, depth, 0, bytes(1 + depth // 8), behind=behind + more))
    picture = read_picture(file, name="it")
    assert picture.notes == (note,)
    assert picture.pixels.tolist() == [[[0]]]
    texts = [text for text in picture.metadata["texts"] if text["keyword"] != "k"]
    assert texts == [{"keyword": "Title", "text": "kept", "language": "", "translated": ""}]
    assert spelt(picture).keys() == {"texts"}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_exif_with_all_directories_round_trips_through_tiff(dtype: type) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Copyright] = "me"
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N"}
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.UserComment: b"comment", ExifTags.IFD.Interop: {1: "R98"}}
    metadata, _ = through(Picture((RGB / 255).astype(dtype), None, {"exif": exif.tobytes()}), "TIFF")
    back = Image.Exif()
    back.load(metadata["exif"])
    assert back[ExifTags.Base.Copyright] == "me"
    assert back.get_ifd(ExifTags.IFD.GPSInfo) == {ExifTags.GPS.GPSLatitudeRef: "N"}
    assert back.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] == b"comment"
    assert back.get_ifd(ExifTags.IFD.Interop) == {1: "R98"}
