"""Writing: lossless round trips, refusals, and replacement of files as a whole."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from n2n_cli.images import FORMATS, INSTRUMENTS, Picture, format_of, picture_size, read_picture, write_picture
from tests.images.pictures import (
    ALPHA,
    DEEP,
    GRAY,
    RGB,
    not_written,
    refused,
    same,
)
from tests.nn.cases import some_examples
from tests.system.test_atomic_files import open_folder, without_privileges


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kind=st.sampled_from(
        [
            (".png", 1, False, np.uint8),
            (".png", 3, False, np.uint8),
            (".png", 1, True, np.uint8),
            (".png", 3, True, np.uint8),
            (".png", 1, False, np.uint16),
            (".bmp", 1, False, np.uint8),
            (".bmp", 3, False, np.uint8),
        ]
    ),
    seed=st.integers(0, 99),
)
@some_examples
def test_png_and_bmp_are_lossless(
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


@pytest.mark.parametrize("ending", [ending for ending, name in FORMATS.items() if name not in INSTRUMENTS])
@pytest.mark.parametrize("channels", [1, 3])
def test_white_and_black_are_exact(tmp_path: Path, ending: str, channels: int) -> None:
    path = tmp_path / f"a{ending}"
    for level in (0, 255):
        write_picture(path, Picture(np.full((5, 7, channels), level, np.uint8)))
        picture = read_picture(path)
        floats = picture.to_unit(picture.pixels)
        assert (floats == level / 255).all()
        write_picture(path, Picture(picture.from_unit(floats)))
        assert (read_picture(path).pixels == level).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_float_round_trip_keeps_integers(rng: np.random.Generator, dtype: type) -> None:
    pixels = rng.integers(np.iinfo(dtype).max, size=(4, 5, 3), dtype=dtype)
    picture = Picture(pixels)
    floats = picture.to_unit(pixels)
    assert floats.dtype == np.float32
    assert floats[1, 4, 2] == pytest.approx(pixels[1, 4, 2] / np.iinfo(dtype).max)
    back = picture.from_unit(floats)
    assert back.dtype == dtype
    assert np.array_equal(back, pixels)


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
def test_format_is_that_of_the_suffix(name: str, wanted: str) -> None:
    assert format_of(name) == format_of(Path(name)) == wanted


@pytest.mark.parametrize("name", ["a", "a.", "png", ".png", "a.png/b", "a.gif", "a.png.txt"])
def test_unknown_suffix_is_refused(tmp_path: Path, name: str) -> None:
    for error in (refused(name, format_of), not_written(name, Picture(RGB))):
        assert error.message == f"`{name}` does not have the extension of an image format"
        assert error.hint == "known extensions: " + ", ".join(FORMATS)


NOT_HELD: dict[str, tuple[str, Picture, str]] = {
    "alpha in JPEG": ("a.jpg", Picture(RGB, ALPHA), "JPEG cannot hold this picture's transparency"),
    "16 bits in JPEG": ("a.jpg", Picture(DEEP[..., None]), "JPEG cannot hold 16 bits per channel"),
    "16 bits in WebP": ("a.webp", Picture(DEEP[..., None]), "WEBP cannot hold 16 bits per channel"),
    "16 bits in BMP": ("a.bmp", Picture(DEEP[..., None]), "BMP cannot hold 16 bits per channel"),
    "floats in PNG": ("a.png", Picture(np.zeros((2, 3, 3), np.float32)), "PNG cannot hold float32 pixels"),
    "signed integers in JPEG": ("a.jpg", Picture(np.zeros((2, 3, 1), np.int16)), "JPEG cannot hold int16 pixels"),
    "long integers in TIFF": ("a.tif", Picture(np.zeros((2, 3, 1), int)), "TIFF cannot hold int64 pixels"),
    "doubles in PNG": ("a.png", Picture(np.zeros((2, 3, 1))), "PNG cannot hold float64 pixels"),
    "alpha of another depth": ("a.png", Picture(DEEP[..., None], ALPHA), "its alpha is uint8 of the shape (2, 3)"),
    "alpha of another size": ("a.png", Picture(GRAY[..., None], ALPHA[:1]), "its alpha is uint8 of the shape (1, 3)"),
    "two channels": ("a.png", Picture(np.zeros((2, 3, 2), np.uint8)), "of the shape (2, 3, 2) are not a picture"),
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
def test_refused_picture_leaves_the_old_file(tmp_path: Path, name: str, picture: Picture, message: str) -> None:
    (tmp_path / name).write_bytes(b"old")
    assert message in not_written(tmp_path / name, picture).message
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: b"old"}


@pytest.mark.parametrize(("name", "longest"), [("a.jpg", 65_500), ("a.webp", 16_383)])
def test_longest_side_of_a_format(tmp_path: Path, name: str, longest: int) -> None:
    write_picture(tmp_path / name, Picture(np.zeros((1, longest, 3), np.uint8)))
    assert picture_size(tmp_path / name) == (1, longest)


def test_unwritable_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    path = tmp_path / "missing" / "a.png"
    error = not_written(path, Picture(RGB))
    assert error.message == f"`{path}` cannot be written: No such file or directory"
    assert error.hint == f"make the folder first: `mkdir -p {path.parent}`"
    path = tmp_path / "folder.png"
    assert not_written(path, Picture(RGB)).message == f"`{path}` cannot be written: Is a directory"
    assert [path] == list(tmp_path.iterdir())


def test_folder_without_permission_is_refused() -> None:
    with open_folder() as folder:
        folder.chmod(0o555)
        with without_privileges():
            error = not_written(folder / "a.png", Picture(RGB))
        assert error.message == f"`{folder / 'a.png'}` cannot be written: Permission denied"
        assert not list(folder.iterdir())


def test_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    error = not_written(tmp_path / "a.png", Picture(RGB))
    assert error.message == f"`{tmp_path / 'a.png'}` cannot be written: No space left on device"
    assert error.hint == "free some space, or write to another disk"
    assert not list(tmp_path.iterdir())


def test_target_of_a_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "target.png").write_bytes(b"old")
    (tmp_path / "target.png").chmod(0o640)
    (tmp_path / "a.png").symlink_to("target.png")
    write_picture(tmp_path / "a.png", Picture(RGB))
    assert (tmp_path / "a.png").is_symlink()
    assert np.array_equal(read_picture(tmp_path / "target.png").pixels, RGB)
    assert (tmp_path / "target.png").stat().st_mode & 0o777 == 0o640
    assert len(list(tmp_path.iterdir())) == 2


def test_picture_can_be_written_over_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(DEEP).save(path)
    write_picture(path, read_picture(path))
    assert np.array_equal(read_picture(path).pixels[..., 0], DEEP)


def test_png_compresses_repetitions(rng: np.random.Generator) -> None:
    noise = rng.integers(0, 256, (64, 256, 3), dtype=np.uint8)
    ornament = np.tile(noise[:8, :8], (8, 32, 1))
    sizes = []
    for pixels in (noise, ornament):
        file = io.BytesIO()
        write_picture(file, Picture(pixels), format="PNG")
        sizes.append(len(file.getvalue()))
        np.testing.assert_array_equal(read_picture(io.BytesIO(file.getvalue())).pixels, pixels)
    assert sizes[1] < sizes[0] / 10


def test_png_of_one_pixel_round_trips() -> None:
    file = io.BytesIO()
    write_picture(file, Picture(np.full((1, 1, 1), 7, np.uint8)), format="PNG")
    assert read_picture(io.BytesIO(file.getvalue())).pixels.item() == 7
