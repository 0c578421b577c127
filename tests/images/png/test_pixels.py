"""PNG of 16 bits per channel: filters, interlacing and damage."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from n2n_cli.images import Picture, read_picture, write_picture
from n2n_cli.images.png import chunks as png_chunks
from n2n_cli.images.png import filters as png_filters
from n2n_cli.images.png import pixels as png16
from n2n_cli.nn.functional import Array
from tests.images.pictures import chunk, png, raw, refused
from tests.nn.cases import some_examples

COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # PNG's colour type by number of channels
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def slowly_unfiltered(rows: Array, filters: Array, above: Array, pixel_size: int) -> Array:
    """Unfilter byte by byte as in section 9 of the specification."""
    plain: Array = np.zeros_like(rows)
    for y, kind in enumerate(filters.tolist()):
        for x in range(rows.shape[1]):
            a = int(plain[y, x - pixel_size]) if x >= pixel_size else 0
            b = int(above[x])
            c = int(above[x - pixel_size]) if x >= pixel_size else 0
            p = a + b - c
            nearest: int = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            plain[y, x] = (int(rows[y, x]) + (0, a, b, (a + b) // 2, nearest)[kind]) % 256
        above = plain[y]
    return plain


def passes(pixels: Array) -> list[Array]:
    return [part for y, x, down, right in ADAM7 if (part := pixels[y::down, x::right]).size]


def unpacked(pixels: Array, kind: int | None) -> bytes:
    return zlib.decompress(b"".join(png16.encode(pixels, kind)))


def file_of(pixels: Array, data: bytes, *, interlaced: bool = False, between: bytes = b"") -> bytes:
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, COLOURS[channels], 0, 0, interlaced)
    parts = [chunk(b"IDAT", data[at : at + 100]) for at in range(0, len(data), 100)]
    return png_chunks.SIGNATURE + chunk(b"IHDR", header) + between + b"".join(parts) + chunk(b"IEND", b"")


def as_read(data: bytes) -> Array:
    picture = read_picture(io.BytesIO(data), name="it")
    alpha = [] if picture.alpha is None else [picture.alpha[..., None]]
    return np.concatenate([picture.pixels, *alpha], axis=2)


def as_pillow_sees(data: bytes, channels: int) -> Array:
    """Upper 8 bits of each channel, decoded by Pillow."""
    with Image.open(io.BytesIO(data)) as image:
        values = np.asarray(image).reshape(image.height, image.width, -1)
    if channels == 1:
        return values >> 8
    return values[..., [0, 3]] if channels == 2 else values  # Pillow has no mode for 16-bit gray with alpha


kinds = st.sampled_from([None, 0, 1, 2, 3, 4])


@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 4)),
    kind=kinds,
    interlaced=st.booleans(),
    seed=st.integers(0, 99),
    steep=st.sampled_from([0, 3, 300, 65535]),
)
@some_examples
def test_written_files_are_read_by_n2n_and_pillow(
    shape: tuple[int, int, int], kind: int | None, interlaced: bool, seed: int, steep: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, steep, size=shape, endpoint=True).astype(np.uint16)
    parts = passes(pixels) if interlaced else [pixels]
    data = file_of(pixels, zlib.compress(b"".join(unpacked(part, kind) for part in parts)), interlaced=interlaced)
    assert np.array_equal(as_read(data), pixels)
    assert np.array_equal(as_pillow_sees(data, shape[2]), pixels >> 8)


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 7)),
    pixel_size=st.sampled_from([2, 4, 6, 8]),
    allowed=st.sampled_from([(0, 1, 2), (3,), (4,), (0, 1, 2, 3, 4)]),
    seed=st.integers(0, 999),
)
@some_examples
def test_unfiltering_follows_the_specification(
    size: tuple[int, int], pixel_size: int, allowed: tuple[int, ...], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows: Array = rng.integers(256, size=(size[0], size[1] * pixel_size), dtype=np.uint8)
    above: Array = rng.integers(256, size=(rows.shape[1],), dtype=np.uint8)
    filters: Array = np.array([rng.choice(allowed) for _ in range(size[0])], np.uint8)
    wanted = slowly_unfiltered(rows, filters, above, pixel_size)
    assert np.array_equal(png_filters.unfilter(rows.copy(), filters, above, pixel_size), wanted)


@pytest.mark.parametrize("kind", range(5))
def test_unfiltering_inverts_filtering_across_bands(rng: np.random.Generator, kind: int) -> None:
    pixels = rng.integers(65536, size=(png_filters.BAND + 3, 3, 2)).astype(np.uint16)
    data = np.frombuffer(unpacked(pixels, kind), np.uint8).reshape(len(pixels), -1)
    assert (data[:, 0] == kind).all()
    plain = slowly_unfiltered(data[:, 1:], data[:, 0], np.zeros(12, np.uint8), 4)
    assert np.array_equal(plain.view(">u2").reshape(pixels.shape), pixels)


def test_filter_is_chosen_per_row() -> None:
    ramp = np.arange(8, dtype=np.uint16) * 256  # (8,)
    rows = np.stack([np.full(8, 7), ramp, ramp, ramp[::-1]]).astype(np.uint16)[..., None]
    kinds = np.frombuffer(unpacked(rows, None), np.uint8).reshape(4, -1)[:, 0]
    assert kinds.tolist() == [1, 1, 2, 1]


def test_repetitions_are_compressed_and_noise_does_not_grow(rng: np.random.Generator) -> None:
    noise = rng.integers(65536, size=(300, 70, 1)).astype(np.uint16)
    assert len(b"".join(png16.encode(np.tile(noise[:, :7], (1, 10, 1))))) < 0.2 * noise.nbytes
    assert len(b"".join(png16.encode(noise))) < 1.01 * noise.nbytes


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_round_trip_through_a_file(tmp_path: Path, rng: np.random.Generator, channels: int, has_alpha: bool) -> None:
    pixels = rng.integers(65536, size=(300, 5, channels)).astype(np.uint16)  # two bands of rows
    alpha = rng.integers(65536, size=(300, 5)).astype(np.uint16) if has_alpha else None
    write_picture(tmp_path / "a.png", Picture(pixels, alpha))
    picture = read_picture(tmp_path / "a.png")
    assert np.array_equal(picture.pixels, pixels)
    assert (picture.alpha is None) == (alpha is None)
    assert alpha is None or np.array_equal(picture.alpha, alpha)  # type: ignore[arg-type]
    assert (picture.format, picture.lossless, picture.notes) == ("PNG", True, ())


def test_transparent_colour_becomes_alpha(rng: np.random.Generator) -> None:
    pixels = rng.integers(65536, size=(3, 4, 3)).astype(np.uint16)
    pixels[1, 2] = 1, 256, 65535
    pixels[0, 0] = 1, 256, 0
    data = b"".join(png16.encode(pixels))
    seen = as_read(file_of(pixels, data, between=chunk(b"tRNS", struct.pack(">HHH", 1, 256, 65535))))
    assert np.array_equal(seen[..., :3], pixels)
    assert np.argwhere(seen[..., 3] != 65535).tolist() == [[1, 2]]
    assert seen[1, 2, 3] == 0


def test_bomb_is_decompressed_only_up_to_its_size() -> None:
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(2**20)) for _ in range(200)) + packer.flush()
    file = io.BytesIO(file_of(np.zeros((10, 10, 3)), data))
    tracemalloc.start()
    try:
        error = refused("it", lambda name: read_picture(file, name=str(name)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error.message.endswith("(it has more pixels than fit its size)")
    assert peak < 2**22


GOOD = b"\0abcdef\0ghijkl"  # two rows of one RGB pixel
PACKED = zlib.compress(GOOD)
DAMAGED = {
    "a row too few": (png(1, 2, 16, 2, GOOD[:7]), "its pixels end too early"),
    "a byte too few": (png(1, 2, 16, 2, GOOD[:-1]), "its pixels end too early"),
    "a byte too many": (png(1, 2, 16, 2, GOOD + b"\0"), "more pixels than fit its size"),
    "no pixels at all": (png(1, 2, 16, 2, b""), "its pixels end too early"),
    "an unknown filter": (png(1, 2, 16, 2, b"\5" + GOOD[1:]), "there is no row filter 5"),
    "a wrong sum of the pixels": (
        file_of(np.zeros((2, 1, 3)), PACKED[:-1] + bytes([PACKED[-1] ^ 1])),
        "incorrect data check",
    ),
    "no sum of the pixels": (file_of(np.zeros((2, 1, 3)), PACKED[:-4]), "its pixels end too early"),
    "no pixel chunk": (png(1, 2, 16, 2, GOOD).replace(chunk(b"IDAT", PACKED), b""), "its pixels end too early"),
    "a cut end": (png(1, 2, 16, 2, GOOD)[:-5], "it ends too early"),
    "a chunk that is longer than the file": (
        png(1, 2, 16, 2, GOOD, behind=b"\x7f\xff\xff\xfftEXt"),
        "it ends too early",
    ),
    "a wrong checksum of the pixels": (
        png(1, 2, 16, 2, GOOD).replace(PACKED, PACKED[:-1] + b"?"),
        "the checksum of its IDAT chunk is wrong",
    ),
    "an unknown chunk that it needs": (
        png(1, 2, 16, 2, GOOD, behind=chunk(b"NEED", b"")),
        "it needs the unknown chunk NEED",
    ),
    "palette of 16 bits": (png(1, 2, 16, 3, GOOD), "its header is invalid"),
    "3 bits": (png(1, 2, 3, 0, GOOD), "its header is invalid"),
    "no width": (png(0, 2, 16, 2, GOOD), "its size of 0 x 2 pixels is invalid"),
    "no header": (png_chunks.SIGNATURE + chunk(b"IDAT", PACKED), "its header is damaged"),
}


@pytest.mark.parametrize(("data", "reason"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_files_are_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    raw(data)(tmp_path / "a.png")
    message = refused(tmp_path / "a.png").message
    assert message.startswith(
        f"`{tmp_path / 'a.png'}` is not a whole PNG, JPEG, TIFF, WebP, BMP, FITS or MRC picture ("
    )
    assert reason in message


def test_pixels_in_many_and_empty_chunks() -> None:
    chunks = b"".join(chunk(b"IDAT", b"") + chunk(b"IDAT", PACKED[at : at + 1]) for at in range(len(PACKED)))
    data = png(1, 2, 16, 2, GOOD).replace(chunk(b"IDAT", PACKED), chunks)
    assert as_read(data).ravel().tolist() == list(struct.unpack(">6H", GOOD.replace(b"\0", b"")))
