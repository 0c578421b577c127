"""Where noise was cut off at black or white."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.images import Picture
from n2n_cli.nn.functional import Array
from n2n_cli.single_image.clipping import Clipping

SIGMA = 0.1


def noisy(clean: Array, rng: np.random.Generator, depth: type = np.uint8) -> Picture:
    """A clean (H, W, C) picture with noise, as a file of this depth has it."""
    values = np.clip(clean + rng.normal(0, SIGMA, clean.shape), 0, 1)
    return Picture(np.round(values * np.iinfo(depth).max).astype(depth))


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_black_and_white_places_are_found(depth: type, level: float, rng: np.random.Generator) -> None:
    clean = np.full((60, 61, 3), 0.5)
    assert not Clipping([noisy(clean, rng, depth)], SIGMA).found
    clean[:9, :9] = level
    clipping = Clipping([noisy(clean, rng, depth)], SIGMA)
    assert clipping.found
    where = clipping(np.moveaxis(clean, -1, 0)[None])
    assert where.shape == (1, 1, 60, 61)
    np.testing.assert_array_equal(where[0, 0], clean[..., 0] == level)


def test_one_channel_is_enough(rng: np.random.Generator) -> None:
    clean = np.full((60, 60, 3), 0.5)
    clean[:20, :20, 1] = 0
    clipping = Clipping([noisy(clean, rng)], SIGMA)
    assert clipping.found
    assert clipping(np.moveaxis(clean, -1, 0)[None]).sum() == 400


def test_the_margin_is_of_the_noise(rng: np.random.Generator) -> None:
    clipping = Clipping([noisy(np.zeros((20, 20, 1)), rng)], SIGMA)
    denoised = np.array([0.0, 0.24, 0.26, 0.74, 0.76, 1.0]).reshape(1, 1, 1, 6)
    np.testing.assert_array_equal(clipping(denoised).ravel(), [True, True, False, False, True, True])


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_impulses_cut_nothing_off(share: float, rng: np.random.Generator) -> None:
    pixels = np.full((200, 200, 1), 128, np.uint8)
    pixels[rng.random(pixels.shape) < share / 2] = 0
    pixels[rng.random(pixels.shape) < share / 2] = 255
    assert not Clipping([Picture(pixels)], SIGMA).found


def test_floats_beyond_black_and_white_were_not_cut_off(rng: np.random.Generator) -> None:
    values = rng.normal(0, SIGMA, (40, 40, 1)).astype(np.float32)
    assert not Clipping([Picture(values)], SIGMA).found
    assert Clipping([Picture(values.clip(0, 1))], SIGMA).found
    assert not Clipping([Picture(values.clip(0, 2) + np.float32(0.99))], SIGMA).found


def test_nothing_is_denoised_where_nothing_was_cut_off(rng: np.random.Generator) -> None:
    def refuse(x: Array) -> Array:
        raise AssertionError

    clipping = Clipping([noisy(np.full((20, 20, 1), 0.5), rng)], SIGMA)
    assert not clipping.of(refuse, np.zeros((2, 1, 5, 5))).any()
    with pytest.raises(AssertionError):
        Clipping([noisy(np.zeros((20, 20, 1)), rng)], SIGMA).of(refuse, np.zeros((2, 1, 5, 5)))
