"""Network input and its inverse: missing values, local means and rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from n2n_cli.images import Picture
from n2n_cli.nn.functional import Array
from n2n_cli.values.choice import choose_values
from n2n_cli.values.prepared import Prepared, keep_dark_means
from n2n_cli.values.transform import Values
from tests.values.frames import blobs, counted, rms

LINEAR = Values("linear", 100, 200).stretched(0.05)


def prepared(pixels: Array, values: Values = LINEAR) -> Prepared:
    return Prepared(Picture(pixels if pixels.ndim == 3 else pixels[..., None]), values)


def heights(rng: np.random.Generator, dtype: str = "f4", shape: tuple[int, ...] = (61, 45, 1)) -> Array:
    return (150 + 5 * rng.standard_normal(shape)).astype(dtype)


# Missing values


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_missing_values_are_restored_bit_for_bit(dtype: str, strength: float, rng: np.random.Generator) -> None:
    pixels = heights(rng, dtype)
    missing = rng.random(pixels.shape) < 0.2
    lost = np.array([np.nan, np.inf, -np.inf, -9999, 60_000], dtype)
    pixels[missing] = rng.choice(lost, int(missing.sum()))
    page = prepared(pixels)
    assert page.kept == missing.sum()
    assert np.array_equal(page.missing, missing)
    assert np.isfinite(page.picture.pixels).all()
    result = page.finish(np.full(pixels.shape, 0.5, np.float32), strength).pixels
    assert result.dtype == dtype
    assert result[missing].tobytes() == pixels[missing].tobytes()
    assert np.isfinite(result[~missing]).all()


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4"])
def test_results_avoid_the_value_of_missing_data(dtype: str, rng: np.random.Generator) -> None:
    pixels = heights(rng, dtype)
    pixels[pixels == 150] = 151
    missing = rng.random(pixels.shape) < 0.1
    pixels[missing] = 150
    page = prepared(pixels, replace(LINEAR, empty=(150,)))
    result = page.finish(np.full(pixels.shape, 0.5, np.float32)).pixels
    assert np.array_equal(result == 150, missing)


def test_bits_of_a_nan_are_restored() -> None:
    pixels = np.full((8, 8, 1), 150, np.float32)
    pixels.view(np.uint32)[2, 3] = 0x7FC12345
    result = prepared(pixels).finish(np.full((8, 8, 1), 0.5, np.float32)).pixels
    assert result.view(np.uint32)[2, 3].item() == 0x7FC12345


def test_missing_values_do_not_affect_neighbours(rng: np.random.Generator) -> None:
    """Missing values are filled from their surroundings, whatever they contain."""
    pixels = heights(rng)
    pixels[20:40, 10:30] = -3.4e38
    pixels[5, 5] = np.nan
    seen = prepared(pixels).picture.pixels
    assert seen.min() > 0.2
    assert seen.max() < 0.8
    assert seen[30, 20].item() == pytest.approx(0.5, abs=0.15)


def test_result_does_not_depend_on_what_is_missing(rng: np.random.Generator) -> None:
    pixels = heights(rng)
    missing = np.zeros(pixels.shape, bool)
    missing[20:40, 10:30] = True
    results = []
    for value in (-9999, np.nan, 1e38):
        pixels[missing] = value
        page = prepared(pixels)
        results.append(page.finish(page.picture.pixels.copy()).pixels[~missing])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_channels_are_filled_independently(rng: np.random.Generator) -> None:
    pixels = heights(rng, shape=(40, 30, 3)) + np.array([-30, 0, 30], np.float32)
    pixels[10:20, 10:20, 1] = np.nan
    page = prepared(pixels)
    assert page.kept == 100
    assert page.picture.pixels[15, 15] == pytest.approx([0.2, 0.5, 0.8], abs=0.2)


def test_picture_without_values_stays_as_it_is() -> None:
    pixels = np.full((9, 8, 1), np.nan, np.float32)
    page = prepared(pixels)
    assert np.isfinite(page.picture.pixels).all()
    assert page.finish(page.picture.pixels.copy()).pixels.tobytes() == pixels.tobytes()


# Means and range


@pytest.mark.parametrize("dtype", ["u2", "i2", "u4", "f4", "f8"])
def test_local_means_are_corrected(dtype: str, rng: np.random.Generator) -> None:
    pixels = heights(rng, dtype, (128, 128, 1))
    page = prepared(pixels)
    darker = page.picture.pixels * 0 + np.float32(0.47)  # constant, and 3 of 100 too dark
    result = page.finish(darker).pixels
    for area in (np.s_[:], np.s_[:64], np.s_[64:, 64:]):
        assert result[area].mean(dtype=float) == pytest.approx(pixels[area].mean(dtype=float), abs=0.15)


def test_values_outside_0_to_1_are_kept() -> None:
    """Output below 0 and above 1 is kept in floats and in signed integers."""
    ramp = np.linspace(-150, 150, 64 * 64).reshape(64, 64, 1)
    values = Values("linear", -50, 50).stretched(0.5)
    for dtype in ("i2", "i4", "f4", "f8"):
        pixels = ramp.astype(dtype)
        page = prepared(pixels, values)
        result = page.finish(page.picture.pixels.copy()).pixels
        assert result.astype(float) == pytest.approx(pixels.astype(float), abs=1.01 if dtype[0] == "i" else 1e-3)
        assert result.min() < -140
        assert result.max() > 140


def test_integers_stay_within_their_type() -> None:
    pixels = np.array([0, 3, 65533, 65535] * 16, np.uint16).reshape(8, 8, 1)
    page = prepared(pixels, Values("linear", 0, 65535).stretched(1.0))
    result = page.finish(page.picture.pixels - np.float32(0.1)).pixels
    assert result.dtype == np.uint16
    assert set(result[pixels < 4]) <= set(range(20_000))
    assert (result[pixels > 60_000] > 40_000).all()


@pytest.mark.parametrize("level", [0.1, 0.3, 0.5, 2.25, 7.9])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i4"])
def test_rounding_to_few_levels_keeps_the_mean(level: float, dtype: str, rng: np.random.Generator) -> None:
    noisy = rng.poisson(level, (128, 128, 1)).astype(dtype)
    values = Values("linear", 0, max(4, 3 * level)).stretched(0.2)
    page = prepared(noisy, values)
    result = page.finish(np.full(noisy.shape, values.seen(values.normalised(np.array(level))), np.float32)).pixels
    assert result.mean(dtype=float) == pytest.approx(noisy.mean(dtype=float), abs=0.01 + 0.01 * level)
    for part in (result[:64, :64], result[64:, 64:]):
        assert part.mean(dtype=float) == pytest.approx(level, abs=0.1 + 0.03 * level)
    assert rms(result - level) < 0.6  # no worse than plain rounding


def test_rounding_of_a_gradient_is_locally_unbiased(rng: np.random.Generator) -> None:
    truth = np.broadcast_to(np.linspace(1, 3, 256)[:, None], (64, 256, 256)[1:])
    noisy = rng.poisson(truth).astype(np.uint16)
    values = Values("linear", 0, 8).stretched(0.2)
    page = prepared(noisy, values)
    result = page.finish(values.seen(values.normalised(truth[..., None])).copy()).pixels[..., 0]
    bands = result.reshape(16, 16, 256).mean(axis=(1, 2)), noisy.reshape(16, 16, 256).mean(axis=(1, 2))
    assert bands[0] == pytest.approx(bands[1], abs=0.08)


# Strength


def test_strength_blends_with_the_input_values(rng: np.random.Generator) -> None:
    pixels = heights(rng)
    page = prepared(pixels)
    flat = np.full(pixels.shape, 0.5, np.float32)
    whole, half = (page.finish(flat.copy(), strength).pixels for strength in (1.0, 0.5))
    assert half == pytest.approx((whole + pixels) / 2, abs=1e-3)


def test_noise_is_added_to_few_photons(rng: np.random.Generator) -> None:
    """Noise of the network input has one level in dark and bright areas."""
    clean = 20 * blobs(192, rng)
    clean[:, :64] = 0
    frame = counted(clean, "u2", rng)
    values, _ = choose_values(Picture(frame[..., None]))
    assert values.kind == "photons"
    seen = prepared(frame, values).picture.pixels[..., 0]
    assert seen[:, :48].std() == pytest.approx(values.sigma, rel=0.15)
    again = prepared(frame, values).picture.pixels[..., 0]
    np.testing.assert_array_equal(seen, again)


# Dark areas of display pictures


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("level", [1, 2, 5])
def test_mean_of_dark_areas_is_kept(level: int, dtype: type[np.unsignedinteger]) -> None:
    unit = np.iinfo(dtype).max // 255
    noisy = np.full((96, 80, 3), level * unit, dtype)
    denoised = np.full((96, 80, 3), (level - 1) * unit, dtype)
    keep_dark_means(noisy, denoised)
    assert denoised.mean() == pytest.approx(level * unit, rel=0.01)


def test_bright_areas_are_not_corrected(rng: np.random.Generator) -> None:
    noisy = rng.integers(40, 200, (96, 80, 3)).astype(np.uint8)
    denoised = np.clip(noisy.astype(int) - 3, 0, 255).astype(np.uint8)
    denoised[:40], noisy[:40] = 0, 2
    before = denoised.copy()
    keep_dark_means(noisy, denoised)
    np.testing.assert_array_equal(denoised[64:], before[64:])
    assert denoised[:16].mean() == pytest.approx(2, abs=0.2)


def test_mean_of_clipped_noise_is_not_restored(rng: np.random.Generator) -> None:
    """Noise that was clipped at black makes the input brighter than the ground truth."""
    noisy = np.clip(np.rint(rng.normal(0, 15, (96, 80, 1))), 0, 255).astype(np.uint8)
    denoised = np.ones_like(noisy)
    keep_dark_means(noisy, denoised)
    assert denoised.mean() == 1


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (9, 200)])
def test_dark_pictures_of_any_size_keep_their_mean(size: tuple[int, int]) -> None:
    noisy = np.full((*size, 3), 4, np.uint8)
    denoised = np.full_like(noisy, 3)
    keep_dark_means(noisy, denoised)
    assert (denoised == (4 if min(size) >= 8 else 3)).all()
