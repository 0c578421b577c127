"""Noise level estimated from constant, textured, clipped and small images."""

from __future__ import annotations

import math

import numpy as np
import pytest

from n2n_cli.data.dead_leaves import dead_leaves
from n2n_cli.images.pixels import to_float, to_integer
from n2n_cli.nn.functional import Array
from n2n_cli.noise import level as noise_level
from n2n_cli.noise.level import MIN_SIDE, estimate_sigma, spread_tiles

SIGMAS = (5, 10, 15, 25, 35, 50)


@pytest.fixture(scope="module")
def photographs() -> list[Array]:
    """Clean (H, W, C) images in [0, 1]: dead leaves, and a gray one.

    Dead leaves have edges everywhere.
    """
    pictures = [to_float(picture) for picture in dead_leaves(3, 256, seed=3)]
    return [*pictures, pictures[1].mean(axis=2, keepdims=True)]


def noisy(clean: Array, sigma_255: float, seed: int = 0) -> Array:
    noise = np.random.default_rng(seed).standard_normal(clean.shape, dtype=np.float32)
    view: Array = clean + np.float32(sigma_255 / 255) * noise
    return view


@pytest.mark.parametrize("sigma", SIGMAS)
def test_estimate_is_within_10_percent(sigma: int, photographs: list[Array]) -> None:
    for clean in photographs:
        view = noisy(clean, sigma)
        assert estimate_sigma(view) == pytest.approx(sigma, rel=0.1)
        for depth in (np.uint8, np.uint16):  # clipped and rounded
            assert estimate_sigma(to_integer(view, depth)) == pytest.approx(sigma, rel=0.1)


def test_texture_is_not_taken_for_noise(photographs: list[Array]) -> None:
    """Half of the image is a texture with diagonal detail in every window."""
    clean = photographs[0].copy()
    y, x = np.mgrid[:256, :128]
    clean[:, 128:] = 0.5 + 0.15 * np.sin(2.4 * x + 0.3)[..., None] * np.sin(2.1 * y)[..., None]
    diagonal = clean[1:, 1:] + clean[:-1, :-1] - clean[1:, :-1] - clean[:-1, 1:]
    assert 255 * np.median(np.abs(diagonal)) / 2 / 0.6745 > 10  # the error of a simple estimate
    assert estimate_sigma(noisy(clean, 5)) == pytest.approx(5, rel=0.1)


@pytest.mark.parametrize("level", [0.02, 0.1, 0.9, 0.98])
def test_noise_clipped_at_black_or_white(level: float) -> None:
    view = noisy(np.full((300, 320, 3), level, np.float32), 25)
    clipped = to_integer(view, np.uint8)
    assert 255 * (clipped / 255).std() < 22  # the deviation after clipping
    assert estimate_sigma(clipped) == pytest.approx(25, rel=0.15)
    assert estimate_sigma(view) == pytest.approx(25, rel=0.05)  # the floats are not clipped


def test_clipped_areas_do_not_lower_the_estimate() -> None:
    clean = np.full((256, 256, 1), 0.5, np.float32)
    clean[:, 40:] = 1.5  # overexposed: clipping removes all noise
    clean[:100, 40:] = -0.5
    assert estimate_sigma(to_integer(noisy(clean, 20), np.uint8)) == pytest.approx(20, rel=0.1)


def test_standard_deviation_of_clipped_noise() -> None:
    rng = np.random.default_rng(0)
    pixels = noise_level._PIXELS**2
    for low, high in ((-9.0, 1.0), (-0.5, 9.0), (-1.0, 0.5), (0.3, 9.0)):
        sample = rng.standard_normal(400_000)
        black, white = (round(pixels * share) for share in (np.mean(sample < low), np.mean(sample > high)))
        assert noise_level._kept(black, white) == pytest.approx(np.clip(sample, low, high).std(), rel=0.04)
    assert noise_level._kept(0, 0) == 1
    assert noise_level._kept(pixels, 0) == noise_level._kept(30, pixels - 30) == 1


@pytest.mark.parametrize("value", [0, 77, 255])
def test_noise_of_flat_or_smooth_picture_is_near_0(value: int) -> None:
    assert estimate_sigma(np.full((40, 50, 3), value, np.uint8)) < 1e-9
    slope = np.broadcast_to(np.linspace(0.1, 0.9, 60, dtype=np.float32)[:, None, None], (60, 50, 1))
    assert estimate_sigma(slope) < 0.01


def test_depths_and_floats_agree(photographs: list[Array]) -> None:
    stored = to_integer(noisy(photographs[1], 40), np.uint8)
    sigma = estimate_sigma(stored)
    assert estimate_sigma(to_float(stored)) == sigma
    assert estimate_sigma(stored.astype(np.uint16) * 257) == pytest.approx(sigma, rel=1e-5)


def test_estimate_barely_depends_on_orientation(photographs: list[Array]) -> None:
    view = noisy(photographs[2], 20)
    copy = view.copy()
    assert estimate_sigma(view.swapaxes(0, 1)) == pytest.approx(estimate_sigma(view), rel=0.03)
    assert np.array_equal(view, copy)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (MIN_SIDE - 1, 900), (900, MIN_SIDE - 1)])
def test_small_pictures_give_nan(size: tuple[int, int]) -> None:
    for channels in (1, 3):
        assert math.isnan(estimate_sigma(np.zeros((*size, channels), np.uint8)))


@pytest.mark.parametrize("size", [(16, 16), (17, 16), (16, 300), (23, 31)])
def test_noise_of_smallest_measurable_pictures_is_found(size: tuple[int, int]) -> None:
    sigmas = [estimate_sigma(noisy(np.full((*size, 3), 0.5, np.float32), 20, seed)) for seed in range(8)]
    assert np.mean(sigmas) == pytest.approx(20, rel=0.15)


@pytest.mark.parametrize("size", [(1100, 1300), (16, 80_000), (80_000, 17), (300, 5000), (8000, 300)])
def test_tiles_of_a_large_picture_reach_its_edges(size: tuple[int, int]) -> None:
    places = np.arange(math.prod(size)).reshape(*size, 1)
    tiles = spread_tiles(places)
    rows, columns = min(128, size[0]), min(128, size[1])
    assert tiles.shape[1:] == (rows, columns, 1)
    assert 16 <= len(tiles) <= 64
    assert (tiles[0, 0, 0], tiles[-1, -1, -1]) == (0, places.size - 1)
    assert len(np.unique(tiles)) == tiles.size  # no overlap
    assert np.array_equal(tiles[0, :, :, 0], places[:rows, :columns, 0])


def test_small_picture_is_one_tile() -> None:
    assert spread_tiles(np.zeros((1024, 1024, 1), np.uint8)).shape == (1, 1024, 1024, 1)
    flat = np.full((1500, 1200, 1), 0.5, np.float32)
    assert estimate_sigma(noisy(flat, 15)) == pytest.approx(15, rel=0.05)
