"""Images from and to streams: names in messages, and complete output or none."""

from __future__ import annotations

import errno
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from n2n_cli.errors import ArgumentError, ImageError
from n2n_cli.images import (
    FORMATS,
    INSTRUMENTS,
    Picture,
    check_holds,
    format_named,
    is_lossy,
    opened_pages,
    picture_size,
    read_pages,
    read_picture,
    write_pages,
    write_picture,
)
from tests.images.pictures import DEEP, RGB, tiff


class Pipe(io.BytesIO):
    """Stream without seek."""

    def seekable(self) -> bool:
        return False

    def seek(self, *where: Any) -> int:
        raise io.UnsupportedOperation("seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")


@pytest.mark.parametrize("image_format", sorted({*FORMATS.values()} - {*INSTRUMENTS}))
def test_round_trip_through_pipes(image_format: str) -> None:
    out = Pipe()
    assert write_picture(out, Picture(RGB), format=image_format, name="stdout") == ()
    picture = read_picture(Pipe(out.getvalue()), name="stdin")
    assert picture.format == image_format
    assert picture.pixels.shape == RGB.shape
    assert np.array_equal(picture.pixels, RGB) or image_format == "JPEG"
    assert picture_size(Pipe(out.getvalue()), name="stdin") == (2, 3)
    assert picture.lossless is (image_format != "JPEG")


def test_round_trip_of_pages_through_pipes() -> None:
    out = Pipe()
    write_pages(out, [Picture(RGB), Picture(DEEP[..., None])], format="TIFF", name="stdout")
    first, second = read_pages(Pipe(out.getvalue()), name="stdin")
    assert np.array_equal(first.pixels, RGB)
    assert np.array_equal(second.pixels[..., 0], DEEP)


class Endless(Pipe):
    """Start of a picture, followed by endless zeros."""

    sent = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert 0 < size < 2**24
        self.sent += size
        return super().read(size).ljust(size, b"\0")


def test_endless_stream_is_refused() -> None:
    stream = Endless(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ImageError, match=r"^`stdin` is longer than 67 MB, the limit of a stream$"):
        read_picture(stream, name="stdin", max_pixels=1000)
    assert stream.sent < 2**27


def test_full_disk_is_reported_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    class Spool(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", lambda size: Spool())
    with pytest.raises(ImageError, match=r"^`stdin` cannot be unpacked or copied: no space left in `"):
        read_picture(Pipe(b"\x89PNG\r\n\x1a\n"), name="stdin")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "`stdin` is empty"),
        (b"a picture says more", "`stdin` is not a whole PNG, JPEG, TIFF, WebP, BMP, FITS or MRC picture"),
        (tiff(1, 1, 64, 1, bytes(8)), "`stdin` holds pixels of a kind that is not supported"),
    ],
)
def test_messages_name_the_stream(data: bytes, message: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_picture(Pipe(data), name="stdin")
    assert caught.value.message.startswith(message)
    with pytest.raises(ImageError) as caught:
        read_picture(Pipe(data))
    assert caught.value.message.startswith(message.replace("`stdin`", "the stream"))


def test_refused_picture_writes_nothing_to_the_stream() -> None:
    out = Pipe()
    with pytest.raises(ImageError, match=r"^`stdout`: JPEG cannot hold 16 bits per channel$"):
        write_picture(out, Picture(DEEP[..., None]), format="JPEG", name="stdout")
    assert out.getvalue() == b""


class OtherError(Exception):
    pass


def failing(*pictures: Picture) -> Iterator[Picture]:
    yield from pictures
    raise OtherError("of the pages")


def test_error_while_reading_pages_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"old")
    out = Pipe()
    for target in (tmp_path / "a.tif", out):
        with pytest.raises(OtherError, match="of the pages"):
            write_pages(target, failing(Picture(RGB)), format="TIFF", name="it")
    assert out.getvalue() == b""
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.tif", b"old")]


@pytest.mark.parametrize("error", [OtherError, OSError, ValueError, BrokenPipeError, PermissionError])
def test_caller_s_error_is_not_reported_as_damage(error: type[Exception], tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", Picture(RGB))

    def use() -> None:
        with opened_pages(tmp_path / "a.png") as pages:
            next(iter(pages))
            raise error("of the user")

    with pytest.raises(error, match=r"^of the user$"):
        use()


def test_writing_no_page_or_too_many_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be written: there is no picture"):
        write_pages(tmp_path / "a.tif", [])
    with pytest.raises(ImageError, match="PNG holds a single picture, there are several pages"):
        write_pages(tmp_path / "a.png", [Picture(RGB)] * 2)
    assert not list(tmp_path.iterdir())


class Closed(Pipe):
    def write(self, data: Any) -> int:
        raise BrokenPipeError(32, "Broken pipe")


class Full(Pipe):
    def write(self, data: Any) -> int:
        raise OSError(28, "No space left on device")


def test_closed_pipe_and_full_disk_raise_different_errors() -> None:
    with pytest.raises(BrokenPipeError):
        write_picture(Closed(), Picture(RGB), format="PNG", name="stdout")
    with pytest.raises(ImageError) as caught:
        write_picture(Full(), Picture(RGB), format="PNG", name="stdout")
    assert caught.value.message == "`stdout` cannot be written: No space left on device"
    assert caught.value.hint == "free some space, or write to another disk"


def test_stream_needs_a_known_format() -> None:
    with pytest.raises(ArgumentError, match="it must be given for a stream: PNG"):
        write_picture(Pipe(), Picture(RGB), name="stdout")
    with pytest.raises(
        ArgumentError, match=r"`format` is 'GIF', it must be one of PNG, JPEG, TIFF, WEBP, BMP, FITS, MRC$"
    ):
        write_picture(Pipe(), Picture(RGB), format="GIF", name="stdout")


@pytest.mark.parametrize("quality", [0, 101, -1])
def test_quality_has_a_range(quality: int) -> None:
    message = f"^`quality` is {quality}, it must be a whole number from 1 to 100$"
    with pytest.raises(ArgumentError, match=message):
        write_picture(Pipe(), Picture(RGB), format="JPEG", quality=quality, name="stdout")


def jpeg_of(quality: int | None) -> Image.Image:
    out = io.BytesIO()
    write_picture(out, Picture(np.kron(RGB, np.ones((8, 8, 1), np.uint8))), format="JPEG", quality=quality, name="it")
    return Image.open(out)


@pytest.mark.parametrize("quality", [None, 90, 100, 89, 20])
def test_jpeg_quality_and_full_colour_from_90(quality: int | None) -> None:
    wanted = io.BytesIO()
    Image.new("RGB", (8, 8)).save(wanted, "JPEG", quality=95 if quality is None else quality)
    with jpeg_of(quality) as found, Image.open(wanted) as reference:
        assert found.quantization == reference.quantization  # type: ignore[attr-defined]
        factors = {layer[1:3] for layer in found.layer}  # type: ignore[attr-defined]
    assert (factors == {(1, 1)}) is (quality is None or quality >= 90)


def test_webp_is_lossy_only_with_a_quality(rng: np.random.Generator) -> None:
    pixels = rng.integers(256, size=(16, 16, 3), dtype=np.uint8)
    alpha = rng.integers(2, size=(16, 16), dtype=np.uint8) * np.uint8(255)
    sizes = []
    for quality in (None, 20, 90):
        out = io.BytesIO()
        write_picture(out, Picture(pixels, alpha), format="WEBP", quality=quality, name="it")
        picture = read_picture(out, name="it")
        assert picture.lossless is (quality is None) is not is_lossy("WEBP", quality)
        assert np.array_equal(picture.pixels, pixels) is (quality is None)
        assert np.array_equal(picture.alpha, alpha)  # type: ignore[arg-type]
        sizes.append(len(out.getvalue()))
    assert sizes[1] < sizes[2] < sizes[0]


def test_jpeg_and_webp_with_a_quality_are_lossy() -> None:
    assert [name for name in dict.fromkeys(FORMATS.values()) if is_lossy(name)] == ["JPEG"]
    assert [name for name in dict.fromkeys(FORMATS.values()) if is_lossy(name, 95)] == ["JPEG", "WEBP"]


def test_format_by_its_short_name() -> None:
    assert [format_named(name) for name in ("png", "JPG", "jpeg", "tif", "webp")] == [
        *("PNG", "JPEG", "JPEG", "TIFF", "WEBP"),
    ]
    with pytest.raises(ImageError, match=r"^there is no image format `gif`$"):
        format_named("gif")


def test_check_holds_refuses_unsupported_pictures() -> None:
    check_holds("`it`", Picture(DEEP[..., None]), "PNG")
    with pytest.raises(ImageError, match=r"^`it`: WEBP cannot hold 16 bits per channel$"):
        check_holds("`it`", Picture(DEEP[..., None]), "WEBP")
