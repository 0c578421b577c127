"""MRC files are read and written with their headers, and are valid for mrcfile."""

from __future__ import annotations

import functools
import io
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from n2n_cli.errors import ImageError
from n2n_cli.images import Picture, opened_stack, picture_size, read_pages, read_picture, write_pages, write_picture
from n2n_cli.nn.functional import Array
from tests.images import pictures
from tests.images.pictures import refused_pages

COUNTS = np.random.default_rng(0).poisson(30, (4, 6, 9))
MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
EXTENDED = bytes(range(256)) * 3


def written(path: Path, pixels: Array, *, labels: int = 1, volume: bool = False) -> Path:
    """File as the programs of microscopes write it."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(pixels)
        if not volume and pixels.ndim == 3:
            file.set_image_stack()
        file.voxel_size = 1.35
        file.set_extended_header(np.frombuffer(EXTENDED, "V1"))
        file.header.exttyp = b"SERI"
        for number in range(1, labels):
            file.add_label(f"step {number}")
    return path


rewritten = functools.partial(pictures.rewritten, "MRC")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("mode", MODES)
def test_all_modes_and_byte_orders_are_read(mode: int, order: str, tmp_path: Path) -> None:
    pixels = COUNTS.astype(order + MODES[mode])
    path = written(tmp_path / "a.mrc", pixels)
    read = np.stack([page.pixels[..., 0] for page in read_pages(path)])
    assert np.array_equal(read, pixels)
    assert read.dtype == np.dtype(MODES[mode])
    assert picture_size(path) == (6, 9)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("mode", MODES)
def test_changed_pixels_keep_the_headers(mode: int, order: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.mrc", COUNTS.astype(order + MODES[mode]), labels=3)
    data = path.read_bytes()
    found = rewritten(data, lambda pixels: pixels + pixels.dtype.type(2), "something was done")
    (tmp_path / "b.mrc").write_bytes(found)
    assert found[1024 : 1024 + len(EXTENDED)] == EXTENDED
    assert rewritten(data + b"behind") == data + b"behind"
    with mrcfile.open(path) as before, mrcfile.open(tmp_path / "b.mrc", permissive=True) as after:
        assert np.array_equal(after.data, before.data + 2)
        assert after.data.dtype == before.data.dtype
        names = before.header.dtype.names
        changed = {name for name in names if before.header[name].tobytes() != after.header[name].tobytes()}
        assert changed - {"rms"} == {"dmin", "dmax", "dmean", "nlabl", "label"}
        assert [*before.get_labels(), "something was done"] == after.get_labels()
        values = after.data.astype(np.float64)
        statistics = [float(after.header[key]) for key in ("dmin", "dmax", "dmean", "rms")]
        assert statistics == pytest.approx([values.min(), values.max(), values.mean(), values.std()], rel=1e-6)


def test_written_file_is_valid_for_mrcfile(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mrc", COUNTS.astype(np.int16), volume=True)
    (tmp_path / "b.mrc").write_bytes(rewritten(path.read_bytes(), lambda pixels: pixels // 2, "halved"))
    told = io.StringIO()
    assert mrcfile.validate(tmp_path / "b.mrc", print_file=told), told.getvalue()
    assert rewritten(path.read_bytes()) == path.read_bytes()


def test_full_label_table_gets_no_further_label(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mrc", COUNTS.astype(np.int16), labels=10)
    assert rewritten(path.read_bytes(), history="something was done") == path.read_bytes()


@pytest.mark.parametrize(("volume", "axes"), [(False, "TYX"), (True, "ZYX")])
def test_axes_and_pixel_size_are_read(volume: bool, axes: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.mrc", COUNTS.astype(np.int16), volume=volume)
    with opened_stack(path) as stack:
        assert (stack.axes, stack.shape) == (axes, (4, 6, 9))
        assert np.array_equal(stack.page(2).pixels[..., 0], COUNTS[2])
        size, unit = stack.description.pixel_size["X"]
        assert size == pytest.approx(1.35)
        assert unit == "Å"


@pytest.mark.parametrize(("flags", "dtype"), [(0, np.uint8), (1, np.int8)])
def test_sign_of_bytes_follows_imod_s_flag(flags: int, dtype: type, tmp_path: Path) -> None:
    data = bytearray(written(tmp_path / "a.mrc", COUNTS.astype(np.int8)).read_bytes())
    data[152:160] = (1146047817).to_bytes(4, "little") + flags.to_bytes(4, "little")
    data[-1] = 200
    *_, last = read_pages(io.BytesIO(bytes(data)), name="it")
    assert last.pixels.dtype == dtype
    assert last.pixels[-1, -1, 0] == np.array([200], np.uint8).view(dtype)[0]
    assert rewritten(bytes(data))[1024:] == bytes(data)[1024:]


@pytest.mark.parametrize("mode", [3, 4, 16, 101, 77])
def test_other_modes_are_refused(mode: int, tmp_path: Path) -> None:
    data = bytearray(written(tmp_path / "a.mrc", COUNTS.astype(np.int16)).read_bytes())
    data[12:16] = mode.to_bytes(4, "little")
    error = refused_pages(bytes(data))
    assert error.message.startswith(f"`it` holds pixels of MRC mode {mode}, ")
    assert error.hint is not None


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, 0, "its header holds impossible sizes"),
        (4, -3, "its header holds impossible sizes"),
        (8, 2**31 - 1, "its 2,147,483,647 sections should take"),
        (0, 2**31 - 1, "its 4 sections should take"),
        (92, 2**31 - 1, "its header holds impossible sizes"),
        (92, -1, "its header holds impossible sizes"),
    ],
)
def test_impossible_headers_are_refused(place: int, value: int, message: str, tmp_path: Path) -> None:
    data = bytearray(written(tmp_path / "a.mrc", COUNTS.astype(np.int16)).read_bytes())
    data[place : place + 4] = value.to_bytes(4, "little", signed=True)
    assert message in refused_pages(bytes(data)).message


def test_damaged_and_large_files_are_refused(tmp_path: Path) -> None:
    data = written(tmp_path / "a.mrc", COUNTS.astype(np.int16)).read_bytes()
    assert "its header is truncated" in refused_pages(data[:600]).message
    assert "its 4 sections should take 2,224 bytes, it has 2,223" in refused_pages(data[:-1]).message
    assert "`it`, page 1, claims to have 9 x 6 = 54 pixels" in refused_pages(data, max_pixels=53).message


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "f2", "f4"])
def test_pictures_of_other_formats_are_written_as_mrc(dtype: str, tmp_path: Path) -> None:
    pages = [Picture(page.astype(dtype)[..., None], metadata={"history": "something was done"}) for page in COUNTS]
    write_pages(tmp_path / "a.mrc", pages)
    told = io.StringIO()
    assert dtype == "f2" or mrcfile.validate(tmp_path / "a.mrc", print_file=told), told.getvalue()
    with mrcfile.open(tmp_path / "a.mrc") as file:
        assert np.array_equal(file.data, COUNTS)
        assert file.get_labels() == ["something was done"]
        assert file.is_image_stack()


def test_unsupported_pixels_are_refused(tmp_path: Path) -> None:
    for shape, dtype, message in [((4, 5, 3), "u1", "gray pictures only"), ((4, 5, 1), "f8", "float64 pixels")]:
        with pytest.raises(ImageError, match=message):
            write_picture(tmp_path / "a.mrc", Picture(np.ones(shape, dtype)))
    sizes = [Picture(np.ones((*size, 1), np.float32)) for size in ((4, 5), (5, 4))]
    with pytest.raises(ImageError, match="MRC holds sections of one size and type; section 2 is 4 x 5, float32"):
        write_pages(tmp_path / "a.mrc", sizes)
    assert not (tmp_path / "a.mrc").exists()


def test_header_is_named_when_another_format_omits_it(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mrc", COUNTS[0].astype(np.float32))
    assert write_picture(tmp_path / "a.tif", read_picture(path)) == ("TIFF cannot hold its MRC header",)


def test_missing_mrcfile_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(tmp_path / "a.mrc", COUNTS.astype(np.int16)).read_bytes()
    monkeypatch.setitem(sys.modules, "mrcfile", None)
    error = refused_pages(data)
    assert error.message == "`it` is an MRC file, for which the package mrcfile is needed"
    assert error.hint == "`pip install 'n2n-cli[mrc]'`"
    with pytest.raises(ImageError, match="the package mrcfile is needed"):
        write_picture(tmp_path / "b.mrc", Picture(np.ones((4, 5, 1), np.float32)))


def test_gzip_files_are_read_and_written(tmp_path: Path) -> None:
    written(tmp_path / "a.mrc", COUNTS.astype(np.int16))
    with mrcfile.new(tmp_path / "a.map.gz", compression="gzip") as file:
        file.set_data(COUNTS.astype(np.int16))
    pages = list(read_pages(tmp_path / "a.map.gz"))
    assert np.array_equal(np.stack([page.pixels[..., 0] for page in pages]), COUNTS)
    write_pages(tmp_path / "b.mrc.gz", [Picture(page.pixels) for page in pages])
    with mrcfile.open(tmp_path / "b.mrc.gz") as file:
        assert np.array_equal(file.data, COUNTS)
