"""Measured values in files and arrays, denoised by the bundled model.

Pages, notes, masks and means of dark areas.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from n2n_cli import denoise
from n2n_cli.data.dead_leaves import dead_leaves
from n2n_cli.denoising.picture_files import denoise_files
from n2n_cli.denoising.tasks import DenoiseOptions, DenoiseTask, Outcome
from n2n_cli.images import Picture, read_pages, read_picture, write_pages
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.values.choice import Mode
from tests.values.frames import blobs, counted, rms


def through_a_file(model: Model | None, *pages: Array, **options: Any) -> tuple[list[Array], Outcome]:
    write_pages(Path("in.tif"), [Picture(page if page.ndim == 3 else page[..., None]) for page in pages])
    (outcome,) = denoise_files(model, [DenoiseTask(Path("in.tif"), Path("out.tif"))], DenoiseOptions(**options))
    assert outcome.status == "done", outcome.error
    return [page.pixels[..., 0] for page in read_pages(Path("out.tif"))], outcome


def counts(peak: float, seed: int = 0, side: int = 128, offset: float = 100) -> tuple[Array, Array]:
    """A clean frame and a noisy one of 16 bits."""
    rng = np.random.default_rng(seed)
    clean = peak * blobs(side, rng)
    return clean + offset, counted(clean, "u2", rng, offset=offset, read_noise=2)


def test_file_is_denoised_with_one_note_on_its_values(white: Model) -> None:
    clean, noisy = counts(60)
    (found,), outcome = through_a_file(white, noisy)
    assert found.dtype == np.uint16
    assert rms(found - clean) < 0.3 * rms(noisy - clean)
    assert len(outcome.notes) == 1
    assert re.fullmatch(
        r"values: 16 bit, [\d.]+ to [\d.]+ counts; photon noise, gain [\d.]+, read noise [\d.]+",
        outcome.notes[0],
    )


def test_array_and_file_give_the_same_result(white: Model) -> None:
    _, noisy = counts(60)
    (found,), _ = through_a_file(white, noisy)
    np.testing.assert_array_equal(denoise(noisy, white), found)


def test_display_pictures_have_no_note_unless_values_are_chosen(white: Model) -> None:
    (_,), outcome = through_a_file(white, dead_leaves(1, 64, seed=1)[0])
    assert outcome.notes == []
    (_,), outcome = through_a_file(white, dead_leaves(1, 64, seed=1)[0], values="display")
    assert outcome.notes == ["values: 8 bit, display"]


# Pages


def test_pages_of_a_constant_scene_keep_their_brightness(white: Model) -> None:
    rng = np.random.default_rng(0)
    clean = 300 * blobs(128, rng) + 100
    pages = [counted(clean, "u2", rng, read_noise=2) for _ in range(5)]
    pages[2][40, 50] = 65535
    found, outcome = through_a_file(white, *pages)
    means = np.array([np.delete(page.ravel(), 40 * 128 + 50).mean() for page in found])
    assert np.ptp(means) / means.mean() < 0.002
    assert found[2][40, 50] == 65535
    assert len([note for note in outcome.notes if "values:" in note]) == 1
    assert outcome.notes[-1] == ("1 value not finite, without data or far outside the rest stayed as they were")


def test_bleaching_pages_share_one_transform(white: Model) -> None:
    rng = np.random.default_rng(1)
    clean = [share * 300 * blobs(128, np.random.default_rng(5)) + 100 for share in (1, 0.5, 0.1)]
    pages = [counted(page, "u2", rng, read_noise=2) for page in clean]
    found, outcome = through_a_file(white, *pages)
    for got, noisy, truth in zip(found, pages, clean, strict=True):
        assert got.mean() == pytest.approx(noisy.mean(), rel=1e-3)
        assert rms(got - truth) < 0.4 * rms(noisy - truth)
    assert len(outcome.notes) == 1
    np.testing.assert_array_equal(denoise(np.stack(pages), white, axes="TYX"), np.stack(found))


def test_equal_frames_of_a_movie_have_equal_results(white: Model) -> None:
    _, noisy = counts(100)
    movie = np.stack([noisy] * 4)
    found = denoise(movie, white, axes="TYX")
    for frame in found[1:]:
        np.testing.assert_array_equal(frame, found[0])


# Missing data


@pytest.mark.parametrize("dtype", ["i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("sentinel", [-9999.0, -32768.0, float(np.finfo("f4").min), np.nan])
def test_missing_data_stay_and_the_rest_is_denoised(sentinel: float, dtype: str, white: Model) -> None:
    if dtype[0] == "i" and not sentinel > -40_000:
        pytest.skip("integers cannot hold it")
    rng = np.random.default_rng(0)
    clean = 300 + 200 * blobs(128, rng)
    noisy = (clean + rng.normal(0, 5, clean.shape)).astype(dtype)
    missing = np.zeros(clean.shape, bool)
    missing[30:60, 20:50], missing[90:, 100:], missing[5, 7] = True, True, True
    noisy[missing] = np.array(sentinel).astype(dtype)
    (found,), outcome = through_a_file(white, noisy)
    assert found.dtype == dtype
    assert found[missing].tobytes() == noisy[missing].tobytes()
    assert rms((found - clean)[~missing]) < 0.4 * rms((noisy - clean)[~missing])
    near = ~missing
    near[28:62, 18:52] = ~missing[28:62, 18:52]
    near[:28], near[62:], near[:, :18], near[:, 52:] = False, False, False, False
    assert rms((found - clean)[near]) < 0.6 * rms((noisy - clean)[near])
    count = int(missing.sum())
    kept = f"{count:,} values not finite, without data or far outside the rest stayed as they were"
    assert outcome.notes[-1] == kept


def test_value_of_gdal_no_data_tag_is_kept(white: Model) -> None:
    rng = np.random.default_rng(0)
    clean = 300 + 200 * blobs(128, rng)
    noisy = (clean + rng.normal(0, 5, clean.shape)).astype(np.float32)
    noisy[:40] = 250  # in the range of the values
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "TIFF", tiffinfo={42113: "250"})
    Path("in.tif").write_bytes(file.getvalue())
    (outcome,) = denoise_files(white, [DenoiseTask(Path("in.tif"), Path("out.tif"))], DenoiseOptions())
    found = read_picture(Path("out.tif")).pixels[..., 0]
    assert (found[:40] == 250).all()
    assert f"{40 * 128:,} values not finite" in outcome.notes[-1]


# Nothing to denoise


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
def test_constant_pictures_stay_with_a_note(dtype: str, white: Model) -> None:
    pixels = np.full((64, 64), 77, dtype)
    (found,), outcome = through_a_file(white, pixels)
    assert found.tobytes() == pixels.tobytes()
    (note,) = outcome.notes
    assert note.endswith("; its values are constant: it stays as it is")


def test_pure_noise_stays_with_a_note(white: Model) -> None:
    pixels = np.random.default_rng(0).poisson(300, (256, 256)).astype(np.uint16)
    (found,), outcome = through_a_file(white, pixels)
    np.testing.assert_array_equal(found, pixels)
    (note,) = outcome.notes
    assert note.endswith("; its values cannot be distinguished from noise: it stays as it is")


def test_noise_of_measured_values_is_reported_in_their_units(white: Model) -> None:
    rng = np.random.default_rng(0)
    clean = 300 + 200 * blobs(128, rng)
    for noisy in (clean + rng.normal(0, 5, clean.shape), clean * 1000 + rng.normal(0, 5000, clean.shape)):
        _, outcome = through_a_file(white, noisy.astype(np.float32), estimates=True)
        sigma = 5 if noisy.max() < 1000 else 5000
        assert outcome.sigma_before == pytest.approx(sigma, rel=0.15)
        assert outcome.sigma_after is not None
        assert outcome.sigma_after < 0.5 * sigma


@pytest.mark.parametrize("options", [{"strength": 0.0}, {}])
def test_noise_is_reported_also_of_pictures_that_stay(options: dict[str, Any], white: Model) -> None:
    pixels = np.rint(np.random.default_rng(0).normal(3000, 20, (256, 256))).astype(np.uint16)
    (found,), outcome = through_a_file(white, pixels, estimates=True, **options)
    np.testing.assert_array_equal(found, pixels)
    assert outcome.sigma_before == pytest.approx(20, rel=0.15)
    assert outcome.sigma_after == outcome.sigma_before


# Range


@pytest.mark.parametrize("dtype", ["i2", "f4", "f8"])
def test_negative_noise_around_zero_stays_negative(dtype: str, white: Model) -> None:
    rng = np.random.default_rng(0)
    clean = 40 * blobs(128, rng)
    noisy = np.rint(rng.poisson(clean) + rng.normal(0, 3, clean.shape)).astype(dtype)
    noisy[100:] -= np.array(6).astype(dtype)
    (found,), _ = through_a_file(white, noisy)
    assert found[110:].mean() == pytest.approx(noisy[110:].mean(), abs=0.3)
    assert (found[110:] < 0).any()


def test_bright_stars_keep_their_brightness(white: Model) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:192, :192]
    clean = np.full((192, 192), 200.0)
    for _ in range(40):
        row, column = rng.uniform(5, 187, 2)
        clean += 10 ** rng.uniform(2, 4.5) * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 1.5**2))
    noisy = rng.poisson(clean).astype(np.float32)
    found = denoise(noisy, white)
    brightest = np.argsort(clean.ravel())[-100:]
    assert found.ravel()[brightest] == pytest.approx(clean.ravel()[brightest], rel=0.15)
    dark = clean < 210
    assert rms((found - clean)[dark]) < 0.4 * rms((noisy - clean)[dark])
    assert found.mean(dtype=float) == pytest.approx(noisy.mean(dtype=float), rel=2e-3)


def test_one_hot_pixel_does_not_disturb_the_rest(white: Model) -> None:
    clean, noisy = counts(60)
    noisy = noisy.astype(np.float32)
    plain = denoise(noisy, white)
    noisy[60, 60] = 60_000
    hot = denoise(noisy, white)
    assert hot[60, 60] == 60_000
    others = np.ones(clean.shape, bool)
    others[55:66, 55:66] = False
    assert rms((hot - clean)[others]) < 1.1 * rms((plain - clean)[others])


@pytest.mark.parametrize("mode", ["auto", "linear", "photons"])
def test_counts_are_denoised_in_every_mode_of_values(mode: Mode, white: Model) -> None:
    clean, noisy = counts(300)
    found = denoise(noisy, white, values=mode)
    assert rms(found - clean) < (0.9 if mode == "linear" else 0.35) * rms(noisy - clean)
    assert found.mean() == pytest.approx(noisy.mean(), rel=1e-3)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_floats_keep_their_type_and_precision(dtype: str, white: Model) -> None:
    clean, noisy = counts(60)
    pages, _ = through_a_file(white, noisy.astype(dtype))
    assert pages[0].dtype == dtype
    assert rms(pages[0].astype(float) - clean) < 0.3 * rms(noisy - clean)


# Display pictures


def test_flat_dark_display_pictures_keep_their_mean(white: Model) -> None:
    for level in (1, 2, 4, 8):
        found = denoise(np.full((96, 96, 3), level, np.uint8), white)
        assert found.mean() == pytest.approx(level, abs=0.1)


def test_self_knows_measured_values() -> None:
    clean, noisy = counts(200, side=96)
    (found,), _ = through_a_file(None, noisy, learn=True, seconds=4)
    assert rms(found - clean) < 0.6 * rms(noisy - clean)
    assert found.mean() == pytest.approx(noisy.mean(), rel=2e-3)
