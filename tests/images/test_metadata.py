"""What a file carries beside its pixels goes along, and what is damaged costs itself alone."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps
from PIL.TiffImagePlugin import IFDRational

from n2n_cli.images import picture_size, read_picture, write_picture
from n2n_cli.nn.functional import Array
from tests.images.pictures import (
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
def test_exif_and_colour_profile_go_along(tmp_path: Path, source: str, target: str) -> None:
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
def test_exif_stays_byte_for_byte(tmp_path: Path, ending: str) -> None:
    exif = exif_of(Make="maker", Orientation=3, Rating=5, PhotometricInterpretation=6)
    Image.fromarray(RGB).save(tmp_path / f"a{ending}", exif=exif)
    write_picture(tmp_path / f"b{ending}", read_picture(tmp_path / f"a{ending}"))
    with Image.open(tmp_path / f"a{ending}") as before, Image.open(tmp_path / f"b{ending}") as after:
        assert after.info["exif"] == before.info["exif"]


@pytest.mark.parametrize("source", [".png", ".jpg", ".tif", ".bmp"])
@pytest.mark.parametrize("target", [".png", ".jpg", ".tif", ".bmp"])
def test_the_resolution_goes_along(tmp_path: Path, source: str, target: str) -> None:
    Image.fromarray(RGB).save(tmp_path / f"a{source}", dpi=(300, 150))
    write_picture(tmp_path / f"b{target}", read_picture(tmp_path / f"a{source}"))
    assert read_picture(tmp_path / f"b{target}").metadata["dpi"] == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize("density", [(0, 0), (0, 1), (10**9, 1), (1, 0), None], ids=str)
def test_a_resolution_that_is_none_is_left_out(tmp_path: Path, density: tuple[int, int] | None) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.tif", dpi=None if density is None else (7919, 300))
    content, wanted = (tmp_path / "a.tif").read_bytes(), struct.pack("<II", 7919, 1)
    if density is not None:
        assert wanted in content
        (tmp_path / "a.tif").write_bytes(content.replace(wanted, struct.pack("<II", *density)))
    picture = read_picture(tmp_path / "a.tif")
    assert picture.metadata == {}
    assert np.array_equal(picture.pixels, RGB)


def test_a_resolution_that_is_a_text_is_left_out(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.tif", dpi=(300, 300))
    content, tag = (tmp_path / "a.tif").read_bytes(), struct.pack("<HHI", 282, 5, 1)
    assert tag in content
    (tmp_path / "a.tif").write_bytes(
        content.replace(tag + content.split(tag)[1][:4], struct.pack("<HHI", 282, 2, 4) + b"ten\0")
    )
    picture = read_picture(tmp_path / "a.tif")
    assert picture.metadata == {}
    assert np.array_equal(picture.pixels, RGB)


def test_metadata_behind_the_pixels_of_a_png(tmp_path: Path) -> None:
    exif = exif_of(Orientation=6)
    data = png(3, 2, 8, 0, b"\0abc\0def", behind=chunk(b"eXIf", exif[6:]))
    (tmp_path / "a.png").write_bytes(data)
    assert read_picture(tmp_path / "a.png").metadata["exif"] == exif


def test_exif_data_written_as_text_by_imagemagick(tmp_path: Path) -> None:
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
def test_damaged_exif_data_does_not_cost_the_picture(tmp_path: Path, damage: bytes, ending: str) -> None:
    Image.fromarray(RGB).save(tmp_path / f"a{ending}", exif=b"Exif\0\0" + damage)
    picture = read_picture(tmp_path / f"a{ending}")
    assert picture.notes == ("its EXIF data is damaged and was left out",)
    assert "exif" not in picture.metadata


def test_layout_tags_in_exif_data_do_not_reach_a_tiff(tmp_path: Path) -> None:
    exif = exif_of(PhotometricInterpretation=0, Compression=6, RowsPerStrip=1, Make="maker")
    Image.fromarray(GRAY).save(tmp_path / "a.png", exif=exif)
    write_picture(tmp_path / "b.tif", read_picture(tmp_path / "a.png"))
    with Image.open(tmp_path / "b.tif") as image:
        assert image.getexif()[ExifTags.Base.PhotometricInterpretation] == 1
        assert np.array_equal(np.asarray(image), GRAY)


def test_a_colour_profile_of_other_colours_is_left_out(tmp_path: Path) -> None:
    mode("CMYK", np.zeros((2, 3, 4), np.uint8)).save(tmp_path / "a.tif", icc_profile=b"of CMYK", dpi=(300, 300))
    assert read_picture(tmp_path / "a.tif").metadata == {"dpi": (300, 300)}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("source", [".png", ".tif"])
@pytest.mark.parametrize("target", [".png", ".tif", ".bmp", ".webp", ".jpg"])
def test_the_right_side_stays_up(tmp_path: Path, orientation: int, source: str, target: str) -> None:
    quarters = np.kron(np.array([[40, 90], [200, 140]]), np.ones((16, 32))).astype(np.uint8)  # (32, 64)
    Image.fromarray(quarters).save(tmp_path / f"a{source}", exif=exif_of(Orientation=orientation))
    picture = read_picture(tmp_path / f"a{source}")
    assert picture_size(tmp_path / f"a{source}") == picture.pixels.shape[:2]
    write_picture(tmp_path / f"b{target}", picture)

    def upright(path: Path) -> Array:
        # By its content: Pillow scrambles turned gray TIFFs that it opens by name.
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("L")).astype(float)

    before, after = upright(tmp_path / f"a{source}"), upright(tmp_path / f"b{target}")
    assert after.shape == before.shape
    assert np.abs(after - before).max() < (10 if target in (".webp", ".jpg") else 0.5)
