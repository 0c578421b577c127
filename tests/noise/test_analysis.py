"""Noise analysis: level, correlation, brightness, and images too small to measure."""

from __future__ import annotations

import math

import numpy as np
import pytest

from n2n_cli.data.dead_leaves import dead_leaves
from n2n_cli.images.pixels import LUMA, to_float, to_integer
from n2n_cli.nn.functional import Array
from n2n_cli.noise import parse_noise
from n2n_cli.noise.analysis import NoiseAnalysis, analyse_noise
from n2n_cli.noise.compression import compressed
from n2n_cli.noise.gaussian import blurred

MARGIN = 0.25
KINDS = ("gaussian:10", "gaussian:40", "grain:20,1", "camera:0.002", "camera:0.01", "poisson:30", "row:3,10")


@pytest.fixture(scope="module")
def pictures() -> list[Array]:
    """Clean dead-leaves images; texture fills the last one."""
    return list(dead_leaves(3, 384, seed=3))


@pytest.fixture(scope="module")
def photographs(pictures: list[Array]) -> list[Array]:
    """Clean images with smooth parts, and a gray one."""
    return [*pictures[:2], to_integer(to_float(pictures[1]) @ LUMA, np.uint8)]


def levels(difference: Array) -> tuple[float, float]:
    """True standard deviations of luma and chroma."""
    if difference.shape[2] == 1:
        return float(difference.std()), 0.0
    luma = (difference @ LUMA)[..., 0]
    chroma = np.stack([difference[..., 2] - luma, difference[..., 0] - luma])
    return float(luma.std()), float(np.sqrt(np.mean(chroma**2)))


@pytest.mark.parametrize("kind", KINDS)
def test_levels_of_luma_and_chroma(kind: str, photographs: list[Array]) -> None:
    """Most estimates are within 25% of the true level.

    Sharp edges of dead leaves are harder than photographs.
    """
    right = 0
    for seed in range(3):
        for clean in photographs:
            noisy = to_integer(parse_noise(kind).draw(clean, rng=np.random.default_rng(seed)), np.uint8)
            found = analyse_noise(noisy)
            right += (found.luma, found.chroma) == pytest.approx(levels(noisy.astype(float) - clean), rel=MARGIN)
    assert right >= (5 if "camera" in kind else 7)


@pytest.mark.parametrize("kind", ["gaussian:10", "grain:20,1", "camera:0.01"])
def test_texture_of_a_whole_picture_may_count_as_chroma_noise(kind: str, pictures: list[Array]) -> None:
    """Known limit: luma is right, chroma is at least not too low."""
    noisy = to_integer(parse_noise(kind).draw(pictures[2], rng=np.random.default_rng(2)), np.uint8)
    found, (luma, chroma) = analyse_noise(noisy), levels(noisy.astype(float) - pictures[2])
    assert found.luma == pytest.approx(luma, rel=MARGIN)
    assert found.chroma > (1 - MARGIN) * chroma


def flat(level: float = 0.5, *, size: int = 256, channels: int = 3) -> Array:
    return np.full((size, size, channels), level, np.float32)


@pytest.mark.parametrize("blur", [0.0, 0.67, 1.5])
def test_correlation_of_noise_is_found(blur: float, rng: np.random.Generator) -> None:
    noise = blurred(rng.standard_normal((256, 256, 3), dtype=np.float32), blur)
    true = [float(np.mean(noise[:, lag:] * noise[:, :-lag])) for lag in (1, 2, 3, 4)]
    found = analyse_noise(flat() + 12 / 255 * noise)
    assert found.luma_correlation == pytest.approx(true, abs=0.15)
    assert found.chroma_correlation == pytest.approx(true, abs=0.15)
    assert found.sigma == pytest.approx(12, rel=MARGIN)
    assert ("correlated over" in str(found)) == (blur > 0)


def test_noise_by_brightness_is_found(rng: np.random.Generator) -> None:
    dark = flat(0.3) + 15 / 255 * rng.standard_normal((256, 256, 3))
    bright = flat(0.8) + 4 / 255 * rng.standard_normal((256, 256, 3))
    found = analyse_noise(np.concatenate([dark, bright]).astype(np.float32))
    assert found.strongest == (64, 96)
    levels = found.by_brightness
    assert levels[2] == pytest.approx(15 * 0.67, rel=MARGIN)
    assert levels[6] == pytest.approx(4 * 0.67, rel=0.5)
    assert math.isnan(levels[0])
    assert str(found).endswith("strongest at brightness 64 to 96")


@pytest.mark.parametrize("value", [0, 77, 255])
def test_constant_picture_has_no_noise(value: int) -> None:
    found = analyse_noise(np.full((40, 50, 3), value, np.uint8))
    assert max(found.sigma, found.luma, found.chroma) < 0.1
    assert str(found).startswith("little or none, ")


def test_gray_pictures_have_no_chroma(photographs: list[Array]) -> None:
    found = analyse_noise(photographs[-1])
    assert (found.chroma, found.chroma_correlation) == (0, (0, 0, 0, 0))
    assert found.sigma == pytest.approx(found.luma)
    assert "chroma" not in str(found)


def test_depths_and_floats_agree(photographs: list[Array]) -> None:
    found = analyse_noise(photographs[0])
    for same in (photographs[0] * np.uint16(257), to_float(photographs[0])):
        assert analyse_noise(same).sigma == pytest.approx(found.sigma, rel=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (15, 900), (900, 15)])
def test_small_pictures_give_nan(size: tuple[int, int]) -> None:
    for channels in (1, 3):
        found = analyse_noise(np.zeros((*size, channels), np.uint8))
        assert math.isnan(found.sigma)
        assert str(found) == "picture too small to measure"


@pytest.mark.parametrize("size", [(16, 16), (17, 16), (16, 3000), (1100, 16), (23, 31)])
def test_pictures_of_any_size_from_16_pixels(size: tuple[int, int]) -> None:
    for channels in (1, 3):
        noise = np.random.default_rng(0).normal(0, 20 / 255, (*size, channels))
        found = analyse_noise((0.5 + noise).astype(np.float32))
        assert 10 < found.sigma < 40


def test_values_that_are_not_finite_are_ignored(rng: np.random.Generator) -> None:
    noisy = (flat() + 12 / 255 * rng.standard_normal((256, 256, 3))).astype(np.float32)
    noisy[:100] = np.nan
    noisy[120, 7] = np.inf
    found = analyse_noise(noisy)
    assert found.sigma == pytest.approx(12, rel=MARGIN)
    assert math.isfinite(found.jpeg_grid + found.impulses)
    assert math.isnan(analyse_noise(np.full_like(noisy, np.nan)).sigma)


def test_jpeg_grid_and_impulses_are_measured(photographs: list[Array], rng: np.random.Generator) -> None:
    clean = photographs[0]
    found = analyse_noise(clean)
    assert found.jpeg_grid < 0.1
    assert found.impulses < 0.005
    assert analyse_noise(compressed(to_float(clean), 30, rng=rng)).jpeg_grid > 0.15
    wrong = parse_noise("impulse:0.1").draw(clean, rng=rng)
    found = analyse_noise(wrong)
    assert 0.02 < found.impulses < 0.1
    assert "of the pixels are wrong" in str(found)


def test_scaled_analysis_has_its_own_unit(rng: np.random.Generator) -> None:
    noise = NoiseAnalysis(10, 10, 0, by_brightness=(math.nan, 5, 12, *[math.nan] * 5)).scaled(4)
    assert (noise.sigma, noise.luma, noise.by_brightness[1]) == (40, 40, 20)
    assert str(noise) == "sigma 40 (the picture's own units), strongest at brightness 64 to 96 of 255"
