"""Limits on what a network may remove."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.nn.functional import Array
from n2n_cli.values.outstanding import keep_outstanding
from tests.values.frames import rms

SIGMA = 0.02


def kept(denoised: Array, seen: Array, sigma: float = SIGMA, missing: Array | None = None) -> Array:
    result = denoised.astype(np.float32)
    nothing = np.zeros(seen.shape, bool)
    keep_outstanding(result, seen.astype(np.float32), nothing if missing is None else missing, sigma)
    return result


def noise(rng: np.random.Generator, shape: tuple[int, int] = (120, 90)) -> Array:
    return SIGMA * rng.standard_normal((*shape, 1))


@pytest.mark.parametrize("sign", [1, -1])
def test_most_light_that_a_network_removes_from_a_star_is_restored(sign: int, rng: np.random.Generator) -> None:
    star = np.zeros((120, 90, 1))
    star[50:57, 40:47] = sign * 3 * SIGMA
    result = kept(np.zeros(star.shape), star + noise(rng))
    assert 0.6 < result[48:59, 38:49].sum() / star.sum() < 1.1
    assert rms(result[:40]) < 0.03 * SIGMA


def test_no_pixel_changes_by_more_than_four_standard_deviations(rng: np.random.Generator) -> None:
    seen = noise(rng)
    seen[::10, ::10] = 0.5
    assert np.abs(kept(np.zeros(seen.shape), seen) - seen).max() < 4.2 * SIGMA


def test_noise_is_not_restored(rng: np.random.Generator) -> None:
    assert rms(kept(np.zeros((400, 300, 1)), noise(rng, (400, 300)))) < 0.02 * SIGMA


def test_correlated_noise_is_not_restored(rng: np.random.Generator) -> None:
    fine = noise(rng, (202, 152))
    shared = (fine[1:-1, 1:-1] + fine[:-2, 1:-1] + fine[2:, 1:-1] + fine[1:-1, :-2] + fine[1:-1, 2:])[:200, :150]
    assert rms(kept(np.zeros(shared.shape), shared)) < 0.03 * rms(shared)


def test_missing_values_are_ignored() -> None:
    seen, missing = np.zeros((30, 20, 1)), np.zeros((30, 20, 1), bool)
    seen[10:13, 10:13], missing[10:13, 10:13] = 3 * SIGMA, True
    assert not kept(np.zeros(seen.shape), seen, missing=missing).any()


def test_noise_of_unknown_level_sets_no_limit(rng: np.random.Generator) -> None:
    assert not kept(np.zeros((120, 90, 1)), noise(rng), np.inf).any()


def test_channels_have_limits_of_their_own(rng: np.random.Generator) -> None:
    seen = np.concatenate([noise(rng), 20 * noise(rng)], axis=2)
    seen[50:57, 40:47, 0] += 3 * SIGMA
    result = kept(np.zeros(seen.shape), seen)
    assert result[50:57, 40:47, 0].mean() > 2 * SIGMA
    assert rms(result[..., 1]) < 0.4 * SIGMA


def test_result_does_not_depend_on_bands() -> None:
    star = np.zeros((300, 4100, 1))
    for row in range(4, 290, 25):
        star[row : row + 9, 70:79] = 3 * SIGMA
    corrected = kept(np.zeros(star.shape), star)
    assert corrected.max() > 2 * SIGMA
    assert np.array_equal(kept(np.zeros(star.shape).swapaxes(0, 1), star.swapaxes(0, 1)), corrected.swapaxes(0, 1))
