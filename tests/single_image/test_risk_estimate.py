"""The difference in risk of two denoisers, estimated from the noisy picture alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from n2n_cli.nn.functional import Array
from n2n_cli.single_image.risk_estimate import Risk, hide, tell_variance, window


def blurred(weight: float) -> Callable[[Array], Array]:
    """Denoiser: the mean of the four neighbours with this weight, and the pixel with the rest."""

    def denoise(x: Array) -> Array:
        around = sum(np.roll(x, step, axis) for step in (1, -1) for axis in (2, 3)) / np.float32(4)
        mixed: Array = np.float32(weight) * around + np.float32(1 - weight) * x
        return mixed

    return denoise


def smooth(side: int) -> Array:
    """A smooth picture, (1, 3, H, W)."""
    ramp = np.linspace(0.2, 0.8, side, dtype=np.float32)
    return np.broadcast_to(ramp[:, None] * ramp, (1, 3, side, side)).copy()


def striped(side: int) -> Array:
    """A checkerboard, (1, 3, H, W): neighbours do not predict a pixel."""
    return np.broadcast_to(np.indices((side, side)).sum(axis=0) % 2, (1, 3, side, side)).astype(np.float32)


def risk_of(x: Array, sigma: float = math.nan) -> Risk:
    rng = np.random.default_rng(3)
    held = np.zeros(x.shape[2:], bool)
    held[8:-8, 8:-8] = True
    return Risk([window(x, held, np.zeros_like(held), rng=rng)], sigma)


def noise(shape: tuple[int, ...], sigma: float) -> Array:
    return (sigma * np.random.default_rng(1).normal(size=shape)).astype(np.float32)


def test_risk_of_the_first_denoiser_is_zero() -> None:
    risk = risk_of(smooth(64) + noise((1, 3, 64, 64), 0.1))
    assert risk(blurred(0.5)) == 0
    assert risk(blurred(0.5)) == 0


def test_risk_is_the_difference_of_errors_for_white_noise() -> None:
    clean = smooth(160)
    noisy = clean + noise(clean.shape, 0.1)
    inner = (..., slice(8, -8), slice(8, -8))
    first, better, worse = (float(np.mean((blurred(w)(noisy) - clean)[inner] ** 2)) for w in (0.6, 0.8, 0.3))
    risk = risk_of(noisy, 0.1)
    risk(blurred(0.6))
    assert better < first < worse
    assert risk(blurred(0.3)) == pytest.approx(worse - first, rel=0.15)
    assert risk(blurred(0.8)) < 0.5 * (better - first)


def test_risk_is_positive_for_denoiser_that_blurs_texture() -> None:
    clean = striped(64)
    risk = risk_of(clean + noise(clean.shape, 0.05), 0.05)
    risk(blurred(0.0))
    assert risk(blurred(0.5)) > 0.1


def test_risk_is_positive_for_denoiser_that_memorised_the_picture() -> None:
    clean = smooth(64)
    noisy = clean + noise(clean.shape, 0.1)
    risk = risk_of(noisy, 0.1)
    risk(blurred(0.5))

    def knowing(x: Array) -> Array:  # returns the clean picture if the input hardly differs from the noisy one
        return clean if np.abs(x - noisy).max() < 0.02 else x

    assert risk(knowing) > 0.001
    assert risk(lambda x: clean) < -0.001


def test_any_change_of_silent_pixels_counts_as_error() -> None:
    clean = smooth(64)
    noisy = clean + noise(clean.shape, 0.1)
    held, silent = np.zeros((2, 64, 64), bool)
    held[8:56, 8:40], silent[8:56, 40:56] = True, True
    risk = Risk([window(noisy, held, silent, rng=np.random.default_rng(3))], 0.1)
    alone = Risk([window(noisy, held, np.zeros_like(held), rng=np.random.default_rng(3))], 0.1)
    for each in (risk, alone):
        each(blurred(0.5))
    step = np.where(np.arange(64) < 40, 0, 0.03)
    wanted = 2 / 3 * alone(blurred(0.6)) + 0.03**2 / 3
    assert risk(lambda x: np.where(step > 0, blurred(0.5)(x), blurred(0.6)(x)) + step) == pytest.approx(
        wanted, rel=0.02
    )


def test_risk_is_not_negative_when_all_pixels_are_silent() -> None:
    x = smooth(64)
    nowhere, everywhere = np.zeros((64, 64), bool), np.ones((64, 64), bool)
    risk = Risk([window(x, nowhere, everywhere, rng=np.random.default_rng(3))], 0.1)
    assert risk(blurred(0.5)) == 0
    assert risk(blurred(0.7)) > 0


def test_risk_without_windows_is_nan() -> None:
    assert math.isnan(Risk([], 0.1)(blurred(1)))


def test_variance_comes_from_removed_noise_or_smooth_areas() -> None:
    assert tell_variance(0.3, 0.06, 0.2) == pytest.approx(0.1)
    assert tell_variance(0.5, 0.06, 0.6) == 0.25
    assert tell_variance(math.nan, 0.06, 0.6) == 0.06
    assert tell_variance(math.nan, 0.06, 0.2) == pytest.approx(0.1)


def test_denoiser_that_removes_small_changes_but_keeps_noise_is_found() -> None:
    assert math.isnan(tell_variance(0.5, 0.07, 0.2))  # half of 0.25 * 0.6 is 0.075
    assert tell_variance(0.5, 0.08, 0.2) == pytest.approx(0.08 / 0.6)
    clean = smooth(64)
    noisy = clean + noise(clean.shape, 0.1)
    risk = risk_of(noisy, 0.1)

    def timid(x: Array) -> Array:
        return np.asarray(noisy + np.float32(0.1) * (x - noisy))

    assert risk(timid) == 0
    assert math.isnan(risk.variance)
    assert risk(blurred(0.9)) > 0  # judged by its predictions of hidden pixels
    assert risk(lambda x: clean) < risk(blurred(0.9))


def test_hidden_pixels_take_all_channels_of_one_neighbour(rng: np.random.Generator) -> None:
    x = rng.permutation(2 * 3 * 20 * 30).reshape(2, 3, 20, 30).astype(np.float32)
    among = np.zeros((20, 30), bool)
    among[:, 5:] = True
    hidden, places = hide(x, among, rng=rng)
    assert not places[:, :5].any()
    assert not places[[0, -1]].any()
    assert not places[:, -1].any()
    np.testing.assert_array_equal(hidden == x, np.broadcast_to(~places, x.shape))
    seen = set()
    for row, column in np.argwhere(places):
        around = x[:, :, row - 1 : row + 2, column - 1 : column + 2]
        offsets = {tuple(np.argwhere(around[n, c] == hidden[n, c, row, column])[0]) for n in range(2) for c in range(3)}
        assert len(offsets) == 1
        seen |= offsets
    assert len(seen) > 4
    rows, columns = np.nonzero(places)
    assert len(set(rows % 4)) == len(set(columns % 4)) == 1
