"""Names of unsupported file formats, among them camera raw files.

Raw files are distinguished from TIFF.
"""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from n2n_cli.errors import ImageError
from n2n_cli.images import Picture, picture_kind, picture_size, read_picture, write_picture
from n2n_cli.images.tiff.entries import head
from tests.images.directories import StoredValues, Values, directory
from tests.images.pictures import GRAY, RGB, refused, tiff, with_alpha


def isobmff(brand: bytes) -> bytes:
    return struct.pack(">I4s4s", 24, b"ftyp", brand) + bytes(200)


def raw_tiff(main: dict[int, Values], inner: dict[int, Values] | None = None) -> bytes:
    """TIFF of 8x8 gray pixels with further tags, and a page of 16x16 pixels below it."""
    picture: dict[int, Values] = {258: 8, 259: 1, 262: 1, 277: 1, 273: 16}
    data = bytes(16 + 256)
    tags: dict[int, Values] = {**picture, 256: 8, 257: 8, 278: 8, 279: 64, **main}
    if inner is not None:
        below = directory({**picture, 256: 16, 257: 16, 278: 16, 279: 256, **inner}, len(data), 0, big=False)
        tags[330] = len(data)
        data += below
    return head(len(data), big=False) + data[8:] + directory(tags, len(data), 0, big=False)


FOREIGN: dict[str, tuple[bytes, str, str]] = {  # file content, its format, a word of the hint
    "HEIC": (isobmff(b"heic"), "an HEIC picture", "16-bit TIFF"),
    "HEIF": (isobmff(b"mif1"), "an HEIC picture", "16-bit TIFF"),
    "AVIF": (isobmff(b"avif"), "an AVIF picture", "16-bit TIFF"),
    "CR3": (isobmff(b"crx "), "a camera raw file", "raw converter"),
    "MP4": (isobmff(b"isom"), "a video", "frames"),
    "CR2": (b"II*\0\x10\0\0\0CR\x02\0" + bytes(99), "a camera raw file", "16-bit TIFF"),
    "IIQ": (b"II*\0\x10\0\0\0IIIITwaR" + bytes(99), "a camera raw file", "16-bit TIFF"),
    "CRW": (b"II\x1a\0\0\0HEAPCCDR" + bytes(99), "a camera raw file", "16-bit TIFF"),
    "ORF": (b"IIRO\x08\0\0\0" + bytes(99), "a camera raw file", "16-bit TIFF"),
    "RW2": (b"IIU\0\x18\0\0\0" + bytes(99), "a camera raw file", "16-bit TIFF"),
    "RAF": (b"FUJIFILMCCD-RAW 0201", "a camera raw file", "16-bit TIFF"),
    "X3F": (b"FOVb\0\0\3\0" + bytes(99), "a camera raw file", "16-bit TIFF"),
    "DNG": (
        raw_tiff({254: 1, 50706: StoredValues(1, 4, b"\1\4\0\0")}, {254: 0, 262: 32803}),
        "a camera raw file",
        "raw converter",
    ),
    "NEF": (raw_tiff({254: 1, 271: "NIKON"}, {254: 0, 262: 32803, 259: 34713}), "a camera raw file", "raw converter"),
    "PEF": (raw_tiff({262: 32803}), "a camera raw file", "raw converter"),
    "linear DNG": (raw_tiff({262: 34892}), "a camera raw file", "raw converter"),
    "DICOM": (bytes(128) + b"DICM", "a DICOM file", "16 bits"),
    "NIfTI": (b"\\\1\0\0" + bytes(340) + b"n+1\0", "a NIfTI file", "16 bits"),
    "OpenEXR": (b"v/1\x01\2\0\0\0", "an OpenEXR picture", "32-bit floats"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture", "16-bit TIFF"),
    "JPEG XL": (b"\xff\x0a\xfa\x7f", "a JPEG XL picture", "16-bit TIFF"),
    "Photoshop": (b"8BPS\0\1", "a Photoshop file", "16-bit TIFF"),
    "CZI": (b"ZISSRAWFILE" + bytes(9), "a Zeiss CZI file", "Fiji"),
    "PGM": (b"P5\n# made by hand\n2 2\n255\n\1\2\3\4", "a Netpbm picture", "PNG"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "16 bits"),
    "SVG": (b'<?xml version="1.0"?>\n<svg width="1">', "an SVG drawing", "PNG"),
    "web page": (b"<!DOCTYPE html><title>404</title>", "a web page", "get the picture itself"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "a pointer to a file in Git LFS", "git lfs pull"),
    "gzip": (b"\x1f\x8b\x08\0", "a gzip file", "unpack"),
}


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a"])
@pytest.mark.parametrize(("data", "kind", "hint"), FOREIGN.values(), ids=FOREIGN.keys())
def test_unsupported_formats_are_named(tmp_path: Path, name: str, data: bytes, kind: str, hint: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    for read in (read_picture, picture_size):
        error = refused(path, read)
        assert error.message == f"`{path}` is {kind}; supported are PNG, JPEG, TIFF, WebP, BMP, FITS and MRC"
        assert error.hint is not None
        assert hint in error.hint
    assert picture_kind(path) in (kind.partition(" ")[2], None)
    with pytest.raises(ImageError, match=f"^`stdin` is {kind}; supported"):
        read_picture(io.BytesIO(data), name="stdin")


@pytest.mark.parametrize("ending", [".nef", ".ARW", ".3fr"])
def test_tiff_with_a_raw_suffix_is_a_raw_file(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a{ending}").write_bytes(tiff(1, 1, 8, 1, b"\0"))
    assert "is a camera raw file" in refused(tmp_path / f"a{ending}").message
    assert picture_kind(tmp_path / f"a{ending}") == "camera raw file"


def test_file_with_only_a_preview_is_refused() -> None:
    with pytest.raises(ImageError, match=r"holds only a preview in its first page; its picture is in a subdirectory"):
        read_picture(io.BytesIO(raw_tiff({254: 1}, {254: 0})), name="it")
    # In a pyramid the first page is the largest; a thumbnail without another page is an image.
    assert read_picture(io.BytesIO(raw_tiff({}, {254: 1, 256: 4, 257: 4})), name="it").pixels.shape == (8, 8, 1)
    assert read_picture(io.BytesIO(raw_tiff({254: 1})), name="it").pixels.shape == (8, 8, 1)


def test_picture_kind_of_supported_formats_and_other_files(tmp_path: Path) -> None:
    for name in ("PNG", "JPEG", "TIFF", "WEBP", "BMP"):
        Image.fromarray(RGB).save(tmp_path / "a", format=name)
        assert picture_kind(tmp_path / "a") == name
    for data, name in ((b"SIMPLE  =                    T", "FITS"), (bytes(208) + b"MAP \x44\x44\0\0", "MRC")):
        for stored in (data, gzip.compress(data)):
            (tmp_path / "a").write_bytes(stored)
            assert picture_kind(tmp_path / "a") == name
    for data in (b"", b"x", b"BMW 3 Series", b"a,b\n1,2\n", b"II*\0", bytes(600)):
        (tmp_path / "a").write_bytes(data)
        assert picture_kind(tmp_path / "a") in (None, "TIFF" if data.startswith(b"II") else None)
    assert picture_kind(tmp_path / "none") is None


@pytest.mark.parametrize("ending", [".jfif", ".jpe", ".JIF"])
def test_other_suffixes_of_jpeg_are_read(tmp_path: Path, ending: str) -> None:
    Image.fromarray(GRAY).save(tmp_path / f"a{ending}", format="JPEG")
    assert read_picture(tmp_path / f"a{ending}").format == "JPEG"


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.kron(RGB, np.ones((8, 8, 1), np.uint8))).save(file, "JPEG", exif=b"Exif\0\0", comment=b"good")
    return file.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


SEGMENTS: dict[str, tuple[bytes, str]] = {
    "JFIF": (segment(0xE0, b"JFIF\0"), "APP0 segment"),
    "IPTC": (segment(0xED, b"Photoshop 3.0\x008BIM\4\4"), "APP13 segment"),
    "Adobe": (segment(0xEE, b"Adobe"), "APP14 segment"),
    "colour profile": (segment(0xE2, b"ICC_PROFILE\0"), "APP2 segment"),
}


@pytest.mark.parametrize(("damaged", "name"), SEGMENTS.values(), ids=SEGMENTS.keys())
def test_only_the_damaged_jpeg_segment_is_omitted(damaged: bytes, name: str) -> None:
    whole = jpeg()
    data = whole[:2] + damaged + whole[2:]
    picture = read_picture(io.BytesIO(data), name="it")
    assert np.array_equal(picture.pixels, read_picture(io.BytesIO(whole), name="it").pixels)
    assert picture.notes == (f"its {name} is damaged and was left out",)
    assert picture.metadata["texts"][0]["text"] == "good"
    assert picture_size(io.BytesIO(data), name="it") == (16, 24)


@pytest.mark.parametrize("length", [2, 9, 40_000, 65_535])
def test_only_the_jpeg_segment_of_a_wrong_length_is_lost(length: int) -> None:
    whole = jpeg()
    data = whole[:2] + struct.pack(">BBH", 0xFF, 0xED, length) + b"Photoshop 3.0\x00 more" + whole[2:]
    picture = read_picture(io.BytesIO(data), name="it")
    assert np.array_equal(picture.pixels, read_picture(io.BytesIO(whole), name="it").pixels)


def test_unsupported_jpegs_are_named() -> None:
    whole = jpeg()
    at = whole.index(b"\xff\xc0")
    for marker, bits, kind in ((0xC1, 12, "a JPEG of 12 bits"), (0xC3, 16, "a lossless JPEG")):
        data = whole[:at] + bytes([0xFF, marker]) + whole[at + 2 : at + 4] + bytes([bits]) + whole[at + 5 :]
        with pytest.raises(ImageError, match=f"^`it` is {kind}, which is not supported$"):
            read_picture(io.BytesIO(data), name="it")


def test_png_that_ends_after_its_pixels(tmp_path: Path) -> None:
    for pixels in (RGB, GRAY, GRAY * np.uint16(257)):
        Image.fromarray(pixels).save(tmp_path / "a.png")
        data = (tmp_path / "a.png").read_bytes()
        (tmp_path / "a.png").write_bytes(data[:-12])
        picture = read_picture(tmp_path / "a.png")
        assert np.array_equal(picture.pixels, np.atleast_3d(pixels))
        assert picture.notes == ("it ends right after its pixels: later data may be missing",)


def test_bmp_keeps_its_alpha(tmp_path: Path) -> None:
    picture = Picture(RGB, np.asarray(with_alpha(RGB))[..., 3], {"dpi": (72, 72)})
    assert write_picture(tmp_path / "a.bmp", picture) == ()
    found = read_picture(tmp_path / "a.bmp")
    assert np.array_equal(found.pixels, RGB)
    assert np.array_equal(found.alpha, picture.alpha)  # type: ignore[arg-type]
    assert found.metadata["dpi"] == pytest.approx((72, 72), abs=0.02)
