"""FITS files: the values that astropy reads, and refusal of damaged files."""

from __future__ import annotations

import io
import re
import sys
from contextlib import suppress

import numpy as np
import pytest
from astropy.io import fits

from n2n_cli.errors import ImageError
from n2n_cli.images import opened_pages, opened_stack, picture_size, read_pages, read_picture
from n2n_cli.nn.functional import Array
from tests.images.fits.files import COUNTS, FLOATS, IMAGES, header, opened, saved, scaled, scene, table
from tests.images.pictures import refused_pages


def read(data: bytes) -> list[Array]:
    return [picture.pixels[..., 0] for picture in read_pages(io.BytesIO(data), name="it")]


@pytest.mark.parametrize("name", IMAGES)
def test_values_equal_those_of_astropy(name: str) -> None:
    data = saved(IMAGES[name]())
    with opened(data) as file:
        expected = np.asarray(file[1].data)
    pages = np.stack(read(data)).reshape(expected.shape)
    holes = np.isnan(expected) if expected.dtype.kind == "f" else np.zeros(expected.shape, bool)
    first = next(iter(read_pages(io.BytesIO(data), name="it")))
    lacking = np.isnan(pages) if pages.dtype.kind == "f" else pages == first.nodata
    assert np.array_equal(lacking, holes)
    exact = np.array_equal if name != "scaled floats" else np.allclose  # astropy scales in float32
    assert exact(pages[~holes], expected[~holes])
    assert pages.dtype == expected.dtype.newbyteorder("=") or name in ("BLANK", "BSCALE", "64 bits", "scaled floats")


def test_size_is_read_from_the_header() -> None:
    for name in IMAGES:
        assert picture_size(io.BytesIO(saved(IMAGES[name]())), name="it") == (24, 30)


def test_all_images_and_nothing_else_are_read() -> None:
    spectrum = fits.ImageHDU(np.arange(90.0), name="SPECTRUM")
    data = saved(
        fits.PrimaryHDU(COUNTS.astype(np.int16)), table(), fits.ImageHDU(FLOATS, name="SCI"), spectrum, IMAGES["cube"]()
    )
    with opened_pages(io.BytesIO(data)) as pages:
        assert len(pages) == 7
        read_ones = list(pages)
        assert [pages.description.image_of(number) for number in range(7)] == [0, 1, 2, 2, 2, 2, 2]
        assert pages.description.channels == ("primary header", "SCI", "IMAGE")
        assert [picture.pixels.dtype.name for picture in read_ones[:3]] == ["int16", "float32", "uint16"]
        spread = [picture.pixels for picture in pages.sample(2, pages.description.pages_of_image(2))]
        assert [page.tolist() for page in spread] == [read_ones[6].pixels.tolist(), read_ones[4].pixels.tolist()]


@pytest.mark.parametrize(
    "name", ["DQ", "ERR", "WHT", "IVAR", "VAR_POISSON", "MASK_3", "CCD1.WEIGHT", "WCSDVARR", "SCI_ERR", "BPM"]
)
def test_flags_errors_and_weights_are_not_read(name: str) -> None:
    other = fits.ImageHDU(np.ones((24, 30), np.int16), name=name)
    picture = read_picture(io.BytesIO(saved(IMAGES["floats"](), other)))
    assert picture.notes == (f"{name}: flags, errors and weights stay as they are",)
    alone = refused_pages(saved(other))
    assert alone.message == f"`it` holds no image of two axes to denoise, but {name}"


@pytest.mark.parametrize("name", ["SCI", "CHIP1", "FLUX", "PRIMARY", "DATA", "MOSAIC"])
def test_names_of_images_that_are_read(name: str) -> None:
    assert len(read(saved(fits.ImageHDU(COUNTS.astype(np.int16), name=name)))) == 1


def test_file_of_a_table_is_refused() -> None:
    error = refused_pages(saved(table()))
    assert error.message == "`it` holds no image of two axes to denoise, but SOURCES"
    assert error.hint == "spectra, tables, flags, errors and weights are not denoised"


@pytest.mark.parametrize(("kind", "axis"), [("", "T"), ("TIME", "T"), ("FREQ", "Z"), ("VRAD-F2W", "Z")])
def test_axis_of_a_cube_follows_its_type(kind: str, axis: str) -> None:
    cube = IMAGES["cube"]()
    if kind:
        cube.header["CTYPE3"] = kind
    with opened_stack(io.BytesIO(saved(cube)), name="it") as stack:
        assert (stack.axes, stack.shape) == (f"{axis}YX", (5, 24, 30))
        assert np.array_equal(stack.page(3).pixels[..., 0], scene(3))


def test_several_images_are_channels_and_not_time() -> None:
    chips = [fits.ImageHDU(scene(seed).astype(np.int16), name=f"CHIP{seed}") for seed in range(3)]
    with opened_stack(io.BytesIO(saved(*chips)), name="it") as stack:
        assert (stack.axes, stack.shape) == ("CYX", (3, 24, 30))
        assert stack.description.channels == ("CHIP0", "CHIP1", "CHIP2")
    with (
        pytest.raises(ImageError, match="they are not a stack"),
        opened_stack(io.BytesIO(saved(*chips, IMAGES["cube"]()))) as stack,
    ):
        list(stack)


def test_last_block_may_be_incomplete() -> None:
    data = saved(IMAGES["16 bits"]())
    assert np.array_equal(read(data[: 2 * 2880 + 24 * 30 * 2])[0], COUNTS - 50)


def test_unusual_headers_are_read() -> None:
    hdu = fits.PrimaryHDU(COUNTS.astype(np.int16))
    hdu.header["LONGTEXT"] = "it's long " * 20
    data = bytearray(saved(hdu))
    place = data.index(b"EXTEND")
    data[place : place + 80] = b"BROKEN  = 'no end \xff".ljust(80)
    assert np.array_equal(read(bytes(data))[0], COUNTS)


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
    """File with another value for one card."""
    assert data.count(old) == 1
    return data.replace(old, new.ljust(len(old)))


IMAGE = saved(fits.PrimaryHDU(COUNTS.astype(np.int16)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (IMAGE[:4000], "the data of primary header should have 1,440 bytes, there are 1,120"),
        (IMAGE[:2000], "a header of it has no END"),
        (IMAGE[:80] + bytes(9000), "a header of it has no END"),
        (changed(IMAGE, b"NAXIS   =                    2", b"NAXIS   =                 9999"), "its NAXIS is 9999"),
        (changed(IMAGE, b"NAXIS   =                    2", b"NAXIS   =                  999"), "it has no NAXIS3"),
        (changed(IMAGE, b"NAXIS1  =                   30", b"NAXIS1  =                  -30"), "has -30 pixels"),
        (
            changed(IMAGE, b"NAXIS1  =                   30", b"NAXIS1  =                3.5E9"),
            "its NAXIS1 is 3500000000.0",
        ),
        (changed(IMAGE, b"NAXIS1  =                   30", b"NAXIS1  = 99999999999999999999"), "there are 2,880"),
        (changed(IMAGE, b"BITPIX  =                   16", b"BITPIX  =                   17"), "its BITPIX is 17"),
        (saved(scaled(COUNTS.astype(np.int16), BSCALE=0.0)), "its BSCALE is 0"),
        (saved(scaled(COUNTS.astype(np.int16), BZERO="a")), "its BZERO is 'a'"),
        (saved(scaled(COUNTS.astype(np.int16), BLANK="a")), "its BLANK is 'a'"),
        (saved(fits.ImageHDU(COUNTS.astype(np.int64) << 55)), "it holds integers of more than 53 bits"),
    ],
    ids=lambda value: value[-30:] if isinstance(value, str) else "",
)
def test_damaged_files_are_refused(data: bytes, message: str) -> None:
    error = refused_pages(data).message
    assert error.startswith("`it` is not a whole PNG, JPEG, TIFF, WebP, BMP, FITS or MRC picture (")
    assert message in error


@pytest.mark.parametrize("name", ["cube", "compressed cube"])
def test_truncated_file_is_refused_or_has_all_its_pixels(name: str) -> None:
    data = saved(IMAGES[name](), table())
    whole = read(data)
    for length in range(1, len(data), 331):
        with suppress(ImageError):
            assert np.array_equal(read(data[:length]), whole)


def test_pages_beyond_the_pixel_limit_are_refused() -> None:
    for name in ("cube", "compressed cube"):
        error = refused_pages(saved(IMAGES[name]()), max_pixels=700)
        assert re.match(r"`it`, page 1, claims to have 30 x 24 = 720 pixels", error.message)
    # A tile may be larger than a page.
    error = refused_pages(saved(IMAGES["compressed cube"]()), max_pixels=719)
    assert "pixels, more than the limit" in error.message


def test_missing_astropy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "astropy.io.fits", None)
    error = refused_pages(IMAGE)
    assert error.message == "`it` is a FITS file, for which the package astropy is needed"
    assert error.hint == "`pip install 'n2n-cli[fits]'`"


def test_headers_with_blank_cards_and_many_units() -> None:
    hdus = [fits.ImageHDU(scene(seed).astype(np.int16), header(EXTVER=seed + 1)) for seed in range(40)]
    assert [page.tolist() for page in read(saved(*hdus))] == [scene(seed).tolist() for seed in range(40)]
