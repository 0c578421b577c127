"""Denoised FITS and MRC files: transforms, masks and history.

All that is not a picture stays unchanged.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from astropy.io import fits

from n2n_cli import __version__
from n2n_cli.denoising.picture_files import denoise_files
from n2n_cli.denoising.plan import FolderOptions, plan_folder
from n2n_cli.denoising.tasks import DenoiseOptions, DenoiseTask, Outcome
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from tests.images.fits.files import saved, scaled, table
from tests.values.frames import blobs, counted, rms


def frame(dtype: str, peak: float = 200, seed: int = 0, offset: float = 100) -> tuple[Array, Array]:
    """A clean frame and a noisy one."""
    rng = np.random.default_rng(seed)
    clean = peak * blobs(96, rng)
    return clean + offset, counted(clean, dtype, rng, offset=offset, read_noise=2)


def denoised(model: Model, source: str, target: str, **options: Any) -> Outcome:
    options = {"model_name": "white", **options}
    (outcome,) = denoise_files(model, [DenoiseTask(Path(source), Path(target))], DenoiseOptions(**options))
    assert outcome.status == "done", outcome.error
    return outcome


def test_each_image_of_a_fits_file_has_its_own_transform(white: Model) -> None:
    first, dim = frame("f4", 200)
    second, bright = frame("u2", 5_000, seed=1, offset=1_000)
    dim[:5] = np.nan
    flags = fits.ImageHDU(np.arange(96 * 96, dtype=np.int32).reshape(96, 96), name="DQ")
    constant = fits.ImageHDU(np.full((20, 20), 7, np.int16), name="FLAT")
    images = [fits.ImageHDU(dim, name="SCI"), flags, fits.ImageHDU(bright, name="CHIP2"), constant]
    Path("in.fits").write_bytes(saved(table(), *images, checksum=True))
    outcome = denoised(white, "in.fits", "out.fits")
    with warnings.catch_warnings(), fits.open("in.fits") as before, fits.open("out.fits", checksum=True) as after:
        warnings.simplefilter("error")
        assert rms(after["SCI"].data[5:] - first[5:]) < 0.5 * rms(dim[5:] - first[5:])
        assert rms(after["CHIP2"].data - second) < 0.7 * rms(bright - second)
        assert np.array_equal(np.isnan(after["SCI"].data), np.isnan(dim))
        assert after["CHIP2"].data.dtype == np.uint16
        for name in ("SOURCES", "DQ", "FLAT"):
            assert after[name].header == before[name].header
            assert after[name].data.tobytes() == before[name].data.tobytes()
        history = " ".join(after["CHIP2"].header["HISTORY"])
    assert history.startswith(f"n2n {__version__}: denoised, model white, values photons ")
    notes = "; ".join(outcome.notes)
    assert notes.startswith("DQ: flags, errors and weights stay as they are; values: channel SCI: 32 bit float, ")
    assert "channel CHIP2: 16 bit, " in notes
    assert "channel FLAT: 16 bit signed, 7 to 7 counts; its values are constant: it stays as it is" in notes


def test_blank_pixels_stay_and_no_others_become_blank(white: Model) -> None:
    _, noisy = frame("i2", 60)
    noisy[noisy == 105] = 106
    noisy[:4] = 105
    Path("in.fits").write_bytes(saved(scaled(noisy, BLANK=105)))
    denoised(white, "in.fits", "out.fits")
    with fits.open("out.fits", do_not_scale_image_data=True) as file:
        assert np.array_equal(file[1].data == 105, noisy == 105)
        assert (file[1].data[4:] == 106).any()


def test_planes_of_a_cube_share_one_transform(white: Model) -> None:
    clean, _ = frame("u2")
    cube = np.stack([counted(clean - 100, "u2", np.random.default_rng(n), offset=100, read_noise=2) for n in range(3)])
    fits.PrimaryHDU(cube).writeto("in.fits")
    outcome = denoised(white, "in.fits", "out.fits")
    assert (outcome.pages, len(outcome.notes)) == (3, 1)
    with fits.open("out.fits") as file:
        assert rms(file[0].data - clean) < 0.5 * rms(cube - clean)
        assert len(file[0].header["HISTORY"]) <= 2


def test_bytes_of_fits_are_measured_values(white: Model) -> None:
    _, noisy = frame("u1", 60, offset=5)
    fits.PrimaryHDU(noisy).writeto("in.fits")
    (note,) = denoised(white, "in.fits", "out.fits").notes
    assert note.startswith("values: 8 bit, ")


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f2", "f4"])
def test_mrc_file_is_denoised_with_label_and_statistics(dtype: str, white: Model) -> None:
    clean, noisy = frame(dtype, 60, offset=20)
    with mrcfile.new("in.mrc") as file:
        file.set_data(np.stack([noisy, noisy]))
        file.set_image_stack()
    denoised(white, "in.mrc", "out.mrc")
    with mrcfile.open("out.mrc") as file:
        assert file.data.dtype == np.dtype(dtype)
        assert rms(file.data.astype(float) - clean) < 0.6 * rms(noisy.astype(float) - clean)
        assert file.get_labels()[-1].startswith(f"n2n {__version__}: denoised, model white, values photons ")
        assert file.header.dmean == pytest.approx(file.data.mean(dtype=np.float64), rel=1e-5)


def test_strength_0_copies_the_file_byte_for_byte() -> None:
    _, noisy = frame("i2")
    Path("in.fits").write_bytes(saved(fits.PrimaryHDU(noisy), table(), checksum=True))
    with mrcfile.new("in.mrc") as file:
        file.set_data(noisy)
    for name, image_format in (("in.fits", "FITS"), ("in.mrc", "MRC")):
        options = DenoiseOptions(strength=0, image_format=image_format)
        (outcome,) = denoise_files(None, [DenoiseTask(Path(name), Path("out"))], options)
        assert outcome.status == "done"
        assert Path("out").read_bytes() == Path(name).read_bytes()


def test_fits_stream_keeps_format_and_tables(white: Model) -> None:
    _, noisy = frame("i2")
    data, out = saved(fits.PrimaryHDU(noisy), table()), io.BytesIO()
    task = DenoiseTask(Path("-"), Path("-"), io.BytesIO(data), out)
    (outcome,) = denoise_files(white, [task], DenoiseOptions())
    assert outcome.status == "done", outcome.error
    with fits.open(io.BytesIO(out.getvalue())) as file:
        assert [hdu.name for hdu in file] == ["PRIMARY", "SOURCES"]


def test_floats_to_png_are_refused(white: Model) -> None:
    _, noisy = frame("f4")
    fits.PrimaryHDU(noisy).writeto("in.fits")
    (outcome,) = denoise_files(white, [DenoiseTask(Path("in.fits"), Path("out.png"))], DenoiseOptions())
    assert str(outcome.error) == "`out.png`: PNG cannot hold float32 pixels"
    assert not Path("out.png").exists()


def test_names_of_outputs_of_packed_and_plain_files() -> None:
    Path("in").mkdir()
    Path("out").mkdir()
    for name in ("a.fits", "b.FIT", "c.fits.gz", "d.mrc", "e.map.gz", "f.tar.gz", "g.fits.fz"):
        Path("in", name).write_bytes(b"x")
    plan = plan_folder([Path("in")], Path("out"), FolderOptions(suffix="-n2n"))
    names = [task.target.name for task in plan.tasks]
    assert names == ["a-n2n.fits", "b-n2n.FIT", "c-n2n.fits.gz", "d-n2n.mrc", "e-n2n.map.gz", "g-n2n.fits.fz"]
    plan = plan_folder([Path("in", "c.fits.gz")], Path("out"), FolderOptions(image_format="TIFF"))
    assert [task.target.name for task in plan.tasks] == ["c.tif"]
