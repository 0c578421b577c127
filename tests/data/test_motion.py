"""Noise of differences between frames, and the mask of moved pixels."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.data.motion import measure_noise
from n2n_cli.nn.functional import Array
from tests.movies import still

SCENE = still(1, 96, 112, peak=400)[0]


def frame(expected: Array, rng: np.random.Generator, read_noise: float = 3) -> Array:
    return (rng.poisson(expected) + rng.normal(0, read_noise, expected.shape))[..., None].astype(np.float32)


def test_photon_noise_grows_with_the_level(rng: np.random.Generator) -> None:
    noise = measure_noise([(frame(SCENE, rng), frame(SCENE, rng)) for _ in range(3)])
    assert noise.gain == pytest.approx(2, rel=0.15)
    assert noise.variance(np.array([50.0, 300]))[:] == pytest.approx([2 * 59, 2 * 309], rel=0.15)
    assert noise.factors == pytest.approx([1, 1, 1, 1], abs=0.1)


@pytest.mark.parametrize("scale", [1, 0.0002])
def test_noise_is_not_taken_for_movement(scale: float, rng: np.random.Generator) -> None:
    """The second case is noise of few photons, which is skewed and mostly zero."""
    pairs = [tuple(frame(scale * SCENE + 0.02, rng, 3 * (scale == 1)) for _ in range(2)) for _ in range(6)]
    noise = measure_noise([(one, other) for one, other in pairs[:3]])
    assert np.mean([noise.moved(*pair).mean() for pair in pairs]) < 0.001


@pytest.mark.parametrize(("step", "side"), [(250, 2), (60, 5), (25, 12)])
def test_small_and_faint_objects_that_moved_are_found(step: float, side: int, rng: np.random.Generator) -> None:
    """Half of the scene's pixels move as well and must not raise the noise level."""
    y, x = 20, 70
    dark = np.full_like(SCENE, 30)
    place = slice(y, y + side), slice(x, x + side)
    after = dark.copy()
    after[place] += step
    after[48:] = 30 + 200 * (np.arange(112) // 8 % 2)
    noise = measure_noise([(frame(dark, rng), frame(after, rng)) for _ in range(3)])
    found = noise.moved(frame(dark, rng), frame(after, rng))
    assert found[place].mean() > 0.6
    assert found[60:][:, 8:16].mean() > 0.9
    assert found[:12].mean() < 0.01


def test_correlated_noise_is_not_taken_for_movement(rng: np.random.Generator) -> None:
    def smooth() -> Array:
        x = rng.normal(size=(98, 114))
        mean: Array = np.lib.stride_tricks.sliding_window_view(x, (3, 3)).sum(axis=(2, 3), dtype=np.float32)
        return mean[..., None]

    noise = measure_noise([(smooth(), smooth()) for _ in range(4)])
    assert noise.factors[2] > 1.5
    assert noise.moved(smooth(), smooth()).mean() < 0.01
