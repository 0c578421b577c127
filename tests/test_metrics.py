from __future__ import annotations

import math

import numpy as np
import pytest

from n2n_cli.errors import ShapeError
from n2n_cli.metrics import decibel, mean_psnr, mean_squared_error, pooled_psnr, psnr


def test_psnr_by_hand() -> None:
    clean = np.full((3, 4, 5), 0.5)
    assert psnr(clean + 0.1, clean) == pytest.approx(20)
    assert psnr(clean - 0.01, clean) == pytest.approx(40)
    one_wrong = clean.copy()
    one_wrong[1, 2, 3] += 0.3
    assert psnr(one_wrong, clean) == pytest.approx(10 * math.log10(60 / 0.09))


def test_psnr_of_the_largest_error_is_zero() -> None:
    assert psnr(np.zeros((1, 2, 3)), np.ones((1, 2, 3))) == 0


def test_psnr_of_noise_is_that_of_its_variance(rng: np.random.Generator) -> None:
    clean = np.full((3, 100, 200), 0.5)
    assert psnr(clean + rng.normal(scale=0.05, size=clean.shape), clean) == pytest.approx(
        -20 * math.log10(0.05), abs=0.1
    )


def test_identical_pictures() -> None:
    picture = np.random.default_rng(0).random((3, 4, 5))
    assert mean_squared_error(picture, picture) == 0
    assert psnr(picture, picture) == math.inf


def test_the_error_is_the_same_both_ways_and_leaves_its_input(rng: np.random.Generator) -> None:
    a, b = rng.normal(0.5, 1, (2, 3, 4, 5))
    copies = a.copy(), b.copy()
    assert mean_squared_error(a, b) == mean_squared_error(b, a) > 0
    assert np.array_equal((a, b), copies)


def test_both_pictures_are_clipped_first() -> None:
    assert psnr(np.array([-3.0, 0.5, 9.0]), np.array([0.0, 0.5, 1.0])) == math.inf
    assert psnr(np.array([0.0, 0.5, 1.0]), np.array([-3.0, 0.5, 9.0])) == math.inf
    assert mean_squared_error(np.array([2.0]), np.array([0.5])) == 0.25


def test_the_error_is_taken_in_double_precision(rng: np.random.Generator) -> None:
    a, b = rng.random((2, 3, 40, 50), dtype=np.float32)
    wanted = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    assert mean_squared_error(a, b) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("shapes", [((3, 4, 5), (3, 5, 4)), ((3, 4, 5), (1, 4, 5)), ((4, 5), (1, 4, 5))])
def test_pictures_of_different_shapes(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ShapeError) as caught:
        psnr(np.zeros(shapes[0]), np.zeros(shapes[1]))
    assert str(caught.value) == f"a picture of shape {shapes[0]} cannot be compared with one of shape {shapes[1]}"


def test_the_mean_of_psnrs_is_not_the_psnr_of_the_mean() -> None:
    errors = [1e-2, 1e-4]
    assert mean_psnr(errors) == pytest.approx(30)
    assert pooled_psnr(errors) == pytest.approx(-10 * math.log10(5.05e-3))
    assert mean_psnr(iter(errors)) == mean_psnr(errors)
    assert pooled_psnr(iter(errors)) == pooled_psnr(errors)


def test_one_picture_has_one_figure() -> None:
    assert mean_psnr([3e-3]) == pooled_psnr([3e-3]) == decibel(3e-3)


def test_a_perfect_picture_in_a_set() -> None:
    assert mean_psnr([0, 1e-2]) == math.inf
    assert pooled_psnr([0, 1e-2]) == pytest.approx(-10 * math.log10(5e-3))
    assert pooled_psnr([0, 0]) == math.inf


def test_what_is_not_a_number_has_no_figure() -> None:
    broken = np.array([0.5, np.nan])
    assert math.isnan(psnr(broken, np.zeros(2)))
    assert math.isnan(mean_psnr([1e-2, math.nan]))
    assert math.isnan(pooled_psnr([1e-2, math.nan]))
