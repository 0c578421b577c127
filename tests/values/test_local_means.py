"""Local means: exact for constants, local, and unbiased at the edges."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.nn.functional import Array
from n2n_cli.values.local_means import BLOCK, LocalMeans, block_sums


def means_of(differences: Array, weights: Array | None = None, rows: int = 1000) -> Array:
    """Local means at all pixels, computed in bands of `rows` rows."""
    means = LocalMeans(differences.shape)
    weights = np.ones(differences.shape) if weights is None else weights
    for top in range(0, len(differences), rows):
        means.add(top, differences[top : top + rows], weights[top : top + rows])
    means.smooth()
    return means.rows(0, len(differences))


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 9, 3), (8, 8, 1), (65, 33, 1), (16, 200, 3)])
def test_constant_stays_constant_up_to_the_edges(shape: tuple[int, ...]) -> None:
    found = means_of(np.full(shape, -3.5))
    assert found.shape == shape
    assert found.dtype == np.float32
    assert found == pytest.approx(-3.5)


def test_channels_are_independent() -> None:
    differences = np.broadcast_to(np.array([1.0, 2, 5]), (20, 30, 3))
    assert means_of(differences) == pytest.approx(differences)


def test_result_does_not_depend_on_bands(rng: np.random.Generator) -> None:
    differences = rng.normal(size=(75, 41, 1))
    np.testing.assert_array_equal(means_of(differences, rows=2 * BLOCK), means_of(differences))
    means = LocalMeans(differences.shape)
    means.add(0, differences, np.ones_like(differences))
    means.smooth()
    np.testing.assert_array_equal(np.concatenate([means.rows(0, 24), means.rows(24, 75)]), means.rows(0, 75))


def test_mean_of_white_noise_nearly_vanishes(rng: np.random.Generator) -> None:
    found = means_of(rng.normal(size=(256, 256, 1)))
    assert found.std() < 0.04  # over about 900 pixels


def test_distant_pixels_have_no_weight() -> None:
    differences = np.zeros((96, 96, 1))
    differences[:, :8] = 1
    found = means_of(differences)
    assert found[:, 40:].max() == 0
    assert found[:, 0].min() > 0.5


def test_pixels_of_weight_zero_are_ignored(rng: np.random.Generator) -> None:
    differences, weights = np.full((64, 64, 1), 2.0), np.ones((64, 64, 1))
    differences[10:30, 5:50], weights[10:30, 5:50] = 1e6, 0
    assert means_of(differences, weights) == pytest.approx(2)
    assert means_of(differences, np.zeros_like(weights)) == pytest.approx(0)


def test_last_block_may_be_incomplete() -> None:
    sums = block_sums(np.ones((19, 9, 1)))
    assert sums[..., 0].tolist() == [[64, 8], [64, 8], [24, 3]]
