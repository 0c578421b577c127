"""The weights of a blend of two denoisers, estimated from noisy crops."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.images import Picture
from n2n_cli.nn.functional import Array, Pair
from n2n_cli.single_image.blend_weights import best_share, largest_correlation
from n2n_cli.single_image.learner import Crops
from n2n_cli.system.progress import reported_to


def noisy_crops(clean: Array, sigma: float, rng: np.random.Generator) -> Crops:
    """Crops of a clean (H, W, C) picture to which noise is added."""
    return Crops([Picture((clean + rng.normal(0, sigma, clean.shape)).astype(np.float32))], rng=rng)


def blurred(x: Array, reach: int = 2) -> Array:
    """The mean over a square of side 2 `reach` + 1 around each pixel."""
    padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="edge")
    (h, w), shifts = x.shape[2:], range(2 * reach + 1)
    mean: Array = np.mean([padded[:, :, i : i + h, j : j + w] for i in shifts for j in shifts], axis=0)
    return mean


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_blend_weight_cancels_opposite_errors(share: float, rng: np.random.Generator) -> None:
    crops = noisy_crops(np.full((90, 70, 3), 0.5), 0.05, rng)
    too_bright, too_dark = 0.5 + 0.1 * (1 - share), 0.5 - 0.1 * share
    found = best_share(lambda x: np.full_like(x, too_bright), lambda x: np.full_like(x, too_dark), crops, 32, rng=rng)
    assert found == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize(("first", "second", "wanted"), [(0.4, 0.3, 1), (0.6, 0.55, 0)])
def test_blend_weight_is_all_of_the_nearer_when_errors_have_the_same_sign(
    first: float, second: float, wanted: int, rng: np.random.Generator
) -> None:
    crops = noisy_crops(np.full((90, 70, 3), 0.5), 0.01, rng)
    found = best_share(lambda x: np.full_like(x, first), lambda x: np.full_like(x, second), crops, 32, rng=rng)
    assert found == wanted


@pytest.mark.parametrize("side", [8, 64])
def test_blend_weight_is_zero_when_denoiser_keeps_noise(side: int, rng: np.random.Generator) -> None:
    crops = noisy_crops(np.full((128, 128, 1), 0.5), 0.1, rng)
    assert best_share(lambda x: x, blurred, crops, side, rng=rng) < 0.1
    assert best_share(blurred, lambda x: np.full_like(x, 0.3), crops, side, rng=rng) > 0.9


def test_margins_of_crops_do_not_count(rng: np.random.Generator) -> None:
    crops = noisy_crops(np.full((128, 128, 1), 0.5), 0.1, rng)

    def wrong_at_the_rim(x: Array) -> Array:
        y = np.full_like(x, 0.5)
        y[:, :, :15] = y[:, :, -15:] = y[..., :15] = y[..., -15:] = 3
        return y

    assert best_share(wrong_at_the_rim, blurred, crops, 64, rng=rng) > 0.9


def test_blend_weight_is_one_when_both_denoisers_are_equal(rng: np.random.Generator) -> None:
    crops = noisy_crops(np.zeros((40, 40, 1)), 1.0, rng)
    assert best_share(blurred, blurred, crops, 32, rng=rng) == 1
    assert best_share(lambda x: x, lambda x: x, crops, 32, rng=rng) == 1


def test_single_pixel_details_are_kept_when_noise_is_low(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    dots = np.full((96, 96, 1), 0.4)
    dots[rng.random(dots.shape) < 0.004] = 0.8
    crops = noisy_crops(dots, 0.005, rng)

    def duller(x: Array) -> Array:
        return 0.8 * x + 0.2 * blurred(x, 1)

    assert best_share(lambda x: x, duller, crops, 64, rng=rng) > 0.8
    monkeypatch.setattr("n2n_cli.single_image.blend_weights._SEEN", 1.0)
    monkeypatch.setattr("n2n_cli.single_image.blend_weights._WHITE", 1.0)
    assert best_share(lambda x: x, duller, crops, 64, rng=rng) < 0.2


def test_reported_progress_adds_up_to_1(rng: np.random.Generator) -> None:
    crops, parts = noisy_crops(np.full((128, 128, 1), 0.5), 0.1, rng), list[float]()
    for seconds in (None, 0.0):
        parts.clear()
        with reported_to(parts.append):
            best_share(lambda x: x, blurred, crops, 64, rng=rng, seconds=seconds)
        assert sum(parts) == pytest.approx(1)


@pytest.mark.parametrize("value", [0.0, 1.3])
def test_impulse_noise_is_not_kept_as_detail(value: float, rng: np.random.Generator) -> None:
    stripes = np.full((96, 96, 3), 0.4)
    stripes[::8] = 0.8
    stripes[rng.random((96, 96)) < 0.02, 1] = value
    crops = noisy_crops(stripes, 0.005, rng)

    def without(x: Array) -> Array:
        return np.where(np.abs(x - value) < 0.1, np.float32(0.4), x)

    assert best_share(lambda x: x, without, crops, 64, rng=rng) < 0.1


def half_black(
    sigma: float, rng: np.random.Generator, *, bright: int = 48, stripes: bool = False
) -> tuple[Crops, Array]:
    """Crops with noise clipped at black, and the clean picture, (1, 1, H, W), of which the right part is black."""
    clean = np.zeros((96, 96, 1), np.float32)
    clean[:, :bright] = 0.5
    if stripes:
        clean[::8, :bright] = 0.9
    noise = rng.normal(0, sigma, clean.shape).astype(np.float32)
    crops = Crops([Picture(np.clip(clean + noise, 0, 1))], rng=rng)
    crops.spread = lambda *_: [(0, 0, 0)]  # type: ignore[method-assign]
    assert crops.clipping.black
    return crops, np.moveaxis(clean, -1, 0)[None]


def grayer(clean: Array, sigma: float) -> Array:
    """The clean picture, with the mean of clipped noise in place of black."""
    return np.where(clean == 0, np.float32(0.4 * sigma), clean)


def test_first_denoiser_is_kept_in_clipped_areas(rng: np.random.Generator) -> None:
    crops, clean = half_black(0.1, rng)
    gray = grayer(clean, 0.1)
    assert best_share(lambda x: clean, lambda x: gray, crops, 96, rng=rng) > 0.99
    crops.clipping.black = False
    assert best_share(lambda x: clean, lambda x: gray, crops, 96, rng=rng) < 0.2


def test_second_denoiser_counts_when_first_makes_everything_black(rng: np.random.Generator) -> None:
    crops, clean = half_black(0.1, rng)
    assert best_share(np.zeros_like, lambda x: clean, crops, 96, rng=rng) < 0.2


def test_clipped_noise_does_not_count_as_correlated_residual(rng: np.random.Generator) -> None:
    crops, clean = half_black(0.1, rng, bright=30)
    passes: list[int] = []

    def exact(x: Array) -> Array:
        passes.append(len(x))
        return clean

    best_share(lambda x: grayer(clean, 0.1), exact, crops, 96, rng=rng)
    assert len(passes) == 5  # and no Stein's estimate


def test_detail_and_clipped_areas_are_weighed_together(rng: np.random.Generator) -> None:
    crops, clean = half_black(0.02, rng, stripes=True)
    shared = np.where(clean == 0, clean, 0.9 * clean + 0.05)
    plain = np.where(clean == 0, grayer(clean, 0.02), 0.5)
    assert best_share(lambda x: clean, lambda x: plain, crops, 96, rng=rng) > 0.95
    # The first one keeps the clipped noise, so the other half decides, whose contrast it lowered.
    keeping = best_share(lambda x: np.where(clean == 0, x, shared), lambda x: clean, crops, 96, rng=rng)
    assert keeping < 0.1


@pytest.mark.parametrize("level", [0.0, 0.1])
@pytest.mark.parametrize("kept", [0.5, 1.0])
def test_blend_weight_is_zero_when_denoiser_keeps_clipped_noise(
    level: float, kept: float, rng: np.random.Generator
) -> None:
    """Also if the whole picture is dark."""
    clean = np.full((1, 1, 96, 96), level, np.float32)
    noise = rng.normal(0, 0.1, clean.shape).astype(np.float32)
    crops = Crops([Picture(np.moveaxis(np.clip(clean + noise, 0, 1)[0], 0, -1))], rng=rng)
    crops.spread = lambda *_: [(0, 0, 0)]  # type: ignore[method-assign]
    second = grayer(clean, 0.1)
    assert best_share(lambda x: second + kept * (x - second), lambda x: second, crops, 96, rng=rng) < 0.1


def test_only_one_crop_is_measured_after_the_time_limit(rng: np.random.Generator) -> None:
    crops = noisy_crops(np.full((200, 200, 1), 0.5), 0.1, rng)
    passes: list[int] = []

    def counted(x: Array) -> Array:
        passes.append(len(x))
        return blurred(x)

    best_share(lambda x: x, counted, crops, 40, rng=rng, seconds=60)
    whole = len(passes)
    passes.clear()
    best_share(lambda x: x, counted, crops, 40, rng=rng, seconds=0)
    assert 0 < len(passes) <= 7  # passes for one crop
    assert whole > 10 * len(passes)


def test_denoiser_that_blurs_detail_gets_no_weight(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    stripes = np.full((96, 96, 1), 0.4)
    stripes[::8] = 0.8
    stripes[rng.random(stripes.shape) < 0.02] += 0.1  # not enough to count as impulses
    crops = noisy_crops(stripes, 0.005, rng)
    assert best_share(lambda x: x, blurred, crops, 64, rng=rng) > 0.9
    monkeypatch.setattr("n2n_cli.single_image.blend_weights._WHITE", 1.0)
    assert best_share(lambda x: x, blurred, crops, 64, rng=rng) < 0.8


@pytest.mark.parametrize(
    ("shift", "wanted"), [((0, 1), 0.5), ((1, -1), 0.5), ((1, 1), 0.5), ((2, 0), 0.5), ((3, 0), 0.0)]
)
def test_largest_correlation_of_neighbouring_residuals(shift: Pair, wanted: float, rng: np.random.Generator) -> None:
    white = [rng.normal(size=(1, 3, 60, 60)) for _ in range(4)]
    assert largest_correlation(white) < 0.03
    assert largest_correlation([x - np.roll(x, shift, (2, 3)) for x in white]) == pytest.approx(wanted, abs=0.03)
    assert largest_correlation([np.zeros((1, 1, 8, 8))]) == 0
