"""Detection of noise that was clipped at black or white."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.images import Picture
from n2n_cli.nn.functional import Array
from n2n_cli.single_image.clipping import Clipping

SIGMA = 0.1


def noisy(clean: Array, rng: np.random.Generator, depth: type = np.uint8) -> Picture:
    """A clean (H, W, C) picture with noise, clipped and rounded to a depth."""
    values = np.clip(clean + rng.normal(0, SIGMA, clean.shape), 0, 1)
    return Picture(np.round(values * np.iinfo(depth).max).astype(depth))


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_clipped_areas_are_found(depth: type, level: float, rng: np.random.Generator) -> None:
    clean = np.full((60, 61, 3), 0.5)
    assert not Clipping([noisy(clean, rng, depth)], SIGMA).found
    clean[:9, :9] = level
    clipping = Clipping([noisy(clean, rng, depth)], SIGMA)
    assert clipping.found
    where = clipping(np.moveaxis(clean, -1, 0)[None])
    assert where.shape == (1, 1, 60, 61)
    np.testing.assert_array_equal(where[0, 0], clean[..., 0] == level)


def test_clipping_of_one_channel_is_found(rng: np.random.Generator) -> None:
    clean = np.full((60, 60, 3), 0.5)
    clean[:20, :20, 1] = 0
    clipping = Clipping([noisy(clean, rng)], SIGMA)
    assert clipping.found
    assert clipping(np.moveaxis(clean, -1, 0)[None]).sum() == 400


def test_margin_around_clipped_levels_scales_with_noise(rng: np.random.Generator) -> None:
    denoised = np.array([0.0, 0.24, 0.26, 0.74, 0.76, 1.0]).reshape(1, 1, 1, 6)
    black = Clipping([noisy(np.zeros((20, 20, 1)), rng)], SIGMA)
    np.testing.assert_array_equal(black(denoised).ravel(), [True, True, False, False, False, False])
    white = Clipping([noisy(np.ones((20, 20, 1)), rng)], SIGMA)
    np.testing.assert_array_equal(white(denoised).ravel(), [False, False, False, False, True, True])


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_impulse_noise_is_not_clipping(share: float, rng: np.random.Generator) -> None:
    pixels = np.full((200, 200, 1), 128, np.uint8)
    pixels[rng.random(pixels.shape) < share / 2] = 0
    pixels[rng.random(pixels.shape) < share / 2] = 255
    assert not Clipping([Picture(pixels)], SIGMA).found


def test_floats_outside_0_to_1_are_not_clipped(rng: np.random.Generator) -> None:
    values = rng.normal(0.5, SIGMA, (40, 40, 1)).astype(np.float32)
    for end, beyond in ((0, -0.1), (1, 1.1)):
        values[:9, :9] = end
        values[20, 20] = 0.5
        assert Clipping([Picture(values)], SIGMA).found
        values[20, 20] = beyond
        assert not Clipping([Picture(values)], SIGMA).found


def test_few_black_cells_are_not_clipping() -> None:
    pixels = np.full((200, 200, 1), 128, np.uint8)  # 10,000 cells
    pixels[:, 0] = 0  # half of each cell
    pixels[51::10, 51:53] = 0  # a quarter of two cells
    pixels[100:102, 20:22] = [[[0], [0]], [[0], [1]]]
    assert not Clipping([Picture(pixels)], SIGMA).found
    pixels[100:102, 100:104] = 0  # two cells
    assert not Clipping([Picture(pixels)], SIGMA).found
    pixels[100:102, 104:106] = 0
    assert Clipping([Picture(pixels)], SIGMA).found


def test_clipping_in_any_part_of_a_picture_is_found() -> None:
    gray, black = np.full((40, 40, 1), 128, np.uint8), np.zeros((40, 40, 1), np.uint8)
    assert Clipping([Picture(gray), Picture(black)], SIGMA).black
    assert not Clipping([Picture(gray), Picture(gray)], SIGMA).found


def test_transparent_areas_do_not_count() -> None:
    pixels, alpha = np.full((40, 40, 3), 128, np.uint8), np.full((40, 40), 255, np.uint8)
    pixels[:9] = 0
    alpha[:9] = 0
    assert not Clipping([Picture(pixels, alpha)], SIGMA).found
    assert Clipping([Picture(pixels)], SIGMA).found


def test_clipped_noise_is_kept_when_little_of_it_is_removed(rng: np.random.Generator) -> None:
    picture = noisy(np.zeros((60, 60, 1)), rng)
    clipping = Clipping([picture], SIGMA)
    left = picture.as_float().ravel()
    assert not clipping.is_kept(left)
    assert not clipping.is_kept(left - left.mean())
    assert clipping.is_kept(0.5 * left)
    assert not clipping.is_kept(left[:0])
