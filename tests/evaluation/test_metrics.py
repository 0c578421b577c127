from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from numpy.typing import DTypeLike
from skimage.metrics import structural_similarity

from n2n_cli.errors import ShapeError
from n2n_cli.evaluation.metrics import mean_psnr, mean_squared_error, pooled_psnr, psnr, ssim
from n2n_cli.nn.functional import Shape


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


def test_identical_pictures_have_infinite_psnr() -> None:
    picture = np.random.default_rng(0).random((3, 4, 5))
    assert mean_squared_error(picture, picture) == 0
    assert psnr(picture, picture) == math.inf


def test_mean_squared_error_is_symmetric_and_keeps_its_input(rng: np.random.Generator) -> None:
    a, b = rng.normal(0.5, 1, (2, 3, 4, 5))
    copies = a.copy(), b.copy()
    assert mean_squared_error(a, b) == mean_squared_error(b, a) > 0
    assert np.array_equal((a, b), copies)


def test_both_pictures_are_clipped() -> None:
    assert psnr(np.array([-3.0, 0.5, 9.0]), np.array([0.0, 0.5, 1.0])) == math.inf
    assert psnr(np.array([0.0, 0.5, 1.0]), np.array([-3.0, 0.5, 9.0])) == math.inf
    assert mean_squared_error(np.array([2.0]), np.array([0.5])) == 0.25


def test_mean_squared_error_is_computed_in_float64(rng: np.random.Generator) -> None:
    a, b = rng.random((2, 3, 40, 50), dtype=np.float32)
    wanted = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    assert mean_squared_error(a, b) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("shapes", [((3, 4, 5), (3, 5, 4)), ((3, 4, 5), (1, 4, 5)), ((4, 5), (1, 4, 5))])
def test_pictures_of_different_shapes_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ShapeError) as caught:
        psnr(np.zeros(shapes[0]), np.zeros(shapes[1]))
    assert str(caught.value) == f"a picture of shape {shapes[0]} cannot be compared with one of shape {shapes[1]}"


def test_mean_psnr_and_pooled_psnr() -> None:
    errors = [1e-2, 1e-4]
    assert mean_psnr(errors) == pytest.approx(30)
    assert pooled_psnr(errors) == pytest.approx(-10 * math.log10(5.05e-3))
    assert mean_psnr(iter(errors)) == mean_psnr(errors)
    assert pooled_psnr(iter(errors)) == pooled_psnr(errors)


def test_set_with_a_perfect_picture() -> None:
    assert mean_psnr([0, 1e-2]) == math.inf
    assert pooled_psnr([0, 1e-2]) == pytest.approx(-10 * math.log10(5e-3))
    assert pooled_psnr([0, 0]) == math.inf


def test_nan_gives_nan() -> None:
    broken = np.array([0.5, np.nan])
    assert math.isnan(psnr(broken, np.zeros(2)))
    assert math.isnan(mean_psnr([1e-2, math.nan]))
    assert math.isnan(pooled_psnr([1e-2, math.nan]))


# Structural similarity


@pytest.mark.parametrize("shape", [(1, 11, 11), (3, 11, 40), (1, 64, 65), (3, 120, 173), (2, 54, 118)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ssim_matches_scikit_image(shape: Shape, dtype: DTypeLike, rng: np.random.Generator) -> None:
    clean = rng.random((shape[0], -(-shape[1] // 4), -(-shape[2] // 4)))
    clean = clean.repeat(4, axis=1).repeat(4, axis=2)[:, : shape[1], : shape[2]].astype(dtype)
    for sigma in (0.01, 0.2):
        noisy = np.clip(clean + rng.normal(scale=sigma, size=shape), 0, 1).astype(dtype)
        wanted = structural_similarity(
            noisy,
            clean,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=0,
            data_range=1,
        )
        assert 0.1 < wanted < 0.9999
        assert ssim(noisy, clean) == pytest.approx(wanted, abs=1e-6)


def test_ssim_by_hand() -> None:
    # Constant images differ only in luminance: (2 a b + C1) / (a^2 + b^2 + C1).
    a, b = np.full((3, 15, 80), 0.2), np.full((3, 15, 80), 0.6)
    assert ssim(a, b) == pytest.approx((0.24 + 1e-4) / (0.4 + 1e-4))
    assert ssim(a[:, :1, :1], b[:, :1, :1]) == pytest.approx((0.24 + 1e-4) / (0.4 + 1e-4))
    # One window of two pixels with weights of one half: means 0.5, variances 0.25, covariance -0.25.
    x = np.array([[[0.0, 1.0]]])
    assert ssim(x, 1 - x) == pytest.approx((-0.5 + 9e-4) / (0.5 + 9e-4))


def test_ssim_of_a_short_side_uses_a_truncated_window(rng: np.random.Generator) -> None:
    a, b = rng.random((2, 1, 1, 3))
    w = np.exp(-0.5 * np.array([1, 0, 1]) / 1.5**2)
    w /= w.sum()
    (x, y), c1, c2 = (a[0, 0], b[0, 0]), 1e-4, 9e-4
    mean_x, mean_y = w @ x, w @ y
    spread = w @ (x - mean_x) ** 2 + w @ (y - mean_y) ** 2
    together = w @ ((x - mean_x) * (y - mean_y))
    wanted = (2 * mean_x * mean_y + c1) * (2 * together + c2) / ((mean_x**2 + mean_y**2 + c1) * (spread + c2))
    assert ssim(a, b) == pytest.approx(wanted)
    assert ssim(a.swapaxes(1, 2), b.swapaxes(1, 2)) == pytest.approx(wanted)


def test_ssim_is_one_for_equal_pictures_and_symmetric(rng: np.random.Generator) -> None:
    a, b = rng.random((2, 3, 70, 13))
    assert ssim(a, a) == pytest.approx(1, abs=1e-12)
    assert ssim(a, b) == pytest.approx(ssim(b, a))
    assert ssim(a, b) < 0.2


def test_ssim_clips_both_pictures_and_keeps_its_input(rng: np.random.Generator) -> None:
    a, b = rng.normal(0.5, 1, (2, 3, 20, 21))
    copies = a.copy(), b.copy()
    assert ssim(a, b) == ssim(np.clip(a, 0, 1), np.clip(b, 0, 1))
    assert np.array_equal((a, b), copies)


@pytest.mark.parametrize("shapes", [((3, 4, 5), (3, 5, 4)), ((4, 5), (4, 5)), ((1, 3, 4, 5), (1, 3, 4, 5))])
def test_ssim_of_unsuitable_shapes_is_refused(shapes: tuple[Shape, Shape]) -> None:
    with pytest.raises(ShapeError, match="shape"):
        ssim(np.zeros(shapes[0]), np.zeros(shapes[1]))


def test_mean_squared_error_takes_less_memory_than_a_float64_copy(rng: np.random.Generator) -> None:
    large = rng.random((3, 1400, 1201), dtype=np.float32)
    other = np.moveaxis(np.moveaxis(large, 0, -1).copy(), -1, 0)  # channels last in memory
    other[1, 1399, 1200] += 0.5
    for clean in (np.zeros_like(large), other):
        wanted = np.mean((large.astype(np.float64) - np.clip(clean, 0, 1)) ** 2)
        tracemalloc.start()
        assert mean_squared_error(large, clean) == pytest.approx(wanted, rel=1e-12)
        assert tracemalloc.get_traced_memory()[1] < large.size * 8
        tracemalloc.stop()


def test_empty_pictures_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"^pictures of shape \(3, 0, 5\) have nothing to compare$"):
        psnr(np.zeros((3, 0, 5)), np.zeros((3, 0, 5)))
