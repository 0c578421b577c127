"""Structured noise, and noise of image files."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.data.dead_leaves import dead_leaves
from n2n_cli.images.pixels import to_float
from n2n_cli.nn.functional import Array
from n2n_cli.noise import Blurred, Camera, Jpeg, NoiseModel, Rounded, Row

models = pytest.mark.parametrize(
    "model", [Blurred(30, 1), Row(2, 10), Camera(0.003), Rounded(20), Jpeg(60, 5)], ids=str
)


@models
def test_mean_of_many_targets_is_the_clean_picture(model: NoiseModel, rng: np.random.Generator) -> None:
    source = to_float(dead_leaves(1, 24, seed=5)[0])
    targets = np.stack([model.draw_target(source, rng=rng) for _ in range(1500)])
    error = targets.mean(axis=0) - source
    spread = targets.std(axis=0) / np.sqrt(len(targets))
    assert np.abs(error / spread).max() < 5.5
    assert abs(error.mean()) < 1e-3


def test_blurred_noise_is_gray_and_correlated_with_photon_variance(rng: np.random.Generator) -> None:
    source = np.full((200, 220, 3), 0.4, np.float32)
    noise = Blurred(50, 1).draw(source, rng=rng) - source
    assert noise[..., 0] == pytest.approx(noise[..., 2], abs=1e-6)
    assert noise.var() == pytest.approx(0.4 / 50, rel=0.05)
    assert _correlation(noise[..., :1], 1) == pytest.approx(np.exp(-1 / 4), abs=0.03)  # for a blur of 1 pixel
    assert _correlation((Blurred(50, 0).draw(source, rng=rng) - source)[..., :1], 1) == pytest.approx(0, abs=0.03)


def test_row_noise_is_row_offsets_and_white_noise(rng: np.random.Generator) -> None:
    source, shares = np.full((300, 200, 3), 128, np.uint8), []
    for _ in range(20):
        noise = (Row(3, 10).draw(source, rng=rng) - to_float(source)) * 255
        offsets = noise.mean(axis=1)  # (H, C)
        assert offsets.std() == pytest.approx(3, rel=0.15)
        assert (noise - offsets[:, None]).std() == pytest.approx(10, rel=0.03)
        assert np.mean(offsets[1:] * offsets[:-1]) / offsets.var() == pytest.approx(0, abs=0.25)
        shares.append(np.corrcoef(offsets[:, 0], offsets[:, 1])[0, 1])
    assert min(shares) < 0.3  # correlation of the channels' offsets
    assert max(shares) > 0.7


def test_rounded_noise_has_8_bit_levels(rng: np.random.Generator) -> None:
    dark = np.full((60, 70, 3), 10, np.uint8)
    view = Rounded(20).draw(dark, rng=rng) * 255
    assert np.abs(view - view.round()).max() < 1e-4
    assert view.min() == 0
    assert (view == 0).mean() == pytest.approx(0.317, abs=0.02)  # P(normal noise of sigma 20 < -9.5)


def test_jpeg_artefacts_grow_with_lower_quality(rng: np.random.Generator) -> None:
    source = dead_leaves(1, 96, seed=2)[0].mean(axis=2, keepdims=True).astype(np.uint8)
    errors = [np.sqrt(np.mean((Jpeg(q, 0).draw(source, rng=rng) - to_float(source)) ** 2)) for q in (98, 80, 50, 20)]
    assert errors == sorted(errors)
    assert errors[0] < 4 / 255
    assert errors[-1] > 6 / 255


def test_jpeg_grid_has_a_random_offset(rng: np.random.Generator) -> None:
    source = dead_leaves(1, 96, seed=2)[0]
    breaks = np.zeros(8)
    for _ in range(60):
        view = Jpeg(8, 0).draw(source, rng=rng).mean(axis=2)
        steps = np.abs(np.diff(view, axis=1)).mean(axis=0)  # largest at the borders of blocks
        breaks[np.argmax([steps[i::8].mean() for i in range(8)])] += 1
    assert (breaks > 0).sum() >= 6


def _correlation(noise: Array, lag: int) -> float:
    """Correlation at a distance of `lag` pixels, averaged over both directions."""
    across, down = (noise[:, lag:] * noise[:, :-lag]).mean(), (noise[lag:] * noise[:-lag]).mean()
    return float((across + down) / 2 / np.square(noise).mean())
