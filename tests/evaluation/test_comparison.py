"""Comparison of images: metrics, difference, regions and refusals."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from n2n_cli.errors import ImageError, UsageError
from n2n_cli.evaluation.comparison import Comparison, PictureMetrics, choose_regions, compare
from n2n_cli.evaluation.metrics import psnr, ssim
from n2n_cli.evaluation.sheet import Region
from n2n_cli.images import Picture
from n2n_cli.nn.functional import Array
from n2n_cli.noise.analysis import analyse_noise


def compared(*pictures: Picture, crops: list[tuple[int, int, int]] | None = None) -> Comparison:
    names = ("noisy.png", "denoised.png", "clean.png")
    return compare([(Path("folder", name), picture) for name, picture in zip(names, pictures, strict=False)], crops)


def pixels(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)


def floats(array: Array) -> Array:
    return np.moveaxis(array / 255, -1, 0)


def test_scores_against_the_clean_picture() -> None:
    noisy, denoised, clean = (pixels(i, 20, 24, 3) for i in range(3))
    before, after = compared(Picture(noisy), Picture(denoised), Picture(clean)).metrics
    assert (before.picture, after.picture) == ("noisy", "denoised")
    for metrics, picture in ((before, noisy), (after, denoised)):
        assert metrics.psnr == pytest.approx(psnr(floats(picture), floats(clean)), abs=1e-4)
        assert metrics.ssim == pytest.approx(ssim(floats(picture), floats(clean)), abs=1e-5)
        assert metrics.sigma_255 is None
    assert str(before) == f"PSNR {before.psnr:.2f} dB, SSIM {before.ssim:.4f}"


def test_noise_is_estimated_without_a_clean_picture() -> None:
    noisy, denoised = pixels(0, 20, 24, 3), pixels(1, 20, 24, 3) // 4 + 100
    before, after = compared(Picture(noisy), Picture(denoised)).metrics
    assert (before.psnr, before.ssim) == (None, None)
    assert before.sigma_255 == pytest.approx(analyse_noise(noisy).sigma, rel=1e-4)
    assert after.sigma_255 == pytest.approx(analyse_noise(denoised).sigma, rel=1e-4)
    assert str(after) == f"estimated noise: sigma {after.sigma_255:.1f} of 255"
    (small, _) = compared(Picture(noisy[:3, :2]), Picture(denoised[:3, :2])).metrics
    assert small.sigma_255 is not None
    assert math.isnan(small.sigma_255)
    assert str(small) == "too small to estimate its noise"


def test_equal_pictures_have_infinite_psnr_and_ssim_1() -> None:
    same = Picture(pixels(0, 20, 24, 3))
    (metrics, _) = compared(same, same, same).metrics
    assert str(metrics) == "PSNR inf dB, SSIM 1.0000"


def test_difference_is_amplified_eight_times() -> None:
    noisy, denoised, clean = (np.full((2, 3, 1), value, np.uint8) for value in (90, 104, 100))
    denoised[0, 0], denoised[1, 2] = 100, 0
    with_clean = compared(Picture(noisy), Picture(denoised), Picture(clean))
    assert with_clean.heading == "noisy.png   denoised.png   clean.png"
    assert with_clean.facts == "3 x 2 pixels, shown at 18,600%"
    panels, two = with_clean.panels, compared(Picture(noisy), Picture(denoised)).panels
    assert [panel.title for panel in panels] == ["noisy", "denoised", "clean", "difference x8"]
    assert panels[3].caption == "denoised - clean, gray: no difference"
    assert [[int(v) for v in row] for row in panels[3].pixels[..., 1]] == [[128, 160, 160], [160, 160, 0]]
    assert np.array_equal(panels[1].pixels, np.repeat(denoised, 3, axis=2))
    assert [panel.title for panel in two] == ["noisy", "denoised", "difference x8"]
    assert two[2].caption == "noisy - denoised, gray: no difference"
    assert [[int(v) for v in row] for row in two[2].pixels[..., 2]] == [[48, 16, 16], [16, 16, 255]]


def test_channels_and_depths_are_unified() -> None:
    gray = Picture(np.full((20, 24, 1), 51, np.uint8), alpha=np.zeros((20, 24), np.uint8))
    colour = Picture(np.full((20, 24, 3), 51 * 257, np.uint16))
    comparison = compared(gray, colour, gray)
    before, after = comparison.metrics
    assert before.psnr == math.inf
    assert after.psnr is not None
    assert after.psnr > 120
    assert all((panel.pixels == 51).all() for panel in comparison.panels[:3])


def test_measured_pictures_share_one_scale() -> None:
    counts = np.linspace(100, 1100, 480).reshape(20, 24, 1)
    noisy, denoised, clean = (Picture((counts + add).astype(np.uint16)) for add in (100, 10, 0))
    comparison = compared(noisy, denoised, clean)
    before, after = comparison.metrics
    assert [before.rms, after.rms] == pytest.approx([100, 10])
    assert after.unit == pytest.approx(1000, rel=0.01)
    assert after.psnr == pytest.approx(40, abs=0.1)
    assert str(after) == f"RMS error 10, PSNR {after.psnr:.2f} dB, SSIM {after.ssim:.4f}"
    low, high = np.quantile(clean.pixels, (0.001, 0.999))
    assert comparison.facts.endswith("; values from 101 (black) to 1099 (white) in all panels")
    for panel, add in zip(comparison.panels[:3], (100, 10, 0), strict=True):
        shown = np.clip((np.floor(counts + add) - low) / (high - low), 0, 1)
        assert np.abs(panel.pixels[..., :1] - 255 * shown).max() < 1


def test_measured_pictures_of_different_dtypes() -> None:
    counts = np.linspace(100, 1100, 480).reshape(20, 24, 1)
    noisy, denoised = Picture(counts.astype(np.uint16)), Picture((counts + 10).astype(np.float32))
    _, after = compared(noisy, denoised, Picture(counts.astype(np.float64))).metrics
    assert after.rms == pytest.approx(10, rel=1e-3)


def test_missing_values_are_black_and_do_not_change_the_scale() -> None:
    heights = np.linspace(200, 300, 480, dtype=np.float32).reshape(20, 24, 1)
    heights[3, 4:9] = -9999
    heights[5, 5] = np.nan
    comparison = compared(Picture(heights), Picture(heights), Picture(heights))
    assert comparison.facts.endswith("; values from 200.1 (black) to 299.9 (white) in all panels")
    assert [metrics.rms for metrics in comparison.metrics] == [0, 0]
    for panel in comparison.panels[:3]:
        assert (panel.pixels[3, 4:9] == 0).all()
        assert 100 < panel.pixels[10].mean() < 160


def test_outlying_values_are_white() -> None:
    counts = np.linspace(200, 300, 480, dtype=np.float32).reshape(20, 24, 1)
    counts[3, 4] = 60_000
    for panel in compared(Picture(counts), Picture(counts), Picture(counts)).panels[:3]:
        assert (panel.pixels[3, 4] == 255).all()


def test_kind_of_values_can_be_named() -> None:
    counts = Picture(np.linspace(100, 1100, 480).reshape(20, 24, 1).astype(np.uint16))
    names = [(Path(name), counts) for name in ("a", "b")]
    assert "values from" in compare(names).facts
    assert "values from" not in compare(names, mode="display").facts


# Regions


def test_regions_have_the_largest_error_and_the_most_and_least_detail() -> None:
    rng = np.random.default_rng(0)
    reference = rng.uniform(0.4, 0.6, (3, 80, 120))
    reference[:, 20:40, 60:80] = rng.uniform(0, 1, (3, 20, 20))
    reference[:, 50:70, 90:110] = 0.5
    reference[:, :20, :20] = 0  # without detail as well, but black
    difference = np.full((3, 80, 120), 0.01)
    difference[1, 50:70, 10:30] = -0.5
    assert choose_regions(reference, difference, 20, "why") == [
        Region(10, 50, 20, "why"),
        Region(60, 20, 20, "most detail"),
        Region(90, 50, 20, "least detail"),
    ]


def test_regions_do_not_overlap_and_stay_inside() -> None:
    reference = np.random.default_rng(0).random((1, 33, 47))
    for side in (1, 7, 10, 16, 33):
        regions = choose_regions(reference, reference, side, "why")
        assert len(regions) == {33: 1}.get(side, 3)
        taken = np.zeros((33, 47), int)
        for region in regions:
            assert 0 <= region.side - (side - 1) <= 1
            taken[region.top : region.top + region.side, region.left : region.left + region.side] += 1
        assert taken.max() == 1
        assert taken.sum() == sum(region.side**2 for region in regions)


@pytest.mark.parametrize(("shape", "side"), [((3, 9, 9), 0), ((3, 9, 9), 10), ((1, 1, 1), 1), ((1, 1, 90), 2)])
def test_picture_too_small_for_regions_has_none(shape: tuple[int, ...], side: int) -> None:
    assert choose_regions(np.zeros(shape), np.zeros(shape), side, "") == []


def test_regions_are_those_asked_for() -> None:
    picture = Picture(pixels(0, 20, 24, 3))
    regions = compared(picture, picture, crops=[(0, 0, 20), (23, 19, 1)]).regions
    assert regions == (Region(0, 0, 20, ""), Region(23, 19, 1, ""))
    for crop in ((0, 1, 20), (5, 0, 20), (-1, 0, 3), (0, -1, 3), (0, 0, 0), (24, 0, 1)):
        with pytest.raises(UsageError) as caught:
            compared(picture, picture, crops=[crop])
        named = ",".join(map(str, crop))
        assert caught.value.message == (f"`--crop {named}` does not lie in the pictures, which have 24x20 pixels")


def test_sizes_that_differ_are_listed() -> None:
    sizes = [Picture(pixels(0, *size, 3)) for size in ((4, 5), (4, 6), (7, 5))]
    with pytest.raises(ImageError) as caught:
        compared(*sizes)
    assert caught.value.message == (
        "pictures of different sizes cannot be compared: `folder/noisy.png` has 5x4 pixels, "
        "`folder/denoised.png` has 6x4 pixels, `folder/clean.png` has 5x7 pixels"
    )
    with pytest.raises(ImageError, match=r"5x4 pixels, `folder/denoised.png` has 6x4 pixels$"):
        compared(*sizes[:2])


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 1), (3, 5), (150, 200)])
def test_pictures_of_any_size_are_compared(size: tuple[int, int]) -> None:
    pictures = [Picture(pixels(i, *size, 1)) for i in range(3)]
    for count in (2, 3):
        sheet = compared(*pictures[:count]).draw()
        assert sheet.dtype == np.uint8
        assert sheet.shape[2] == 3


def test_metrics_without_values_say_picture_is_too_small() -> None:
    assert str(PictureMetrics("noisy")) == "too small to estimate its noise"
