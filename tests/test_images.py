from __future__ import annotations

import io
import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageOps
from PIL.TiffImagePlugin import IFDRational

from n2n_cli.errors import ArgumentError, ImageError
from n2n_cli.images import (
    FORMATS,
    Picture,
    format_of,
    picture_size,
    read_picture,
    read_pixels,
    write_picture,
)
from n2n_cli.nn.functional import Array
from tests.nn.cases import some_examples
from tests.test_files import open_folder, without_privileges

GRAY = np.array([[0, 255, 7], [1, 128, 254]], np.uint8)  # (2, 3)
DEEP = np.array([[0, 65535, 7], [256, 32768, 65534]], np.uint16)
RGB = np.arange(0, 252, 14).astype(np.uint8).reshape(2, 3, 3)
ALPHA = np.array([[0, 255, 9], [128, 1, 254]], np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PALETTE_NOTE = "its palette became plain colours"

Save = Callable[[Path], None]


def saved(image: Image.Image, **options: Any) -> Save:
    return lambda path: image.save(path, **options)


def raw(data: bytes) -> Save:
    def save(path: Path) -> None:
        path.write_bytes(data)

    return save


def mode(mode: str, values: Array) -> Image.Image:
    """An image of a mode that NumPy arrays do not tell."""
    return Image.frombytes(mode, (values.shape[1], values.shape[0]), values.tobytes())


def palette(*colours: int) -> Image.Image:
    image = mode("P", np.array([[0, 1, 2], [2, 1, 0]], np.uint8))
    image.putpalette(colours)
    return image


def with_alpha(pixels: Array) -> Image.Image:
    return Image.fromarray(np.concatenate([np.atleast_3d(pixels), ALPHA[..., None]], axis=2))


def png(width: int, height: int, depth: int, colour: int, data: bytes, *, behind: bytes = b"") -> bytes:
    """A PNG file; `data` are the rows, `behind` are chunks that follow them."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + behind
        + chunk(b"IEND", b"")
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tiff(width: int, height: int, bits: int, photometric: int, data: bytes, *, samples: int = 1) -> bytes:
    """An uncompressed little-endian TIFF file of one strip."""
    depths = 8 + 2 + 9 * 12 + 4
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, samples, bits if samples == 1 else depths),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, depths + 2 * samples),
        (277, 3, 1, samples),
        (278, 4, 1, height),
        (279, 4, 1, len(data)),
    ]
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + table + struct.pack(f"<{samples}H", *[bits] * samples) + data


def exif_of(**tags: Any) -> bytes:
    exif = Image.Exif()
    for name, value in tags.items():
        exif[ExifTags.Base[name]] = value
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.ExposureTime: IFDRational(1, 125)}
    return exif.tobytes()


def same(found: Array | None, wanted: Array | None) -> bool:
    return found is wanted if found is None or wanted is None else np.array_equal(found, wanted)


def refused(path: Path | str, read: Callable[[Path | str], object] = read_picture) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read(path)
    error = caught.value
    assert f"`{path}`" in error.message
    assert error.hint
    assert "\n" not in error.message + error.hint
    return error


def not_written(path: Path | str, picture: Picture) -> ImageError:
    return refused(path, lambda path: write_picture(path, picture))


READ: dict[str, tuple[str, Save, Array, Array | None, tuple[str, ...]]] = {
    # what it is: file, how it is saved, pixels, alpha, notes
    "1 bit": ("a.png", saved(Image.fromarray(GRAY > 99)), (GRAY > 99) * np.uint8(255), None, ()),
    "1 bit, TIFF": ("a.tif", saved(Image.fromarray(GRAY > 99)), (GRAY > 99) * np.uint8(255), None, ()),
    "1 bit, TIFF by fax": (
        "a.tif",
        saved(Image.fromarray(GRAY > 99), compression="group4"),
        (GRAY > 99) * np.uint8(255),
        None,
        (),
    ),
    "1 bit, BMP": ("a.bmp", saved(Image.fromarray(GRAY > 99)), (GRAY > 99) * np.uint8(255), None, ()),
    "1 bit, black is transparent": (
        "a.png",
        saved(Image.fromarray(GRAY > 99), transparency=0),
        (GRAY > 99) * np.uint8(255),
        (GRAY > 99) * np.uint8(255),
        (),
    ),
    "gray": ("a.png", saved(Image.fromarray(GRAY)), GRAY, None, ()),
    "gray, one level is transparent": (
        "a.png",
        saved(Image.fromarray(GRAY), transparency=7),
        GRAY,
        (GRAY != 7) * np.uint8(255),
        (),
    ),
    "gray, white is zero": ("a.tif", raw(tiff(3, 2, 8, 0, (255 - GRAY).tobytes())), GRAY, None, ()),
    "gray and alpha": ("a.png", saved(with_alpha(GRAY)), GRAY, ALPHA, ()),
    "gray and alpha, TIFF": ("a.tiff", saved(with_alpha(GRAY)), GRAY, ALPHA, ()),
    "palette": (
        "a.png",
        saved(palette(0, 0, 0, 255, 255, 255, 10, 20, 30)),
        np.array([[[0] * 3, [255] * 3, [10, 20, 30]], [[10, 20, 30], [255] * 3, [0] * 3]], np.uint8),
        None,
        (PALETTE_NOTE,),
    ),
    "palette with transparency": (
        "a.png",
        saved(palette(1, 2, 3, 4, 5, 6, 7, 8, 9), transparency=b"\xff\x80\x00"),
        np.array([[[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[7, 8, 9], [4, 5, 6], [1, 2, 3]]], np.uint8),
        np.array([[255, 128, 0], [0, 128, 255]], np.uint8),
        (PALETTE_NOTE,),
    ),
    "palette and alpha": (
        "a.tif",
        saved(palette(1, 2, 3, 4, 5, 6, 7, 8, 9).convert("PA")),
        np.array([[[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[7, 8, 9], [4, 5, 6], [1, 2, 3]]], np.uint8),
        np.full((2, 3), 255, np.uint8),
        (PALETTE_NOTE,),
    ),
    "RGB": ("a.png", saved(Image.fromarray(RGB)), RGB, None, ()),
    "RGB, one colour is transparent": (
        "a.png",
        saved(Image.fromarray(RGB), transparency=(42, 56, 70)),
        RGB,
        np.array([[255, 0, 255], [255, 255, 255]], np.uint8),
        (),
    ),
    "RGB, WebP without loss": ("a.webp", saved(Image.fromarray(RGB), lossless=True), RGB, None, ()),
    "RGB, ending in capitals": ("A.TIF", saved(Image.fromarray(RGB), format="TIFF"), RGB, None, ()),
    "RGB, wrong ending": ("a.jpg", saved(Image.fromarray(RGB), format="PNG"), RGB, None, ()),
    "RGBA": ("a.png", saved(with_alpha(RGB)), RGB, ALPHA, ()),
    "RGBA, TIFF": ("a.tif", saved(with_alpha(RGB)), RGB, ALPHA, ()),
    "RGBA, WebP without loss": ("a.webp", saved(with_alpha(RGB), lossless=True, exact=True), RGB, ALPHA, ()),
    "CMYK": (
        "a.tif",
        saved(mode("CMYK", np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [255, 0, 0, 0]]], np.uint8))),
        np.array([[[255, 255, 255], [0, 0, 0], [0, 255, 255]]], np.uint8),
        None,
        ("it was converted from CMYK to RGB",),
    ),
    "CMYK, JPEG": (
        "a.jpg",
        saved(mode("CMYK", np.zeros((8, 16, 4), np.uint8))),
        np.full((8, 16, 3), 255, np.uint8),
        None,
        ("it was converted from CMYK to RGB",),
    ),
    "Lab": (
        "a.tif",
        raw(tiff(2, 1, 8, 8, bytes([255, 0, 0, 0, 0, 0]), samples=3)),
        np.array([[[254, 255, 254], [1, 0, 1]]], np.uint8),
        None,
        ("it was converted from LAB to RGB",),
    ),
    "16-bit gray": ("a.png", saved(Image.fromarray(DEEP)), DEEP, None, ()),
    "16-bit gray, TIFF": ("a.tif", saved(Image.fromarray(DEEP)), DEEP, None, ()),
    "16-bit gray, TIFF compressed": ("a.tif", saved(Image.fromarray(DEEP), compression="tiff_lzw"), DEEP, None, ()),
    "16-bit gray, TIFF big-endian": ("a.tif", saved(Image.fromarray(DEEP.astype(">u2"))), DEEP, None, ()),
    "16-bit gray, white is zero": ("a.tif", raw(tiff(3, 2, 16, 0, (~DEEP).tobytes())), DEEP, None, ()),
    "16-bit gray, one level is transparent": (
        "a.png",
        saved(Image.fromarray(DEEP), transparency=7),
        DEEP,
        None,
        ("its transparent gray level became opaque",),
    ),
    "12-bit gray": (
        "a.tif",
        raw(tiff(4, 1, 12, 1, bytes.fromhex("000fff800001"))),
        np.array([[0, 65535, 32776, 16]], np.uint16),
        None,
        (),
    ),
}


@pytest.mark.parametrize(("name", "save", "pixels", "alpha", "notes"), READ.values(), ids=READ.keys())
def test_reading(
    tmp_path: Path, name: str, save: Save, pixels: Array, alpha: Array | None, notes: tuple[str, ...]
) -> None:
    save(tmp_path / name)
    for path in (tmp_path / name, str(tmp_path / name)):
        picture = read_picture(path)
        assert picture.pixels.dtype == pixels.dtype
        assert np.array_equal(picture.pixels, np.atleast_3d(pixels))
        assert same(picture.alpha, alpha)
        assert picture.notes == notes
        assert picture_size(path) == pixels.shape[:2]


REFUSED: dict[str, tuple[str, Save, str]] = {
    "16-bit RGB": ("a.png", raw(png(1, 1, 16, 2, bytes(7))), "has 16 bits per channel"),
    "16-bit gray and alpha": ("a.png", raw(png(1, 1, 16, 4, bytes(5))), "has 16 bits per channel"),
    "16-bit RGBA": ("a.png", raw(png(1, 1, 16, 6, bytes(9))), "has 16 bits per channel"),
    "16-bit RGB, TIFF": ("a.tif", raw(tiff(1, 1, 16, 2, bytes(6), samples=3)), "has 16 bits per channel"),
    "16-bit RGBA, TIFF": ("a.tif", raw(tiff(1, 1, 16, 2, bytes(8), samples=4)), "has 16 bits per channel"),
    "16-bit CMYK": ("a.tif", raw(tiff(1, 1, 16, 5, bytes(8), samples=4)), "has 16 bits per channel"),
    "32-bit integers": ("a.tif", saved(Image.fromarray(GRAY).convert("I")), "Pillow's mode I"),
    "floats": ("a.tif", saved(Image.fromarray(GRAY).convert("F")), "Pillow's mode F"),
    "animated PNG": (
        "a.png",
        saved(Image.fromarray(RGB), save_all=True, append_images=[Image.fromarray(255 - RGB)]),
        "has 2 frames or pages",
    ),
    "animated WebP": (
        "a.webp",
        saved(Image.fromarray(RGB), save_all=True, append_images=[Image.fromarray(255 - RGB)] * 2),
        "frames or pages",
    ),
    "TIFF of three pages": (
        "a.tif",
        saved(Image.fromarray(RGB), save_all=True, append_images=[Image.fromarray(RGB)] * 2),
        "has 3 frames or pages",
    ),
    "GIF": ("a.gif", saved(Image.fromarray(GRAY)), "is not a whole PNG, JPEG, TIFF, WebP or BMP picture"),
    "GIF with another ending": ("a.png", saved(Image.fromarray(GRAY), format="GIF"), "is not a whole PNG"),
    "text": ("a.png", raw(b"a picture says more"), "is not a whole PNG, JPEG, TIFF, WebP or BMP picture"),
    "nothing": ("a.png", raw(b""), "is empty"),
    "one byte": ("a.png", raw(b"\x89"), "is not a whole PNG"),
    "no pixels": ("a.png", raw(png(0, 4, 8, 0, b"")), "is not a whole PNG"),
    "a wrong checksum": (
        "a.png",
        raw(png(1, 1, 8, 0, bytes(2)).replace(b"IDAT", b"IDAT\0", 1)),
        "is not a whole PNG",
    ),
}


@pytest.mark.parametrize(("name", "save", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refusing(tmp_path: Path, name: str, save: Save, message: str) -> None:
    save(tmp_path / name)
    assert message in refused(tmp_path / name).message


@pytest.mark.parametrize("side", [50_000, 20_000])
@pytest.mark.parametrize("read", [read_picture, picture_size])
def test_a_small_file_that_claims_a_huge_size(tmp_path: Path, side: int, read: Callable[[Path | str], object]) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side, 8, 2, bytes(1000)))
    assert refused(path, read).message == f"`{path}` claims to have more than 250,000,000 pixels"


@pytest.mark.parametrize("read", [read_picture, picture_size])
def test_files_that_cannot_be_opened(tmp_path: Path, read: Callable[[Path | str], object]) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for name, message in (
        ("missing.png", "there is no file `{}`"),
        (".", "`{}` is a folder, not a picture"),
        ("file/a.png", "`{}` cannot be read: Not a directory"),
        ("x" * 300 + ".png", "`{}` cannot be read: File name too long"),
    ):
        path = tmp_path / name
        assert refused(path, read).message == message.format(path)


def test_a_file_that_may_not_be_read() -> None:
    with open_folder() as folder:
        path = folder / "a.png"
        Image.fromarray(RGB).save(path)
        path.chmod(0)
        with without_privileges():
            assert refused(path).message == f"`{path}` may not be read"


def test_a_name_that_no_system_takes() -> None:
    with pytest.raises(ImageError):
        read_picture("a\0.png")
    with pytest.raises(ImageError):
        write_picture("a\0.png", Picture(RGB))


@pytest.mark.parametrize(
    "options",
    [{"format": name} for name in set(FORMATS.values())]
    + [{"format": "TIFF", "compression": "tiff_lzw"}, {"format": "JPEG", "progressive": True}],
    ids=str,
)
def test_a_truncated_file_is_refused_or_gives_all_its_pixels(
    tmp_path: Path, rng: np.random.Generator, options: dict[str, Any]
) -> None:
    file = io.BytesIO()
    Image.fromarray(rng.integers(256, size=(24, 16, 3), dtype=np.uint8)).save(file, **options)
    data, path = file.getvalue(), tmp_path / "a.png"
    path.write_bytes(data)
    whole = read_picture(path).pixels
    for length in {*range(1, len(data), 13), *range(1, 70), *range(len(data) - 20, len(data))}:
        path.write_bytes(data[:length])
        try:
            assert np.array_equal(read_picture(path).pixels, whole)
        except ImageError:
            continue
        assert length > len(data) - 20 or length > 0.9 * len(data)


@given(data=st.data())
@some_examples
def test_damaged_bytes_are_a_picture_or_an_error(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    options = data.draw(st.sampled_from([{"format": name} for name in sorted(set(FORMATS.values()))]))
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, exif=exif_of(Orientation=6, Make="maker"), dpi=(300, 300), **options)
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.getbasetemp()
    (folder / "damaged").write_bytes(content)
    try:
        picture = read_picture(folder / "damaged")
    except ImageError:
        return
    for ending in (".png", ".jpg", ".tif", ".webp", ".bmp"):
        if picture.alpha is None and picture.pixels.dtype == np.uint8:
            write_picture(folder / f"written{ending}", picture)


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kind=st.sampled_from(
        [
            (".png", 1, False, np.uint8),
            (".png", 3, False, np.uint8),
            (".png", 1, True, np.uint8),
            (".png", 3, True, np.uint8),
            (".png", 1, False, np.uint16),
            (".tif", 1, False, np.uint8),
            (".tif", 3, False, np.uint8),
            (".tiff", 1, True, np.uint8),
            (".tiff", 3, True, np.uint8),
            (".tif", 1, False, np.uint16),
            (".bmp", 1, False, np.uint8),
            (".bmp", 3, False, np.uint8),
        ]
    ),
    seed=st.integers(0, 99),
)
@some_examples
def test_png_tiff_and_bmp_lose_nothing(
    size: tuple[int, int],
    kind: tuple[str, int, bool, type],
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    ending, channels, has_alpha, dtype = kind
    rng = np.random.default_rng(seed)
    pixels = rng.integers(np.iinfo(dtype).max, size=(*size, channels), dtype=dtype, endpoint=True)
    alpha = rng.integers(256, size=size, dtype=np.uint8) if has_alpha else None
    path = tmp_path_factory.getbasetemp() / f"picture{ending}"
    write_picture(path, Picture(pixels, alpha))
    picture = read_picture(path)
    assert picture.pixels.dtype == dtype
    assert np.array_equal(picture.pixels, pixels)
    assert same(picture.alpha, alpha)
    assert picture.notes == ()


@pytest.mark.parametrize("ending", [".jpg", ".jpeg", ".webp"])
def test_jpeg_and_webp_lose_little(tmp_path: Path, ending: str) -> None:
    y, x = np.mgrid[:32, :48]
    pixels = np.stack([128 + 100 * np.sin(x / 5), 5 * x, 7 * y], axis=2).astype(np.uint8)
    write_picture(tmp_path / f"a{ending}", Picture(pixels))
    error = read_picture(tmp_path / f"a{ending}").pixels - pixels.astype(float)
    assert np.sqrt(np.mean(error**2)) < 3


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("channels", [1, 3])
def test_white_stays_white_and_black_stays_black(tmp_path: Path, ending: str, channels: int) -> None:
    path = tmp_path / f"a{ending}"
    for level in (0, 255):
        write_picture(path, Picture(np.full((5, 7, channels), level, np.uint8)))
        picture = read_picture(path)
        assert (picture.as_float() == level / 255).all()
        write_picture(path, picture.with_float(picture.as_float()))
        assert (read_picture(path).pixels == level).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_floats_are_channels_first_and_come_back(rng: np.random.Generator, dtype: type) -> None:
    pixels = rng.integers(np.iinfo(dtype).max, size=(4, 5, 3), dtype=dtype)
    picture = Picture(pixels, ALPHA, {"dpi": (300, 300)}, ("note",))
    floats = picture.as_float()
    assert floats.shape == (3, 4, 5)
    assert floats.dtype == np.float32
    assert floats[2, 1, 4] == pytest.approx(pixels[1, 4, 2] / np.iinfo(dtype).max)
    back = picture.with_float(floats)
    assert back.pixels.dtype == dtype
    assert np.array_equal(back.pixels, pixels)
    assert (back.alpha is ALPHA, back.metadata, back.notes) == (True, picture.metadata, ("note",))


def test_gray_becomes_three_equal_channels(tmp_path: Path) -> None:
    for values in (GRAY, DEEP):
        Image.fromarray(values).save(tmp_path / "a.png")
        assert np.array_equal(read_pixels(tmp_path / "a.png", 3), np.stack([values] * 3, axis=2))
        assert np.array_equal(read_pixels(tmp_path / "a.png", 1), values[..., None])


def test_rgb_becomes_its_luma(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(np.stack([levels] * 3, axis=2)).save(tmp_path / "gray.png")
    assert np.array_equal(read_pixels(tmp_path / "gray.png", 1), levels[..., None])
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 100, 200]]], np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    assert read_pixels(tmp_path / "a.png", 1).ravel().tolist() == [76, 150, 29, 84]
    assert np.array_equal(read_pixels(tmp_path / "a.png", 3), colours)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_pictures_have_one_or_three_channels(tmp_path: Path, channels: int) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    message = f"`channels` is {channels}, it must be 1 (gray) or 3 (RGB) to read pictures from image files"
    with pytest.raises(ArgumentError, match="^" + re.escape(message) + "$"):
        read_pixels(tmp_path / "a.png", channels)


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


def test_of_a_camera_file_with_two_views_the_first_is_read(tmp_path: Path) -> None:
    first, second = np.full((8, 16, 3), 200, np.uint8), np.full((8, 16, 3), 20, np.uint8)
    path = tmp_path / "a.jpg"
    Image.fromarray(first).save(path, format="MPO", save_all=True, append_images=[Image.fromarray(second)])
    picture = read_picture(path)
    assert np.array_equal(picture.pixels, first)
    assert picture.notes == ("only the first of its 2 views was read",)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("a.png", "PNG"),
        ("a.b.JPG", "JPEG"),
        ("folder.png/a.jpeg", "JPEG"),
        ("a.tif", "TIFF"),
        ("a.TiFf", "TIFF"),
        ("a.webp", "WEBP"),
        ("a.bmp", "BMP"),
    ],
)
def test_the_format_is_that_of_the_ending(name: str, wanted: str) -> None:
    assert format_of(name) == format_of(Path(name)) == wanted


@pytest.mark.parametrize("name", ["a", "a.", "png", ".png", "a.png/b", "a.gif", "a.png.txt"])
def test_an_unknown_ending(tmp_path: Path, name: str) -> None:
    for error in (refused(name, format_of), not_written(name, Picture(RGB))):
        assert error.message == f"`{name}` does not end in the name of an image format"
        assert error.hint == "known endings: .png, .jpg, .jpeg, .tif, .tiff, .webp, .bmp"


NOT_HELD: dict[str, tuple[str, Picture, str]] = {
    "alpha in JPEG": ("a.jpg", Picture(RGB, ALPHA), "JPEG cannot hold this picture's transparency"),
    "alpha in BMP": ("a.bmp", Picture(RGB, ALPHA), "BMP cannot hold this picture's transparency"),
    "16 bits in JPEG": ("a.jpg", Picture(DEEP[..., None]), "JPEG cannot hold 16 bits per channel"),
    "16 bits in WebP": ("a.webp", Picture(DEEP[..., None]), "WEBP cannot hold 16 bits per channel"),
    "16 bits in BMP": ("a.bmp", Picture(DEEP[..., None]), "BMP cannot hold 16 bits per channel"),
    "16-bit RGB": ("a.png", Picture(np.zeros((2, 3, 3), np.uint16)), "cannot be written as PNG"),
    "16-bit gray and alpha": ("a.png", Picture(DEEP[..., None], ALPHA), "cannot be written as PNG"),
    "too wide for JPEG": (
        "a.jpg",
        Picture(np.zeros((1, 65_501, 1), np.uint8)),
        "JPEG holds at most 65,500 pixels a side, the picture has 65,501",
    ),
    "too high for WebP": (
        "a.webp",
        Picture(np.zeros((16_384, 1, 1), np.uint8)),
        "WEBP holds at most 16,383 pixels a side, the picture has 16,384",
    ),
    "no pixels": ("a.png", Picture(np.zeros((0, 3, 1), np.uint8)), "cannot be written as PNG"),
    "EXIF data too long for JPEG": ("a.jpg", Picture(RGB, None, {"exif": bytes(70_000)}), "cannot be written as JPEG"),
    "damaged EXIF data": ("a.tif", Picture(RGB, None, {"exif": b"damaged."}), "cannot be written as TIFF"),
}


@pytest.mark.parametrize(("name", "picture", "message"), NOT_HELD.values(), ids=NOT_HELD.keys())
def test_what_a_format_cannot_hold_leaves_the_old_file(
    tmp_path: Path, name: str, picture: Picture, message: str
) -> None:
    (tmp_path / name).write_bytes(b"old")
    assert message in not_written(tmp_path / name, picture).message
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: b"old"}


@pytest.mark.parametrize(("name", "longest"), [("a.jpg", 65_500), ("a.webp", 16_383)])
def test_the_longest_side_of_a_format(tmp_path: Path, name: str, longest: int) -> None:
    write_picture(tmp_path / name, Picture(np.zeros((1, longest, 3), np.uint8)))
    assert picture_size(tmp_path / name) == (1, longest)


def test_writing_where_it_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    path = tmp_path / "missing" / "a.png"
    error = not_written(path, Picture(RGB))
    assert error.message == f"`{path}` cannot be written: No such file or directory"
    assert error.hint == f"make the folder first: `mkdir -p {path.parent}`"
    path = tmp_path / "folder.png"
    assert not_written(path, Picture(RGB)).message == f"`{path}` cannot be written: Is a directory"
    assert [path] == list(tmp_path.iterdir())


def test_writing_to_a_folder_without_permission() -> None:
    with open_folder() as folder:
        folder.chmod(0o555)
        with without_privileges():
            error = not_written(folder / "a.png", Picture(RGB))
        assert error.message == f"`{folder / 'a.png'}` cannot be written: Permission denied"
        assert not list(folder.iterdir())


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    error = not_written(tmp_path / "a.png", Picture(RGB))
    assert error.message == f"`{tmp_path / 'a.png'}` cannot be written: No space left on device"
    assert error.hint == "free some space, or write to another disk"
    assert not list(tmp_path.iterdir())


def test_a_written_picture_replaces_the_old_one_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "target.png").write_bytes(b"old")
    (tmp_path / "target.png").chmod(0o640)
    (tmp_path / "a.png").symlink_to("target.png")
    write_picture(tmp_path / "a.png", Picture(RGB))
    assert (tmp_path / "a.png").is_symlink()
    assert np.array_equal(read_picture(tmp_path / "target.png").pixels, RGB)
    assert (tmp_path / "target.png").stat().st_mode & 0o777 == 0o640
    assert len(list(tmp_path.iterdir())) == 2


def test_a_picture_can_be_written_over_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(DEEP).save(path)
    write_picture(path, read_picture(path))
    assert np.array_equal(read_picture(path).pixels[..., 0], DEEP)
