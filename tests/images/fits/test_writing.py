"""FITS files are written with everything that they hold besides pixels."""

from __future__ import annotations

import functools
import io
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from n2n_cli.errors import ImageError
from n2n_cli.images import Picture, read_pages, read_picture, write_pages, write_picture
from tests.images import pictures
from tests.images.fits.files import COUNTS, FLOATS, IMAGES, header, opened, saved, scaled, scene, table

rewritten = functools.partial(pictures.rewritten, "FITS")


def facts(hdu: Any) -> list[tuple[Any, ...]]:
    """Cards of a header except those that may change."""
    changing = ("HISTORY", "CHECKSUM", "DATASUM")
    return [(card.keyword, card.value, card.comment) for card in hdu.header.cards if card.keyword not in changing]


def everything(*, checksum: bool) -> bytes:
    flags = fits.ImageHDU(np.ones((24, 30), np.int16), name="DQ")
    plain = [make() for name, make in IMAGES.items() if not isinstance(make(), fits.CompImageHDU)]
    return saved(fits.PrimaryHDU(COUNTS.astype(np.int16)), table(), *plain, flags, table(), checksum=checksum)


@pytest.mark.parametrize("checksum", [False, True])
def test_unchanged_file_is_written_byte_for_byte(checksum: bool) -> None:
    data = everything(checksum=checksum)
    assert rewritten(data) == data
    assert rewritten(data + b"more, after the last unit") == data + b"more, after the last unit"


@pytest.mark.parametrize("name", IMAGES)
def test_changed_pixels_keep_headers_and_tables(name: str) -> None:
    data = saved(IMAGES[name](), table(), checksum=True)

    def one_less(pixels: Any) -> Any:
        dtype = pixels.dtype
        kept = np.isnan(pixels) if dtype.kind == "f" else pixels == {"BLANK": -32768}.get(name, 10**6)
        return np.where(kept, pixels, pixels - dtype.type(2**32 if name == "64 bits" else 1))

    found = rewritten(data, one_less, "something was done")
    with warnings.catch_warnings(), opened(data) as before, opened(found) as after:
        warnings.simplefilter("error")
        expected = before[1].data - (2**32 if name == "64 bits" else 1)
        exact = np.array_equal if name != "scaled floats" else np.allclose  # astropy scales in float32
        floats = expected.dtype.kind == "f"
        assert exact(after[1].data, expected.astype(before[1].data.dtype), equal_nan=floats)
        assert after[1].data.dtype == before[1].data.dtype
        assert str(after[1].header["HISTORY"]) == "something was done"
        assert facts(before[1]) == facts(after[1])
        assert after[2].data.tolist() == before[2].data.tolist()
    assert isinstance(after[1], type(before[1]))


@pytest.mark.parametrize("name", ["compressed", "compressed cube", "HCOMPRESS", "PLIO", "GZIP"])
def test_compression_is_kept(name: str) -> None:
    data = saved(IMAGES[name](), checksum=True)
    for found in (rewritten(data), rewritten(data, history="something was done")):
        with (
            opened(data, disable_image_compression=True) as before,
            opened(found, disable_image_compression=True) as after,
        ):
            first, second = before[1].header, after[1].header
            kept = [key for key in first if key.startswith("Z") and not key.startswith(("ZQUANTIZ", "ZVAL", "ZNAME"))]
            assert [first[key] for key in kept] == [second[key] for key in kept]
    assert rewritten(data) == rewritten(data)


def test_lossy_compressed_floats_are_written_lossless() -> None:
    data = saved(IMAGES["compressed floats"]())
    picture = read_picture(io.BytesIO(data))
    assert picture.notes == ("its floats, which were compressed with loss, are written without loss",)
    assert not picture.lossless
    with opened(rewritten(data, lambda pixels: pixels * np.float32(1 / 3))) as after:
        assert after[1].compression_type == "GZIP_2"
        assert np.array_equal(after[1].data, picture.pixels[..., 0] * np.float32(1 / 3), equal_nan=True)


def test_checksums_are_updated() -> None:
    data = everything(checksum=True)
    found = rewritten(data, lambda pixels: pixels[::-1], "turned " * 30)
    assert found != data
    with warnings.catch_warnings(), opened(found) as file:
        warnings.simplefilter("error")
        for hdu in file:
            assert hdu.verify_datasum() == hdu.verify_checksum() == 1


def test_files_without_checksums_stay_without() -> None:
    assert b"CHECKSUM" not in rewritten(everything(checksum=False), history="something was done")


def test_datamin_and_datamax_are_updated() -> None:
    hdu = fits.ImageHDU(FLOATS, header(DATAMIN=-1.0, DATAMAX=1.0))
    hdu.header.comments["DATAMIN"] = "the least"
    found = rewritten(saved(hdu), lambda pixels: pixels * 2, "doubled")
    with opened(found) as file:
        assert file[1].header["DATAMIN"] == pytest.approx(2 * np.nanmin(FLOATS))
        assert file[1].header["DATAMAX"] == pytest.approx(2 * np.nanmax(FLOATS))
        assert file[1].header.comments["DATAMIN"] == "the least"


@pytest.mark.parametrize("comment", ["/the least", "/ the / least", " / the least", ""])
def test_comments_keep_their_column(comment: str) -> None:
    hdu = fits.ImageHDU(FLOATS, header(DATAMIN=-1.0))
    hdu.header.comments["DATAMIN"] = "the least of all"
    data = saved(hdu)
    place = data.index(b"the least of all") - 3
    data = data[:place] + comment.encode().ljust(19) + data[place + 19 :]
    found = rewritten(data, lambda pixels: pixels * 2, "doubled")
    assert found[place : place + 19].decode().rstrip() == comment
    assert found[place - 30 : place] != data[place - 30 : place]


def test_comments_of_compressed_images_are_kept() -> None:
    data = saved(IMAGES["compressed"]())
    at = data.index(b"ZBITPIX =")
    comment = data[at + 30 : at + 80].rstrip()
    found = rewritten(data.replace(comment, b" / of my own".ljust(len(comment))), history="done")
    assert b"/ of my own" in found


def test_scaled_integers_are_rounded_and_avoid_blank() -> None:
    data = saved(scaled(np.full((4, 5), 100, np.int16), BSCALE=0.5, BZERO=10.0, BLANK=120))
    for value, stored in [(60.3, 101), (70.1, 121), (69.9, 121), (1e9, 32767), (-1e9, -32768), (np.nan, 120)]:
        found = rewritten(data, lambda pixels, value=value: np.full_like(pixels, value))
        with opened(found, do_not_scale_image_data=True) as file:
            assert set(file[1].data.ravel().tolist()) == {stored}


def test_long_header_grows_by_a_block() -> None:
    hdu = fits.PrimaryHDU(COUNTS.astype(np.int16), header(**{f"KEY{n}": n for n in range(29)}))
    found = rewritten(saved(hdu), history="word " * 60)
    assert len(found) == len(saved(hdu)) + 2880
    with opened(found) as file:
        assert [file[0].header[f"KEY{n}"] for n in range(29)] == list(range(29))
        assert "".join(file[0].header["HISTORY"]).split() == ["word"] * 60


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
@pytest.mark.parametrize("shape", [(1, 4, 5, 1), (3, 4, 5, 1), (1, 4, 5, 3), (2, 4, 5, 3)])
def test_pictures_of_other_formats_are_written_as_fits(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 120, shape).astype(dtype) + (np.iinfo(dtype).min if dtype[0] != "f" else 0)
    pixels = pixels.astype(dtype)
    pages = [Picture(page, metadata={"history": "something was done"}) for page in pixels]
    write_pages(tmp_path / "a.fits", pages)
    with fits.open(tmp_path / "a.fits") as file, warnings.catch_warnings():
        warnings.simplefilter("error")
        file.verify("exception")
        assert np.array_equal(np.squeeze(file[0].data), np.squeeze(np.moveaxis(pixels, -1, 1)))
        assert file[0].data.dtype.newbyteorder("=") == np.dtype(dtype)
        assert str(file[0].header["HISTORY"]) == "something was done"
    again = np.stack([page.pixels for page in read_pages(tmp_path / "a.fits")])
    assert np.array_equal(np.squeeze(again), np.squeeze(np.moveaxis(pixels, -1, 1)).reshape(np.squeeze(again).shape))


def test_pages_of_several_sizes_become_several_images(tmp_path: Path) -> None:
    sizes = [(4, 5), (4, 5), (6, 3)]
    write_pages(tmp_path / "a.fits", [Picture(np.ones((*size, 1), np.float32)) for size in sizes])
    with fits.open(tmp_path / "a.fits") as file:
        assert [hdu.data.shape for hdu in file] == [(2, 4, 5), (6, 3)]
        file.verify("exception")


def test_header_and_tables_are_named_when_another_format_omits_them(tmp_path: Path) -> None:
    data = saved(fits.PrimaryHDU(COUNTS.astype(np.uint16), header(OBJECT="M 31")), table())
    picture = read_picture(io.BytesIO(data))
    assert write_picture(tmp_path / "a.tif", picture) == ("TIFF cannot hold its FITS header, SOURCES",)
    assert write_picture(tmp_path / "a.png", picture) == ("PNG cannot hold its FITS header, SOURCES",)
    assert np.array_equal(read_picture(tmp_path / "a.png").pixels[..., 0], COUNTS)
    with pytest.raises(ImageError, match="PNG cannot hold float32 pixels") as caught:
        write_picture(tmp_path / "b.png", read_picture(io.BytesIO(saved(IMAGES["floats"]()))))
    assert caught.value.hint == "write FITS or TIFF"


def test_picture_of_a_closed_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.fits").write_bytes(saved(table(), IMAGES["floats"]()))
    picture = read_picture(tmp_path / "a.fits")
    with pytest.raises(ImageError, match="the FITS file that the picture was read from is closed"):
        write_picture(tmp_path / "b.fits", picture)
    assert not (tmp_path / "b.fits").exists()


def test_missing_astropy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "astropy.io.fits", None)
    with pytest.raises(ImageError) as caught:
        write_picture(tmp_path / "a.fits", Picture(np.ones((4, 5, 1), np.float32)))
    assert caught.value.hint == "`pip install 'n2n-cli[fits]'`"


def test_gzip_files_are_reproducible(tmp_path: Path) -> None:
    for name in ("a.fits.gz", "b.fits.gz"):
        write_picture(tmp_path / name, Picture(scene(1).astype(np.uint16)[..., None]))
    assert (tmp_path / "a.fits.gz").read_bytes() == (tmp_path / "b.fits.gz").read_bytes()
    assert (tmp_path / "a.fits.gz").read_bytes().startswith(b"\x1f\x8b\x08\0\0\0\0\0")
    assert np.array_equal(read_picture(tmp_path / "a.fits.gz").pixels[..., 0], scene(1))
