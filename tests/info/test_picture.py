"""Facts about image files that the tests write."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from n2n_cli.errors import ImageError
from n2n_cli.images import Picture, write_pages, write_picture
from n2n_cli.info.picture import PictureFacts, describe_picture, is_picture
from n2n_cli.nn.functional import Array


def noise(sigma: float, dtype: type[np.generic], *shape: int) -> Array:
    unit = 0.5 + sigma / 255 * np.random.default_rng(0).standard_normal(shape)
    values: Array = (unit * (1 if np.dtype(dtype).kind == "f" else np.iinfo(np.dtype(dtype)).max)).astype(dtype)
    return values


def test_facts_of_a_colour_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    alpha = np.full((120, 150), 255, np.uint8)
    write_picture(path, Picture(noise(20, np.uint8, 120, 150, 3), alpha, {"dpi": (300.0, 300.0), "icc_profile": b"x"}))
    facts = describe_picture(str(path))
    assert facts == PictureFacts(
        source=str(path),
        format="PNG",
        bytes=path.stat().st_size,
        width=150,
        height=120,
        channels=3,
        bits=8,
        number_type="uint8",
        alpha=True,
        pages=1,
        axes=(),
        pixel_size={},
        channel_names=(),
        dpi=facts.dpi,
        metadata=("ICC profile",),
        notes=(),
        values="8 bit, display",
        noise=facts.noise,
    )
    assert facts.dpi == pytest.approx((300, 300), abs=0.1)
    assert facts.noise.sigma == pytest.approx(20, rel=0.15)


@pytest.mark.parametrize(
    ("dtype", "name", "bits"), [(np.uint16, "uint16", 16), (np.float32, "float32", 32), (np.uint8, "uint8", 8)]
)
def test_bit_depths_of_gray_pictures(dtype: type[np.generic], name: str, bits: int, tmp_path: Path) -> None:
    write_picture(tmp_path / "a.tif", Picture(noise(10, dtype, 200, 150, 1)))
    facts = describe_picture(str(tmp_path / "a.tif"))
    assert (facts.format, facts.number_type, facts.bits, facts.channels) == ("TIFF", name, bits, 1)
    assert facts.alpha is False
    assert facts.noise.luma == pytest.approx(10, rel=0.2)


def test_pages_are_counted_and_the_first_described(tmp_path: Path) -> None:
    pages = [Picture(np.zeros((3, width, 1), np.uint8)) for width in (4, 5, 6)]
    write_pages(tmp_path / "a.tif", pages)
    facts = describe_picture(str(tmp_path / "a.tif"))
    assert (facts.pages, facts.width, facts.height) == (3, 4, 3)
    assert math.isnan(facts.noise.sigma)


def test_format_is_that_of_the_content(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", Picture(np.zeros((3, 4, 1), np.uint8)))
    (tmp_path / "a.jpg").rename(tmp_path / "b.png")
    assert describe_picture(str(tmp_path / "b.png")).format == "JPEG"


def test_pictures_are_recognised(tmp_path: Path) -> None:
    for ending in ("png", "jpg", "tif", "webp"):
        write_picture(tmp_path / f"a.{ending}", Picture(np.zeros((3, 4, 3), np.uint8)))
        (tmp_path / f"a.{ending}").rename(tmp_path / ending)
        assert is_picture(str(tmp_path / ending))
    assert is_picture("missing.PNG")
    (tmp_path / "text").write_text("[network]\n")
    assert not any(is_picture(name) for name in (str(tmp_path / "text"), str(tmp_path), "default", "a.pth", "a\0"))


def test_damaged_picture_is_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", Picture(noise(20, np.uint8, 50, 60, 3)))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:3000])
    for name in ("a.png", "missing.png"):
        with pytest.raises(ImageError, match=name):
            describe_picture(str(tmp_path / name))


@pytest.mark.parametrize("data", [b"\0\0\0\x18ftypheic" + bytes(99), b"NRRD0004", b"%PDF-1.7", b"\x1f\x8b\x08"])
def test_unsupported_format_is_named(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.x").write_bytes(data)
    assert is_picture(str(tmp_path / "a.x"))
    with pytest.raises(ImageError, match=r"; supported are PNG, JPEG, TIFF, WebP, BMP, FITS and MRC$"):
        describe_picture(str(tmp_path / "a.x"))
