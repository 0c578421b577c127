"""TIFF: every depth and layout, and pages.

Files are read and written by n2n, and by Pillow's libtiff.
"""

from __future__ import annotations

import io
import itertools
import math
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from n2n_cli.errors import ImageError
from n2n_cli.images import (
    Part,
    Picture,
    Stored,
    opened_pages,
    picture_size,
    read_pages,
    read_picture,
    upright,
    write_pages,
)
from n2n_cli.images.tiff import pages as tiff_pages
from n2n_cli.images.tiff import writing as tiff_writing
from n2n_cli.images.tiff.blocks import WRONG_SIZES
from n2n_cli.images.tiff.entries import head
from n2n_cli.nn.functional import Array
from tests.images.directories import Values, directory
from tests.images.pictures import exif_of, mode, tiff
from tests.nn.cases import some_examples

DTYPES = ["u1", "u2", "u4", "i1", "i2", "i4", "f4"]
KINDS = {"u": 1, "i": 2, "f": 3}
REDUCED = Stored("TIFF", (Part(254, struct.pack("<I", 1), 4),))


def values(dtype: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Values of the whole range of a type."""
    rng = np.random.default_rng(seed)
    if dtype[0] == "f":
        return rng.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, size=shape, endpoint=True).astype(dtype)


def written(*pictures: Picture) -> bytes:
    file = io.BytesIO()
    write_pages(file, pictures, format="TIFF", name="it")
    return file.getvalue()


def read(data: bytes, **options: Any) -> Picture:
    return read_picture(io.BytesIO(data), name="it", **options)


def refusal(data: bytes, reading: Callable[[bytes], object] = read) -> str:
    with pytest.raises(ImageError) as caught:
        reading(data)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value.message


def by_hand(
    pixels: Array, *, tile: tuple[int, int] | None, planar: bool, packed: bool, predictor: int, big: bool
) -> bytes:
    """Little-endian file of (H, W, C) pixels with the given layout."""
    height, width, channels = pixels.shape
    block = tile or (3, width)
    places, counts, data = [], [], bytearray(16)
    for plane in np.split(pixels, channels, axis=2) if planar else [pixels]:
        for y, x in itertools.product(range(0, height, block[0]), range(0, width, block[1])):
            part = plane[y : y + block[0], x : x + block[1]]
            if tile:
                part = np.pad(part, [(0, n - have) for n, have in zip(block, part.shape, strict=False)] + [(0, 0)])
            if predictor == 3:  # the highest bytes of a row's values first, then the next ones
                part = np.moveaxis(part.astype(">f4")[..., None].view("u1"), 3, 1)  # (H, byte, W, C)
                part = part.reshape(len(part), -1, part.shape[3])
            if predictor > 1:
                part = np.diff(part, axis=1, prepend=part[:, :1] * 0)
            content = np.ascontiguousarray(part).tobytes()
            content = zlib.compress(content) if packed else content
            places.append(len(data))
            counts.append(len(content))
            data += content
    offsets, lengths = (324, 325) if tile else (273, 279)
    tags: dict[int, Values] = {
        256: width,
        257: height,
        258: [8 * pixels.itemsize] * channels,
        259: 8 if packed else 1,
        262: 2 if channels == 3 else 1,
        277: channels,
        284: 2 if planar else 1,
        317: predictor,
        339: [KINDS[pixels.dtype.kind]] * channels,
        offsets: places,
        lengths: counts,
        **({323: tile[0], 322: tile[1]} if tile else {278: block[0]}),
    }
    start = head(len(data), big=big)
    return start + bytes(data[len(start) :]) + directory(tags, len(data), 0, big=big)


@given(
    dtype=st.sampled_from(DTYPES),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([1, 3]),
    tile=st.sampled_from([None, (16, 32), (32, 16)]),
    planar=st.booleans(),
    packing=st.sampled_from([(False, 1), (True, 1), (True, 2), (True, 3)]),
    big=st.booleans(),
)
@some_examples
def test_every_layout_is_read(
    dtype: str,
    size: tuple[int, int],
    channels: int,
    tile: tuple[int, int] | None,
    planar: bool,
    packing: tuple[bool, int],
    big: bool,
) -> None:
    packed, predictor = packing if packing[1] in ((1, 3) if dtype[0] == "f" else (1, 2)) else (True, 1)
    pixels = values(dtype, (*size, channels))
    data = by_hand(pixels, tile=tile, planar=planar, packed=packed, predictor=predictor, big=big)
    picture = read(data)
    assert picture.pixels.dtype == dtype
    assert np.array_equal(picture.pixels, pixels)
    assert picture.metadata.get("compressed", False) is packed


@pytest.mark.parametrize("predictor", [1, 2, 3])
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "lzma", "zstd"])
def test_every_compression_of_libtiff_is_read(compression: str, predictor: int) -> None:
    for pixels in (*([values("u2", (40, 30))] if predictor < 3 else []), values("f4", (40, 30))):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "TIFF", compression=compression, tiffinfo={317: predictor, 278: 7})
        assert np.array_equal(read(file.getvalue()).pixels[..., 0], pixels)


@given(
    dtype=st.sampled_from(DTYPES),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels=st.sampled_from([1, 3]),
    has_alpha=st.booleans(),
    compressed=st.booleans(),
    seed=st.integers(0, 99),
)
@some_examples
def test_lossless_round_trip(
    dtype: str, size: tuple[int, int], channels: int, has_alpha: bool, compressed: bool, seed: int
) -> None:
    pixels = values(dtype, (*size, channels), seed)
    alpha = values(dtype, size, seed + 1) if has_alpha else None
    picture = read(written(Picture(pixels, alpha, {"compressed": True} if compressed else {})))
    assert picture.pixels.dtype == dtype
    assert np.array_equal(picture.pixels, pixels)
    assert (picture.alpha is None) == (alpha is None)
    assert alpha is None or np.array_equal(picture.alpha, alpha)  # type: ignore[arg-type]
    assert picture.metadata == ({"compressed": True} if compressed else {})


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("dtype", "channels"), [("u1", 1), ("u1", 3), ("u2", 1), ("u2", 3), ("f4", 1), ("i4", 1)])
def test_libtiff_reads_written_files(dtype: str, channels: int, compressed: bool) -> None:
    pixels = values(dtype, (700, 400, channels))  # more than two strips
    data = written(Picture(pixels, None, {"compressed": True} if compressed else {}))
    with Image.open(io.BytesIO(data)) as image:
        found = np.asarray(image).reshape(pixels.shape)
    assert np.array_equal(found, pixels >> 8 if (dtype, channels) == ("u2", 3) else pixels)
    assert np.array_equal(read(data).pixels, pixels)


def pages_of_all_kinds() -> list[Picture]:
    return [
        Picture(values("u2", (5, 4, 1)), values("u2", (5, 4))),  # a layout that Pillow does not know
        Picture(values("u1", (3, 7, 3)), None, {"compressed": True, "dpi": (300, 300)}),
        Picture(values("f4", (2, 2, 3))),
        Picture(values("u2", (4, 9, 3)), None, {"stored": REDUCED, "exif": exif_of(Make="maker")}),
    ]


def test_pages_round_trip() -> None:
    pictures = pages_of_all_kinds()
    found = list(read_pages(io.BytesIO(written(*pictures)), name="it"))
    assert len(found) == 4
    for picture, wanted in zip(found, pictures, strict=True):
        assert np.array_equal(picture.pixels, wanted.pixels)
        assert picture.pixels.dtype == wanted.pixels.dtype
    assert np.array_equal(found[0].alpha, pictures[0].alpha)  # type: ignore[arg-type]
    assert found[1].metadata["compressed"]
    assert found[1].metadata["dpi"] == (300, 300)
    assert found[3].metadata["stored"] == REDUCED
    assert "exif" in found[3].metadata
    assert "exif" not in found[2].metadata


@pytest.mark.parametrize("in_memory", [True, False])
def test_page_for_pillow_after_a_page_that_it_does_not_know(tmp_path: Path, in_memory: bool) -> None:
    palette = mode("P", np.arange(6, dtype=np.uint8).reshape(2, 3))
    palette.putpalette(list(range(18)))
    file = io.BytesIO()
    palette.save(file, "TIFF", compression="tiff_lzw")
    ours, theirs = written(pages_of_all_kinds()[0]), file.getvalue()
    ours += bytes(len(ours) % 2)
    first = struct.unpack("<I", ours[4:8])[0]
    last = first + 2 + 12 * struct.unpack("<H", ours[first : first + 2])[0]
    moved = struct.unpack("<I", theirs[4:8])[0]
    count = struct.unpack("<H", theirs[moved : moved + 2])[0]
    table = bytearray(theirs)
    for at in range(moved + 2, moved + 2 + 12 * count, 12):  # shift the offsets of values stored elsewhere
        tag, kind, number, value = struct.unpack("<HHII", table[at : at + 12])
        if number * {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}[kind] > 4 or tag == 273:
            struct.pack_into("<I", table, at + 8, value + len(ours))
    data = ours[:last] + struct.pack("<I", len(ours) + moved) + ours[last + 4 :] + bytes(table)
    (tmp_path / "a.tif").write_bytes(data)
    found = list(read_pages(io.BytesIO(data) if in_memory else tmp_path / "a.tif", name="it"))
    assert np.array_equal(found[0].pixels, pages_of_all_kinds()[0].pixels)
    assert found[1].pixels.ravel().tolist() == list(range(18))
    assert found[1].notes == ("its palette became plain colours",)


def test_pages_are_read_one_by_one() -> None:
    data = written(*[Picture(values("u2", (4, 4, 1), seed)) for seed in range(3)])
    second = data.index(values("u2", (4, 4, 1), 1).tobytes())
    broken = bytearray(data)
    struct.pack_into("<I", broken, data.index(struct.pack("<HHII", 273, 3, 1, second)) + 8, 60_000)
    pages = read_pages(io.BytesIO(broken), name="it")
    assert np.array_equal(next(pages).pixels, values("u2", (4, 4, 1), 0))
    with pytest.raises(ImageError, match=r"^`it` is not a whole PNG, .* \(its pixels end too early"):
        next(pages)


def test_pixel_limit_holds_for_each_page() -> None:
    data = written(*[Picture(np.zeros((side, side, 3), np.uint16)) for side in (3, 9)])
    pages = read_pages(io.BytesIO(data), name="it", max_pixels=80)
    assert next(pages).pixels.shape == (3, 3, 3)
    with pytest.raises(
        ImageError, match=r"^`it`, page 2, claims to have 9 x 9 = 81 pixels, more than the limit of 80$"
    ):
        next(pages)


CHAINS: dict[str, tuple[int, bytes, str]] = {  # offset of the second page, bytes there, note
    "in a circle": (8, b"", "its list of pages leads back to an earlier one: page 2 and what may follow were left out"),
    "behind the end": (2**31, b"", "its list of pages leads beyond the end of the file: page 2 and what may follow"),
    "to zeros": (200, bytes(100), "its list of pages leads to something else: page 2 and what may follow"),
    "to noise": (200, b"\xff" * 100, "the list of its tags is damaged: page 2 and what may follow"),
}


@pytest.mark.parametrize(("place", "there", "note"), CHAINS.values(), ids=CHAINS.keys())
def test_damaged_chain_of_pages_keeps_the_pages_before(place: int, there: bytes, note: str) -> None:
    data = bytearray(tiff(1, 1, 8, 1, b"\7").ljust(200, b"\0") + there)
    struct.pack_into("<I", data, 8 + 2 + 9 * 12, place)
    (page,) = read_pages(io.BytesIO(data), name="it")
    assert page.pixels.item() == 7
    (told,) = page.notes
    assert told.startswith(note)
    assert read(bytes(data)).pixels.item() == 7
    assert picture_size(io.BytesIO(data), name="it") == (1, 1)


def test_truncated_first_directory_is_refused() -> None:
    data = tiff(1, 1, 16, 2, bytes(6), samples=3)
    assert "its list of pages leads beyond the end of the file" in refusal(data[:9])
    assert "the list of its tags is damaged" in refusal(data[:60])
    assert "it ends too early" in refusal(data[: 8 + 2 + 9 * 12 + 4 + 2])  # inside the bits per sample


def imagej(claimed: int, *pages: Array) -> bytes:
    description = f"ImageJ=1.53t\nimages={claimed}\nslices={claimed}"
    return written(*(Picture(page, None, {"exif": exif_of(ImageDescription=description)}) for page in pages))


def test_description_with_too_many_pictures_is_noted() -> None:
    picture = read(imagej(3, values("u2", (2, 2, 1))))
    assert np.array_equal(picture.pixels, values("u2", (2, 2, 1)))
    assert picture.notes == ("its description, by ImageJ, claims 3 pictures; the file holds 1",)
    pages = [values("u2", (2, 2, 1), seed) for seed in range(3)]
    assert [page.notes for page in read_pages(io.BytesIO(imagej(3, *pages)), name="it")] == [()] * 3
    found = list(read_pages(io.BytesIO(imagej(9, *pages)), name="it"))
    assert [page.notes for page in found[:2]] == [()] * 2
    assert found[2].notes == ("its description, by ImageJ, claims 9 pictures; the file holds 3",)


def stack_without_directories(pages: list[Array], claimed: int) -> bytes:
    """File as ImageJ writes it above 4 GB: one directory, then all pixels."""
    height, width = pages[0].shape[:2]
    tags: dict[int, Values] = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 277: 1, 278: height}
    tags |= {270: f"ImageJ=1.53t\nimages={claimed}\n", 273: 300, 279: height * width * 2}
    start = head(8, big=False) + directory(tags, 8, 0, big=False)
    return start.ljust(300, b"\0") + b"".join(page.tobytes() for page in pages)


def test_long_imagej_stack_with_one_directory_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [values("u2", (3, 4, 1), seed) for seed in range(5)]
    found = list(read_pages(io.BytesIO(stack_without_directories(pages, 5)), name="it"))
    assert all(np.array_equal(page.pixels, wanted) for page, wanted in zip(found, pages, strict=True))
    short = stack_without_directories(pages, 6)
    (page,) = read_pages(io.BytesIO(short), name="it")
    assert page.notes == ("its description, by ImageJ, claims 6 pictures; the file holds 1",)
    monkeypatch.setattr(tiff_pages, "_LONG_STACK", 100)  # treat it as a file of more than 4 GB
    assert "ImageJ says it has 6 pictures, it holds 5" in refusal(short)


def with_tags(data: bytes, changed: dict[int, int]) -> bytes:
    """A file of `tiff` with other 32-bit values for some of its tags."""
    file = bytearray(data)
    for entry in range(10, 10 + 9 * 12, 12):
        (tag,) = struct.unpack_from("<H", file, entry)
        if tag in changed:
            struct.pack_into("<HII", file, entry + 2, 4, 1, changed[tag])
    return bytes(file)


def test_transparency_mask_is_omitted_with_a_note() -> None:
    page, mask = Picture(values("u1", (5, 4, 3))), Picture(values("u1", (5, 4, 1)))
    for pages in ([page, mask], [page, mask, page, mask, mask]):
        data = bytearray(written(*pages))
        one = struct.pack("<HHII", 262, 3, 1, 1)
        data = data.replace(one, struct.pack("<HHII", 262, 3, 1, 4))
        found = list(read_pages(io.BytesIO(data), name="it"))
        assert [found.pixels.shape for found in found] == [(5, 4, 3)] * (len(pages) // 2)
        assert {page.notes for page in found} == {("its transparency mask was left out",)}
    assert "it holds no picture, but a transparency mask" in refusal(with_tags(tiff(8, 1, 1, 4, b"\7"), {}))


def test_files_above_4_gb_are_bigtiff(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = pages_of_all_kinds()
    assert written(*pictures)[:4] == b"II*\0"
    monkeypatch.setattr(tiff_writing, "_CLASSIC_LIMIT", 500)
    data = written(*pictures)
    assert data[:8] == b"II+\0\x08\0\0\0"
    found = list(read_pages(io.BytesIO(data), name="it"))
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(found, pictures, strict=True))
    exif = Image.Exif()
    exif.load(found[3].metadata["exif"])
    assert exif[ExifTags.Base.Make] == "maker"
    assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] == IFDRational(1, 125)


def test_values_of_a_directory_start_at_even_offsets() -> None:
    data = directory({270: "abcd", 271: "efghi", 272: "xyz"}, 100, 0, big=False)
    places = [struct.unpack_from("<I", data, 2 + 12 * entry + 8)[0] for entry in (0, 1)]
    assert [place % 2 for place in places] == [0, 0]
    assert [data[place - 100 :][:4] for place in places] == [b"abcd", b"efgh"]
    assert struct.unpack_from("<HHI4s", data, 2 + 12 * 2) == (272, 2, 4, b"xyz\0")


@pytest.mark.parametrize(("compression", "lossless"), [("jpeg", False), ("tiff_lzw", True), (None, True)])
def test_tiff_of_jpeg_is_lossy(compression: str | None, lossless: bool) -> None:
    file = io.BytesIO()
    Image.fromarray(values("u1", (16, 16, 3))).save(file, "TIFF", compression=compression)
    picture = read(file.getvalue())
    assert picture.lossless is lossless
    assert picture.metadata.get("compressed", False) is (compression == "tiff_lzw")


@pytest.mark.parametrize("channels", [1, 3])
def test_infinite_values_and_nans_round_trip_bit_for_bit(channels: int) -> None:
    pixels = np.zeros((30, 40, channels), np.float32)
    pixels[3:, 2], pixels[0, 0], pixels[0, 1] = math.nan, math.inf, -math.inf
    pixels.view(np.uint32)[3, 2] = 0x7FC12345  # a NaN with a payload
    picture = read(written(Picture(pixels)))
    assert picture.pixels.tobytes() == pixels.tobytes()
    assert picture.notes == ()


def test_floats_are_neither_scaled_nor_clipped() -> None:
    pixels = np.array([[[0.0], [0.25], [1.0]]], np.float32)
    picture = read(written(Picture(pixels)))
    assert picture.notes == ()
    assert np.array_equal(picture.to_unit(picture.pixels), pixels)
    assert picture.from_unit(np.full((1, 3, 1), 1.5, np.float32)).ravel().tolist() == [1.5] * 3


@pytest.mark.parametrize("dtype", ["f4", "i1", "i2", "i4", "u4"])
def test_values_of_any_range_are_not_scaled(dtype: str) -> None:
    pixels = np.array([[[100], [40], [115], [55]]], dtype)
    picture = read(written(Picture(pixels)))
    assert np.array_equal(picture.pixels, pixels)
    assert (picture.notes, picture.nodata) == ((), None)


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_floats_keep_their_precision(bits: int) -> None:
    pixels: Array = np.array([[[0.1], [0.5], [-3e4]]], f"f{bits // 8}")
    data = by_hand(pixels, tile=None, planar=False, packed=False, predictor=1, big=False)
    picture = read(data)
    assert picture.pixels.dtype == pixels.dtype
    assert picture.pixels.tobytes() == pixels.tobytes()
    assert picture.notes == ()
    again = read(written(picture))
    assert (again.pixels.dtype, again.pixels.tobytes()) == (pixels.dtype, pixels.tobytes())


@pytest.mark.parametrize(
    ("text", "value"), [("-9999", -9999), (" -9999 ", -9999), ("-3.4028234663852886e+38", -3.4028234663852886e38)]
)
def test_gdal_tag_names_missing_data(text: str, value: float) -> None:
    assert read(with_gdal_tag(text)).nodata == value


def test_gdal_tag_may_be_nan_or_nonsense() -> None:
    nodata = read(with_gdal_tag("nan")).nodata
    assert nodata is not None
    assert math.isnan(nodata)
    assert read(with_gdal_tag("none")).nodata is None
    assert read(with_gdal_tag("1 2")).nodata is None


def with_gdal_tag(text: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((2, 3), np.float32)).save(file, "TIFF", tiffinfo={42113: text})
    return file.getvalue()


@pytest.mark.parametrize(
    ("pages", "most", "found"), [(5, 8, [4, 3, 2, 1]), (9, 4, [8, 6, 4, 2]), (5, 1, [4]), (5, 0, []), (1, 8, [])]
)
def test_sample_is_spread_over_the_pages_and_includes_the_last(pages: int, most: int, found: list[int]) -> None:
    data = written(*[Picture(np.full((2, 3, 1), page, np.uint16)) for page in range(pages)])
    with opened_pages(io.BytesIO(data), name="it") as file:
        assert [int(picture.pixels[0, 0, 0]) for picture in file.sample(most)] == found
        assert [int(picture.pixels[0, 0, 0]) for picture in file] == list(range(pages))


def test_sample_does_not_advance_the_iteration() -> None:
    data = written(*[Picture(np.full((2, 3, 1), page, np.uint16)) for page in range(4)])
    with opened_pages(io.BytesIO(data), name="it") as file:
        pages = iter(file)
        assert int(next(pages).pixels[0, 0, 0]) == 0
        assert len(list(file.sample(8))) == 3
        assert [int(picture.pixels[0, 0, 0]) for picture in pages] == [1, 2, 3]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_premultiplied_alpha_is_divided_out(dtype: type) -> None:
    whole = int(np.iinfo(dtype).max)
    share = 2 * whole // 5
    pixels: Array = np.array([[[whole // 5, 0, share, share], [9, 9, 9, 0], [1, 2, whole, whole]]], dtype)
    data = bytearray(written(Picture(pixels[..., :3].copy(), pixels[..., 3].copy())))
    at = data.index(struct.pack("<HHII", 338, 3, 1, 2))
    struct.pack_into("<I", data, at + 8, 1)
    picture = read(bytes(data))
    half = round((whole // 5) * whole / share)
    assert picture.pixels.tolist() == [[[half, 0, whole], [0, 0, 0], [1, 2, whole]]]
    assert np.array_equal(picture.alpha, pixels[..., 3])  # type: ignore[arg-type]
    assert picture.notes == ("its premultiplied colours were divided by its alpha",)
    struct.pack_into("<I", data, at + 8, 0)
    assert read(bytes(data)).notes == ("its fourth channel, whose meaning is not stated, was left out",)
    assert read(bytes(data)).alpha is None


def test_white_is_zero_for_floats_is_refused() -> None:
    data = written(Picture(np.zeros((1, 1, 1), np.float32)))
    data = data.replace(struct.pack("<HHII", 262, 3, 1, 1), struct.pack("<HHII", 262, 3, 1, 0))
    assert refusal(data) == "`it` has float32 pixels where white is zero"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_16_bit_page_matches_pillow(orientation: int) -> None:
    deep, shallow = (
        written(Picture(values("u1", (3, 5, 3)).astype(dtype), None, {"exif": exif_of(Orientation=orientation)}))
        for dtype in (np.uint16, np.uint8)
    )
    picture = read(deep)
    with Image.open(io.BytesIO(shallow)) as image:
        image.load()
        assert np.array_equal(upright(picture).pixels, np.asarray(image))
    assert picture.pixels.shape == (3, 5, 3)
    assert picture_size(io.BytesIO(deep), name="it") == upright(picture).pixels.shape[:2]


DAMAGE: dict[str, tuple[tuple[int, int], int, str]] = {  # tag and count, another value, the reason
    "tiles that are no tiles": ((278, 1), 0, "it has strips or tiles of 4 x 0 pixels"),
    "strips that are missing": ((278, 1), 2, "it names 1 strips or tiles, but needs 2"),
    "an offset behind the end": ((273, 1), 2**31, "its pixels end too early"),
    "no width": ((256, 1), 0, "a page has no size"),
}


@pytest.mark.parametrize(("entry", "value", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_tags_are_refused(entry: tuple[int, int], value: int, reason: str) -> None:
    data = bytearray(tiff(4, 3, 16, 2, bytes(72), samples=3))
    at = next(at for at in range(10, 120, 12) if struct.unpack_from("<H", data, at)[0] == entry[0])
    struct.pack_into("<HII", data, at + 2, 4, entry[1], value)
    assert reason in refusal(bytes(data))


def test_damaged_compressed_pixels_are_refused() -> None:
    pixels = values("u2", (8, 8, 3))
    data = by_hand(pixels, tile=None, planar=False, packed=True, predictor=2, big=False)
    assert "Error -3 while decompressing data" in refusal(data[:60] + bytes(10) + data[70:])
    packed = zlib.compress(np.diff(pixels[:3], axis=1, prepend=pixels[:3, :1] * 0).tobytes())
    assert packed in data
    assert "incorrect data check" in refusal(data.replace(packed[-4:], b"\0\0\0\0"))


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd"])
@pytest.mark.parametrize("count", [0, 1, 9, 2**31, 2**32 - 1])
def test_strips_of_a_wrong_byte_count_are_read_with_a_note(compression: str | None, count: int) -> None:
    pixels = values("u2", (40, 30))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF", compression=compression, tiffinfo={278: 40})
    data = bytearray(file.getvalue())
    table = struct.unpack_from("<I", data, 4)[0] + 2
    entry = next(at for at in range(table, len(data), 12) if struct.unpack_from("<H", data, at)[0] == 279)
    struct.pack_into("<HII", data, entry + 2, 4, 1, count)
    picture = read(bytes(data))
    assert np.array_equal(picture.pixels[..., 0], pixels)
    assert picture.notes == (WRONG_SIZES,) or (compression is None and count > pixels.nbytes)


def test_compressed_pixels_without_their_checksum() -> None:
    data = by_hand(values("u2", (3, 4, 3)), tile=None, planar=False, packed=True, predictor=1, big=False)
    at = data.index(struct.pack("<HHI", 279, 3, 1)) + 8
    length = struct.unpack_from("<I", data, at)[0]
    damaged = bytearray(data)
    struct.pack_into("<I", damaged, at, length - 4)
    assert read(bytes(damaged)).notes == (WRONG_SIZES,)
    damaged[16 + length - 4 : 16 + length] = bytes(4)
    assert "its pixels end too early" in refusal(bytes(damaged))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("planar", [False, True])
def test_tiles_in_the_tags_of_strips(packed: bool, planar: bool) -> None:
    pixels = values("u2", (40, 50, 3))
    data = by_hand(pixels, tile=(16, 32), planar=planar, packed=packed, predictor=1, big=False)
    for tile, strip in ((324, 273), (325, 279)):
        count = 6 * (3 if planar else 1)
        for kind in (3, 4):
            data = data.replace(struct.pack("<HHI", tile, kind, count), struct.pack("<HHI", strip, kind, count))
    picture = read(data)
    assert np.array_equal(picture.pixels, pixels)
    assert picture.notes == ()


def test_missing_tiles_are_0() -> None:
    pixels = values("u2", (32, 32, 1))
    pixels[:16, 16:] = 0
    data = bytearray(by_hand(pixels, tile=(16, 16), planar=False, packed=True, predictor=2, big=False))
    for tag in (324, 325):
        at = data.index(struct.pack("<HHI", tag, 3, 4)) + 8
        struct.pack_into("<H", data, struct.unpack_from("<I", data, at)[0] + 2, 0)
    assert np.array_equal(read(bytes(data)).pixels, pixels)


def test_log_of_pillow_is_suppressed(tmp_path: Path) -> None:
    samples = struct.pack("<HHII", 277, 3, 1, 1)
    (tmp_path / "a.tif").write_bytes(tiff(1, 1, 8, 5, bytes(99)).replace(samples, struct.pack("<HHII", 277, 3, 1, 99)))
    program = """
import sys
from n2n_cli.errors import ImageError
from n2n_cli.images import read_picture
try:
    read_picture(sys.argv[1])
except ImageError as error:
    print(error.message)
"""  # in a process of its own, for the test runner takes all that is logged here
    file = io.BytesIO()
    Image.fromarray(values("u1", (40, 30))).save(file, "TIFF", compression="tiff_lzw")
    (tmp_path / "b.tif").write_bytes(file.getvalue().replace(values("u1", (40, 30)).tobytes()[8:9], b"\xff"))
    for name, message in (("a", "holds pixels of a kind that is not supported"), ("b", "is not a whole PNG")):
        command = [sys.executable, "-c", program, str(tmp_path / f"{name}.tif")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert message in done.stdout
        assert done.stderr == ""
