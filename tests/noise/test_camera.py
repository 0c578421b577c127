"""Camera noise: each stage alone, and all compared with real cameras."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from n2n_cli.data.dead_leaves import dead_leaves
from n2n_cli.images.pixels import LUMA, to_float
from n2n_cli.nn.functional import Array
from n2n_cli.noise import Camera, Strength
from n2n_cli.noise.camera.demosaicing import BILINEAR, MALVAR, Kernels, demosaic
from n2n_cli.noise.camera.tone import ToneCurve

NOTHING = dict.fromkeys(("mosaic", "matrix", "curve", "smoothing", "sharpening", "jpeg", "rounding"), False)
METHODS = pytest.mark.parametrize("kernels", [BILINEAR, MALVAR], ids=["bilinear", "malvar"])
PHASES = pytest.mark.parametrize("red", [(0, 0), (0, 1), (1, 0), (1, 1)])


def camera(shot: Strength | float = 0.003, **stages: bool) -> Camera:
    """Camera with only the given stages."""
    return Camera(shot, **{**NOTHING, **stages})


@METHODS
@PHASES
def test_demosaicing_keeps_the_measured_channel_of_each_pixel(
    kernels: Kernels, red: tuple[int, int], rng: np.random.Generator
) -> None:
    picture = rng.random((7, 10, 3), dtype=np.float32)
    result = demosaic(picture, red, kernels)
    kept = result == picture
    assert kept[red[0] :: 2, red[1] :: 2, 0].all()
    assert kept[1 - red[0] :: 2, 1 - red[1] :: 2, 2].all()
    assert kept[red[0] :: 2, 1 - red[1] :: 2, 1].all()
    assert kept[1 - red[0] :: 2, red[1] :: 2, 1].all()
    assert kept.sum() == 7 * 10


@METHODS
@PHASES
def test_demosaicing_of_gray_gradients_is_exact(kernels: Kernels, red: tuple[int, int]) -> None:
    y, x = np.mgrid[:12, :14].astype(np.float32)
    picture = np.repeat((0.01 * y + 0.02 * x)[..., None], 3, axis=2)
    assert demosaic(picture, red, kernels)[2:-2, 2:-2] == pytest.approx(picture[2:-2, 2:-2], abs=1e-5)


def test_demosaicing_matches_values_computed_by_hand() -> None:
    mosaic = np.arange(64, dtype=np.float32).reshape(8, 8, 1) ** 2
    picture = np.repeat(mosaic, 3, axis=2)
    m = mosaic[..., 0]
    bilinear, malvar = (demosaic(picture, (0, 0), kernels) for kernels in (BILINEAR, MALVAR))
    cross = m[3, 4] + m[5, 4] + m[4, 3] + m[4, 5]
    far = m[2, 4] + m[6, 4] + m[4, 2] + m[4, 6]
    assert bilinear[4, 4, 1] == pytest.approx(cross / 4)
    assert malvar[4, 4, 1] == pytest.approx((4 * m[4, 4] + 2 * cross - far) / 8)
    diagonal = m[3, 3] + m[3, 5] + m[5, 3] + m[5, 5]
    assert bilinear[4, 4, 2] == pytest.approx(diagonal / 4)
    assert malvar[4, 4, 2] == pytest.approx((6 * m[4, 4] + 2 * diagonal - 1.5 * far) / 8)
    around = m[3, 4] + m[3, 6] + m[5, 4] + m[5, 6]
    wanted = 5 * m[4, 5] + 4 * (m[4, 4] + m[4, 6]) - around - m[4, 3] - m[4, 7] + 0.5 * (m[2, 5] + m[6, 5])
    assert bilinear[4, 5, 0] == pytest.approx((m[4, 4] + m[4, 6]) / 2)  # red to the left and right
    assert malvar[4, 5, 0] == pytest.approx(wanted / 8)
    wanted = 5 * m[4, 5] + 4 * (m[3, 5] + m[5, 5]) - around - m[2, 5] - m[6, 5] + 0.5 * (m[4, 3] + m[4, 7])
    assert bilinear[4, 5, 2] == pytest.approx((m[3, 5] + m[5, 5]) / 2)  # blue above and below
    assert malvar[4, 5, 2] == pytest.approx(wanted / 8)


@pytest.mark.parametrize("curve", [(1, 0, math.inf), (2.2, 0, math.inf), (1.8, 1, 4), (2.6, 0.4, 0.5)])
def test_tone_curves_are_monotonic_and_invertible(curve: tuple[float, float, float]) -> None:
    tone = ToneCurve(*curve)
    display = np.linspace(0, 1, 5001, dtype=np.float32)
    light = tone.light(display)
    assert (light[0], light[-1]) == pytest.approx((0, 1), abs=1e-6)
    assert (np.diff(light) >= 0).all()
    assert tone.display(light) == pytest.approx(display, abs=0.1 / 255)
    inner = light[500:-500]
    slope = (tone.display(inner + 1e-3) - tone.display(inner - 1e-3)) / 2e-3
    assert tone.slope(inner) == pytest.approx(slope, rel=0.05, abs=0.02)
    assert tone.display(np.array([-1, 2], np.float32)) == pytest.approx([0, 1], abs=1e-6)


def test_gamma_is_a_power_except_near_black() -> None:
    display = np.linspace(0.3, 1, 50, dtype=np.float32)
    assert ToneCurve(2.2, 0, math.inf).light(display) == pytest.approx(display**2.2, abs=0.015)


def test_sensor_noise_is_white_and_its_variance_grows_with_the_signal(rng: np.random.Generator) -> None:
    variances = []
    for level in (0.1, 0.4):
        source = np.full((60, 80, 3), level, np.float32)
        noise = np.stack([camera().draw(source, rng=rng) - source for _ in range(200)])
        for a, b in (
            (noise[:, 1:], noise[:, :-1]),
            (noise[:, :, 1:], noise[:, :, :-1]),
            (noise[..., 1], noise[..., 0]),
        ):
            assert np.mean(a * b) / noise.var() == pytest.approx(0, abs=0.01)
        variances.append(noise[..., 1].var())
    assert variances[1] / variances[0] == pytest.approx(4, rel=0.1)  # shot noise; read noise is much weaker


@pytest.mark.parametrize(
    ("stage", "pixels", "channels"),
    [("mosaic", True, True), ("matrix", False, True), ("curve", False, False), ("smoothing", True, True)],
)
def test_each_stage_of_camera_correlates_pixels_or_channels(
    stage: str, pixels: bool, channels: bool, rng: np.random.Generator
) -> None:
    source = np.full((60, 80, 3), 128, np.uint8)
    found = []
    for _ in range(60):
        noise = camera(0.001, **{stage: True}).draw(source, rng=rng) - to_float(source)
        noise /= noise.std(axis=(0, 1))
        neighbours = np.mean(noise[:, 1:] * noise[:, :-1])
        found.append((neighbours, np.abs(np.corrcoef(noise.reshape(-1, 3).T)[np.triu_indices(3, 1)]).max()))
    assert (np.mean(found, axis=0) > (0.1, 0.1)).tolist() == [pixels, channels]


def test_sharpening_amplifies_only_luma_noise(rng: np.random.Generator) -> None:
    source = np.full((80, 80, 3), 128, np.uint8)
    spreads = {}
    for sharpening in (False, True):
        views = [camera(0.001, sharpening=sharpening).draw(source, rng=np.random.default_rng(i)) for i in range(40)]
        noise = np.stack(views) - to_float(source)
        luma = noise @ LUMA
        spreads[sharpening] = luma.std(), (noise - luma).std()
    assert spreads[True][0] > 1.1 * spreads[False][0]
    assert spreads[True][1] == pytest.approx(spreads[False][1], rel=1e-3)


def test_jpeg_and_rounding_give_whole_grey_levels(rng: np.random.Generator) -> None:
    source = dead_leaves(1, 48, seed=1)[0]
    for stages, whole in (({"jpeg": True}, True), ({"rounding": True}, True), ({}, False)):
        levels = camera(**stages).draw(source, rng=rng) * 255
        assert (np.abs(levels - levels.round()).max() < 1e-3) == whole
    assert len(np.unique(Camera(0.003).draw_target(source, rng=rng))) > 0.9 * source.size


def test_content_stays_sharp_at_weak_noise(rng: np.random.Generator) -> None:
    source = dead_leaves(1, 64, seed=4)[0]
    for _ in range(20):
        view = Camera(1e-6, jpeg=False).draw(source, rng=rng)
        assert np.abs(view - to_float(source)).max() < 4 / 255


def test_tone_curve_does_not_bias_dark_noise(rng: np.random.Generator) -> None:
    source = np.full((64, 64, 3), 0.08, np.float32)
    views = np.stack([camera(0.003, curve=True).draw(source, rng=rng) for _ in range(100)])
    assert 255 * views.std() > 4
    assert 255 * (views.mean() - 0.08) == pytest.approx(0, abs=0.1)


def test_jpeg_keeps_the_content_of_a_picture_without_noise(rng: np.random.Generator) -> None:
    source = dead_leaves(1, 64, seed=4)[0]
    for _ in range(20):
        view = camera(1e-6, jpeg=True).draw(source, rng=rng)
        assert 255 * np.abs(view - to_float(source)).mean() < 1


def test_gray_pictures_have_the_luma_noise_of_a_camera(rng: np.random.Generator) -> None:
    gray = np.full((60, 70, 1), 128, np.uint8)
    views = np.stack([Camera(0.003).draw(gray, rng=rng) for _ in range(20)])
    assert views.shape == (20, 60, 70, 1)
    assert 2 < 255 * (views - to_float(gray)).std() < 15


# Noise of real camera JPEGs in grey levels, measured by `statistics` in the smoothest 30% of the blocks (brightness:
# 50%) of every second image by sorted name: images 1, 3 and 5 of CC15's 6, and 26 of PolyU's 51. Values are medians
# over the images.
REAL = {
    "CC15": {"luma": 3.07, "blue": 0.85, "red": 0.77, "luma1": 0.61, "luma2": 0.18, "chroma1": 0.88, "chroma2": 0.74},
    "PolyU": {"luma": 2.24, "blue": 0.77, "red": 0.60, "luma1": 0.67, "luma2": 0.26, "chroma1": 0.95, "chroma2": 0.92},
}
LOWEST_LUMA, HIGHEST_LUMA = 1.1, 3.6  # over all those images
BRIGHTNESS = {(0, 32): 0.69, (32, 64): 0.95, (128, 192): 0.78, (192, 256): 0.5}
"""PolyU: standard deviation of luma for a range of mean levels, relative to that from 64 to 128."""
MARGINS = {"blue": 0.3, "red": 0.3, "luma1": 0.12, "luma2": 0.15, "chroma1": 0.08, "chroma2": 0.18}


@pytest.fixture(scope="module")
def cameras() -> list[dict[Any, float]]:
    """Statistics of 48 random cameras on gradients of brightness and colour."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:256, :256].astype(np.float32)[..., None] / 255
    clean = np.clip(0.03 + 0.94 * y + 0.16 * (x - 0.5) * np.array([1, -0.3, -1], np.float32), 0, 1)
    model = Camera(Strength(0.0001, 0.015, log=True))
    return [statistics(255 * model.draw(clean, rng=rng), 255 * clean) for _ in range(48)]


def statistics(noisy: Array, clean: Array) -> dict[Any, float]:
    """Standard deviations, neighbour correlations, and luma by brightness.

    They are computed over blocks of 16x16 pixels.
    """
    noise = noisy - clean
    luma = (noise @ LUMA)[..., 0]
    planes = {"luma": luma, "blue": noise[..., 2] - luma, "red": noise[..., 0] - luma}
    blocks = {name: _blocks(plane) for name, plane in planes.items()}
    found: dict[Any, float] = {name: math.sqrt(np.square(block).mean()) for name, block in blocks.items()}
    found["blue"] /= found["luma"]
    found["red"] /= found["luma"]
    for lag in (1, 2):
        found[f"luma{lag}"] = _correlation(blocks["luma"], lag)
        found[f"chroma{lag}"] = _correlation(blocks["blue"], lag)
    level, variance = _blocks(clean.mean(axis=2)).mean(axis=(1, 2)), blocks["luma"].var(axis=(1, 2))
    for low, high in BRIGHTNESS:
        inside, middle = (level >= low) & (level < high), (level >= 64) & (level < 128)
        found[low, high] = math.sqrt(variance[inside].mean() / variance[middle].mean())
    return found


def _blocks(plane: Array) -> Array:
    h, w = (side // 16 for side in plane.shape)
    return plane[: h * 16, : w * 16].reshape(h, 16, w, 16).swapaxes(1, 2).reshape(-1, 16, 16)


def _correlation(blocks: Array, lag: int) -> float:
    across, down = (blocks[:, :, lag:] * blocks[:, :, :-lag]).mean(), (blocks[:, lag:] * blocks[:, :-lag]).mean()
    return float((across + down) / 2 / np.square(blocks).mean())


@pytest.mark.parametrize("name", MARGINS)
@pytest.mark.parametrize("real", REAL)
def test_median_camera_is_near_the_measured_ones(real: str, name: str, cameras: list[dict[Any, float]]) -> None:
    assert np.median([found[name] for found in cameras]) == pytest.approx(REAL[real][name], abs=MARGINS[name])


@pytest.mark.parametrize("levels", BRIGHTNESS)
def test_noise_depends_on_brightness_as_measured(levels: tuple[int, int], cameras: list[dict[Any, float]]) -> None:
    assert np.median([found[levels] for found in cameras]) == pytest.approx(BRIGHTNESS[levels], abs=0.15)


@pytest.mark.parametrize("name", ["luma", "blue", "red", "luma1", "luma2", "chroma1"])
def test_cameras_vary_more_than_the_measured_ones(name: str, cameras: list[dict[Any, float]]) -> None:
    low, high = np.quantile([found[name] for found in cameras], (0.02, 0.98))
    assert all(low < real[name] < high for real in REAL.values())


def test_strengths_exceed_the_measured_range(cameras: list[dict[Any, float]]) -> None:
    luma = [found["luma"] for found in cameras]
    assert min(luma) < 1.3 * LOWEST_LUMA
    assert max(luma) > 2 * HIGHEST_LUMA
