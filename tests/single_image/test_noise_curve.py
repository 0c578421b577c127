"""The variance of noise by brightness, estimated from noisy crops."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.nn.functional import Array
from n2n_cli.single_image.noise_curve import NoiseCurve


def squares(rng: np.random.Generator) -> Array:
    """Flat squares of 12 pixels, (1, 2, 192, 192)."""
    return rng.uniform(0.1, 0.9, (1, 2, 16, 16)).repeat(12, axis=2).repeat(12, axis=3)


def test_variance_of_photon_noise_grows_with_brightness(rng: np.random.Generator) -> None:
    clean = squares(rng)
    noisy = np.concatenate(
        [rng.poisson(clean[:, :1] * 200) / 200, clean[:, 1:] + rng.normal(0, 0.05, clean[:, 1:].shape)], 1
    )
    curve = NoiseCurve([noisy[..., :96], noisy[..., 96:]], [clean[..., :96], clean[..., 96:]])
    levels = np.array([0.2, 0.5, 0.8]).reshape(1, 1, 1, 3).repeat(2, axis=1)
    variances = curve(levels)
    assert variances.shape == levels.shape
    np.testing.assert_allclose(variances[0, 0, 0], levels[0, 0, 0] / 200, rtol=0.2)
    np.testing.assert_allclose(variances[0, 1, 0], 0.05**2, rtol=0.2)


def test_variance_is_constant_beyond_the_observed_levels(rng: np.random.Generator) -> None:
    clean = squares(rng)
    curve = NoiseCurve([rng.poisson(clean * 200) / 200], [clean])
    dark, darkest, bright, brightest = curve(np.array([0.05, -3, 0.95, 3]).reshape(1, 1, 1, 4).repeat(2, axis=1))[
        0, 0, 0
    ]
    assert (dark, bright) == (darkest, brightest)
    assert 0 < dark < bright


@pytest.mark.parametrize("side", [2, 8])
def test_few_cells_give_one_variance_for_all_levels(side: int, rng: np.random.Generator) -> None:
    noisy = rng.normal(0.5, 0.1, (1, 1, side, side))
    variances = NoiseCurve([noisy], [np.full_like(noisy, 0.5)])(noisy)
    assert np.ptp(variances) == 0
    assert variances[0, 0, 0, 0] > 0
