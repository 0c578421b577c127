"""Reading of supported pixel formats, and refusals in one line."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from n2n_cli.errors import ImageError
from n2n_cli.images import FORMATS, INSTRUMENTS, Picture, picture_size, pillow, read_picture, write_picture
from n2n_cli.images.png.chunks import Chunks
from n2n_cli.nn.functional import Array
from tests.images.pictures import (
    ALPHA,
    DEEP,
    GRAY,
    PALETTE_NOTE,
    RGB,
    Save,
    exif_of,
    mode,
    palette,
    png,
    raw,
    refused,
    same,
    saved,
    tiff,
    with_alpha,
)
from tests.nn.cases import some_examples
from tests.system.test_atomic_files import open_folder, without_privileges

READ: dict[str, tuple[str, Save, Array, Array | None, tuple[str, ...]]] = {
    # name: file, how it is saved, pixels, alpha, notes
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
        (DEEP != 7) * np.uint16(65535),
        (),
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
def test_supported_files_are_read(
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
    "16-bit CMYK": ("a.tif", raw(tiff(1, 1, 16, 5, bytes(8), samples=4)), "has pixels of 16 bits that would be"),
    "16-bit Lab": (
        "a.tif",
        raw(tiff(1, 1, 16, 8, bytes(6), samples=3)),
        "not supported (bits (16, 16, 16), photometric 8",
    ),
    "64-bit integers": ("a.tif", raw(tiff(1, 1, 64, 1, bytes(8))), "not supported (bits 64, photometric 1"),
    "a compression that libtiff lacks": (
        "a.tif",
        raw(
            tiff(1, 1, 8, 3, bytes(8)).replace(struct.pack("<HHII", 259, 3, 1, 1), struct.pack("<HHII", 259, 3, 1, 99))
        ),
        "not supported (bits 8, photometric 3, compression 99)",
    ),
    "two channels": ("a.tif", raw(tiff(1, 1, 16, 1, bytes(4), samples=2)), "has 2 channels per pixel"),
    "five channels": ("a.tif", raw(tiff(1, 1, 8, 2, bytes(5), samples=5)), "has 5 channels per pixel"),
    "animated PNG": (
        "a.png",
        saved(Image.fromarray(RGB), save_all=True, append_images=[Image.fromarray(255 - RGB)]),
        "is animated, it has 2 frames",
    ),
    "animated WebP": (
        "a.webp",
        saved(Image.fromarray(RGB), save_all=True, append_images=[Image.fromarray(255 - RGB)] * 2),
        "is animated, it has",
    ),
    "TIFF of three pages": (
        "a.tif",
        saved(Image.fromarray(RGB), save_all=True, append_images=[Image.fromarray(RGB)] * 2),
        "has 3 frames or pages",
    ),
    "GIF": (
        "a.gif",
        saved(Image.fromarray(GRAY)),
        "is a GIF picture; supported are PNG, JPEG, TIFF, WebP, BMP, FITS and MRC",
    ),
    "GIF with another ending": ("a.png", saved(Image.fromarray(GRAY), format="GIF"), "is a GIF picture"),
    "animated GIF": (
        "a.gif",
        saved(Image.fromarray(GRAY), save_all=True, append_images=[Image.fromarray(255 - GRAY)]),
        "is a GIF picture",
    ),
    "text": ("a.png", raw(b"a picture says more"), "is not a whole PNG, JPEG, TIFF, WebP, BMP, FITS or MRC picture"),
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
def test_unsupported_files_are_refused(tmp_path: Path, name: str, save: Save, message: str) -> None:
    save(tmp_path / name)
    assert message in refused(tmp_path / name).message


@pytest.mark.parametrize("side", [50_000, 20_000])
@pytest.mark.parametrize("read", [read_picture, picture_size])
@pytest.mark.parametrize("kind", ["PNG", "16-bit PNG", "TIFF", "16-bit TIFF", "BMP"])
def test_small_file_of_a_huge_claimed_size_is_refused(
    tmp_path: Path, side: int, read: Callable[[Path | str], object], kind: str
) -> None:
    path = tmp_path / "bomb"
    bmp = b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, *[0] * 6)
    files = {
        "PNG": png(side, side, 8, 2, bytes(1000)),
        "16-bit PNG": png(side, side, 16, 2, bytes(1000)),
        "TIFF": tiff(side, side, 8, 3, bytes(1000)),
        "16-bit TIFF": tiff(side, side, 16, 2, bytes(1000), samples=3),
        "BMP": bmp + bytes(100),
    }
    path.write_bytes(files[kind])
    error = refused(path, read)
    assert error.message == (
        f"`{path}` claims to have {side:,} x {side:,} = {side * side:,} pixels, more than the limit of 250,000,000"
    )
    assert error.hint == f"if this is right and memory suffices: `--max-pixels {side * side}`"


@pytest.mark.parametrize("read", [read_picture, picture_size])
def test_unreadable_paths_are_refused(tmp_path: Path, read: Callable[[Path | str], object]) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for name, message in (
        ("missing.png", "there is no file `{}`"),
        (".", "`{}` is a folder, not a picture"),
        ("file/a.png", "`{}` cannot be read: Not a directory"),
        ("x" * 300 + ".png", "`{}` cannot be read: File name too long"),
    ):
        path = tmp_path / name
        assert refused(path, read).message == message.format(path)


def test_file_without_permission_is_refused() -> None:
    with open_folder() as folder:
        path = folder / "a.png"
        Image.fromarray(RGB).save(path)
        path.chmod(0)
        with without_privileges():
            assert refused(path).message == f"`{path}` may not be read"


def test_name_with_a_null_byte_is_refused() -> None:
    with pytest.raises(ImageError):
        read_picture("a\0.png")
    with pytest.raises(ImageError):
        write_picture("a\0.png", Picture(RGB))


TRUNCATED: dict[str, dict[str, Any]] = {
    **{name: {"format": name} for name in sorted({*FORMATS.values()} - {*INSTRUMENTS})},
    "TIFF by LZW": {"format": "TIFF", "compression": "tiff_lzw"},
    "TIFF of JPEG": {"format": "TIFF", "compression": "jpeg"},
    "progressive JPEG": {"format": "JPEG", "progressive": True},
    "WebP without loss": {"format": "WEBP", "lossless": True},
    "interlaced PNG": {"format": "PNG", "interlace": True},
}


def deep(rng: np.random.Generator, dtype: type = np.uint16) -> Array:
    return rng.integers(65536, size=(24, 16, 3)).astype(dtype)


@pytest.mark.parametrize("kind", [*TRUNCATED, "PNG16", "TIFF16", "TIFF16 packed", "float TIFF"])
def test_truncated_file_is_refused_or_has_all_its_pixels(tmp_path: Path, rng: np.random.Generator, kind: str) -> None:
    file = io.BytesIO()
    if kind in TRUNCATED:
        Image.fromarray(rng.integers(256, size=(24, 16, 3), dtype=np.uint8)).save(file, **TRUNCATED[kind])
    else:
        pixels = deep(rng) if "16" in kind else deep(rng).astype(np.float32) / 65535
        picture = Picture(pixels, None, {"compressed": "packed" in kind})
        write_picture(file, picture, format="PNG" if "PNG" in kind else "TIFF", name="x")
    data, path = file.getvalue(), tmp_path / "a.png"
    path.write_bytes(data)
    whole = read_picture(path).pixels
    messages = []
    twentieths = (len(data) * k // 20 for k in range(20))
    for length in {*twentieths, *range(0, len(data), 13), *range(70), *range(len(data) - 20, len(data))}:
        path.write_bytes(data[:length])
        try:
            pixels = read_picture(path).pixels
        except ImageError as error:
            messages.append(error.message)
            continue
        assert np.array_equal(pixels, whole)
        assert length > len(data) - 20 or length > 0.9 * len(data)
    assert messages
    assert all(message.startswith(f"`{path}` ") and "\n" not in message for message in messages)


@given(data=st.data())
@some_examples
def test_damaged_bytes_give_a_picture_or_an_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    formats = sorted({*FORMATS.values()} - {*INSTRUMENTS})
    kind = data.draw(st.sampled_from([*formats, "PNG16", "TIFF16", "TIFF16 packed"]))
    file = io.BytesIO()
    exif = exif_of(Orientation=6, Make="maker")
    if "16" in kind:
        picture = Picture(RGB * np.uint16(257), None, {"exif": exif, "dpi": (300, 300), "compressed": "packed" in kind})
        write_picture(file, picture, format=kind[:-2] if kind == "PNG16" else "TIFF", name="x")
    else:
        Image.fromarray(RGB).save(file, exif=exif, dpi=(300, 300), format=kind)
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


def test_first_view_of_a_camera_file_is_read(tmp_path: Path) -> None:
    first, second = np.full((8, 16, 3), 200, np.uint8), np.full((8, 16, 3), 20, np.uint8)
    path = tmp_path / "a.jpg"
    Image.fromarray(first).save(path, format="MPO", save_all=True, append_images=[Image.fromarray(second)])
    picture = read_picture(path)
    assert np.array_equal(picture.pixels, first)
    assert picture.notes == ("only the first of its 2 views was read",)


def test_png_file_is_closed_before_its_pixels_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[io.BytesIO] = []
    make_file, copy = Chunks.simple_file, pillow._values

    def simple_file(chunks: Chunks) -> io.BytesIO:
        files.append(make_file(chunks))
        return files[0]

    def values(image: Image.Image) -> Array:
        assert [file.closed for file in files] == [True]
        return copy(image)

    monkeypatch.setattr(Chunks, "simple_file", simple_file)
    monkeypatch.setattr(pillow, "_values", values)
    picture = read_picture(io.BytesIO(png(2, 1, 8, 0, b"\0\7\11")), name="it")
    assert picture.pixels.tolist() == [[[7], [9]]]
