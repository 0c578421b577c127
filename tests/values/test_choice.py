"""Choice of the value transform (display, linear or photons) and its message."""

from __future__ import annotations

import re

import numpy as np
import pytest

from n2n_cli.data.dead_leaves import dead_leaves
from n2n_cli.errors import ArgumentError, ImageError
from n2n_cli.images import Picture
from n2n_cli.images.pixels import to_integer
from n2n_cli.nn.functional import Array
from n2n_cli.values.choice import choose_values
from n2n_cli.values.transform import Values
from tests.values.frames import blobs, counted


def chosen(pixels: Array, mode: str = "auto", **tags: float) -> tuple[Values, str]:
    return choose_values(Picture(pixels if pixels.ndim == 3 else pixels[..., None], **tags), (), mode)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def photographs() -> list[Array]:
    """(H, W, 3) floats from 0 to 1: dead leaves with edges and textures of all sizes."""
    return [picture / 255 for picture in dead_leaves(4, 256, seed=7)]


# Photographs


def camera(clean: Array, rng: np.random.Generator) -> Array:
    """8-bit camera image, with photon and read noise in linear light.

    The curve of sRGB, about a power of 1 / 2.2, follows.
    """
    light = clean**2.2
    electrons = rng.poisson(2000 * light) + rng.normal(0, 5, light.shape)
    return to_integer(np.clip(electrons / 2000, 0, 1) ** (1 / 2.2), np.uint8)


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("sigma", [0, 5, 15, 25, 50, "camera"])
def test_photographs_of_8_bits_are_for_display(
    sigma: float | str, gray: bool, photographs: list[Array], rng: np.random.Generator
) -> None:
    for clean in photographs:
        picture = clean.mean(axis=2, keepdims=True) if gray else clean
        if isinstance(sigma, str):
            noisy = camera(picture, rng)
        else:
            noisy = to_integer(picture + rng.normal(0, sigma / 255, picture.shape), np.uint8)
        values, text = chosen(noisy)
        assert (values, text) == (Values("display", high=255.0), "8 bit, display")


def test_photographs_of_16_bits_and_floats_are_for_display(photographs: list[Array]) -> None:
    for clean in photographs:
        assert chosen(to_integer(clean, np.uint16)) == (Values("display", high=65535.0), "16 bit, display")
        for dtype in ("f2", "f4", "f8"):
            values, text = chosen(clean.astype(dtype))
            assert values == Values("display", high=1.0)
            assert text == f"{8 * np.dtype(dtype).itemsize} bit float, display"


def test_colour_profile_marks_a_dark_16_bit_photograph(photographs: list[Array]) -> None:
    dark = to_integer(photographs[0] / 8, np.uint16)
    assert choose_values(Picture(dark, None, {"icc_profile": b"x"}))[0].kind == "display"
    assert choose_values(Picture(dark))[0].kind != "display"


# Counted photons


@pytest.mark.parametrize(("peak", "least"), [(10, 12), (20, 12), (60, 8), (120, 8), (190, 8)])
def test_8_bit_gray_with_clear_photon_noise_is_counted_photons(peak: int, least: int) -> None:
    """Weak photon noise of 8-bit files may count as texture.

    They are mostly for display; `--values photons` decides.
    """
    kinds = []
    for seed in range(12):
        rng = np.random.default_rng([seed, peak])
        frame = counted(peak * blobs(256, rng), "u1", rng)
        kinds.append(chosen(frame)[0].kind)
        assert chosen(frame, "photons")[0].kind == "photons"
    assert kinds.count("photons") >= least
    assert set(kinds) <= {"photons", "display"}


@pytest.mark.parametrize("dtype", ["u2", "i2", "u4", "i4", "f4", "f8"])
@pytest.mark.parametrize(("peak", "offset", "read_noise"), [(60, 0, 0), (60, 100, 2), (120, 20, 1)])
def test_photon_noise_is_found_in_any_type(dtype: str, peak: float, offset: float, read_noise: float) -> None:
    rng = np.random.default_rng([int(peak), int(offset)])
    frame = counted(peak * blobs(192, rng), dtype, rng, offset=offset, read_noise=read_noise)
    values, text = chosen(frame)
    assert values.kind == "photons"
    assert not values.reason
    assert values.gain * (values.high - values.low) == pytest.approx(1, rel=0.2)
    bits = {"u": "", "i": " signed", "f": " float"}[dtype[0]]
    unit = "" if dtype[0] == "f" else " counts"
    line = re.fullmatch(
        rf"{8 * np.dtype(dtype).itemsize} bit{bits}, ([-\d.]+) to ([-\d.]+){unit}; "
        r"photon noise, gain ([\d.]+), read noise ([\d.e-]+)",
        text,
    )
    assert line, text
    low, high, gain, read = map(float, line.groups())
    assert [low, high] == pytest.approx([values.low, values.high], rel=1e-3, abs=0.1)
    assert gain == pytest.approx(1, rel=0.2)
    assert read == pytest.approx(read_noise, abs=1.5)


def test_scale_is_robust_to_hot_pixels(rng: np.random.Generator) -> None:
    frame = counted(100 * blobs(192, rng), "u2", rng, offset=100, read_noise=2)
    plain, _ = chosen(frame)
    frame[3, 5], frame[80, 7], frame[9, 100] = 65535, 60_000, 30_000
    hot, _ = chosen(frame)
    assert hot.kind == plain.kind == "photons"
    assert [hot.low, hot.high] == pytest.approx([plain.low, plain.high], rel=0.02)
    assert hot.gain == pytest.approx(plain.gain, rel=0.1)


def test_scale_covers_all_pages(rng: np.random.Generator) -> None:
    dark, bright = (counted(peak * blobs(128, rng), "u2", rng, offset=100) for peak in (40, 400))
    first, rest = Picture(dark[..., None]), [Picture(bright[..., None])] * 2
    both, _ = choose_values(first, rest)
    assert both.high > 1.5 * chosen(dark)[0].high
    other = Picture(np.zeros((8, 8, 3), np.uint8))  # a thumbnail is ignored
    assert choose_values(first, [other, *rest]) == choose_values(first, rest)


# Other measured values


def test_heights_are_linear(rng: np.random.Generator) -> None:
    heights = 300 + 200 * blobs(192, rng) + rng.normal(0, 2, (192, 192))
    values, text = chosen(heights.astype(np.float32))
    assert values.kind == "linear"
    assert re.fullmatch(r"32 bit float, [\d.]+ to [\d.]+; linear, noise [\d.]+", text)
    assert float(text.split()[-1]) == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize("dtype", ["i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("sentinel", [-9999, -32768])
def test_value_far_from_all_others_is_missing_data(sentinel: float, dtype: str, rng: np.random.Generator) -> None:
    heights = (300 + 200 * blobs(192, rng) + rng.normal(0, 2, (192, 192))).astype(dtype)
    heights[:50, :70] = sentinel
    values, _ = chosen(heights)
    assert values.empty == (sentinel,)
    assert 290 < values.low < values.high < 520
    assert np.array_equal(values.missing(heights), heights == sentinel)


def test_zero_may_be_missing_data(rng: np.random.Generator) -> None:
    heights = (8000 + 200 * blobs(192, rng) + rng.normal(0, 2, (192, 192))).astype(np.uint16)
    heights[:50, :70] = 0
    values, _ = chosen(heights)
    assert values.empty == (0,)
    assert values.low > 7900


def test_zero_near_other_values_is_a_value(rng: np.random.Generator) -> None:
    frame = counted(60 * blobs(192, rng), "u2", rng)
    assert chosen(frame)[0].empty == ()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_lowest_float_is_missing_data(dtype: str, rng: np.random.Generator) -> None:
    heights = (300 + 200 * blobs(192, rng) + rng.normal(0, 2, (192, 192))).astype(dtype)
    heights[100:, 40:60] = np.finfo("f4").min
    heights[0, 0], heights[0, 1] = np.nan, np.inf
    values, _ = chosen(heights)
    assert 290 < values.low < values.high < 520
    assert values.missing(heights).sum() == 92 * 20 + 2


def test_tag_names_missing_data_amid_the_values(rng: np.random.Generator) -> None:
    heights = np.rint(300 + 200 * blobs(192, rng) + rng.normal(0, 2, (192, 192))).astype(np.int16)
    heights[:90] = 350
    values, _ = chosen(heights, nodata=350)
    assert values.empty == (350,)
    assert chosen(heights)[0].empty == ()


# Nothing to denoise


@pytest.mark.parametrize("dtype", ["u2", "i2", "f4", "f8"])
def test_constant_pictures_have_nothing_to_denoise(dtype: str) -> None:
    values, text = chosen(np.full((64, 64), 300, dtype))
    assert values.reason == "its values are constant"
    assert "300 to 300" in text


@pytest.mark.parametrize("dtype", ["u2", "i2", "f4"])
@pytest.mark.parametrize("mean", [7, 300])
def test_pure_noise_has_nothing_to_denoise(dtype: str, mean: float) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        for frame in (rng.poisson(mean, (256, 256)), np.rint(rng.normal(mean, 2, (256, 256)))):
            values, _ = chosen(frame.astype(dtype))
            assert values.reason == "its values cannot be distinguished from noise"


@pytest.mark.parametrize("contrast", [0.5, 1, 3])
def test_faint_signal_is_not_taken_for_noise(contrast: float) -> None:
    """Blobs of half the noise's deviation are visible because of their area."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        frame = 300 + contrast * 10 * blobs(256, rng) + rng.normal(0, 10, (256, 256))
        assert not chosen(np.rint(frame).astype(np.uint16))[0].reason


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_picture_of_nans_has_nothing_to_denoise(value: float) -> None:
    values, text = chosen(np.full((64, 64), value, np.float32))
    assert values.reason == "it holds no values"
    assert text == "32 bit float, no values"


# The option `--values`


def test_mode_overrides_the_choice(photographs: list[Array], rng: np.random.Generator) -> None:
    photograph = to_integer(photographs[0], np.uint8)
    frame = counted(100 * blobs(192, rng), "u2", rng, offset=100, read_noise=2)
    for mode in ("display", "linear", "photons"):
        assert chosen(frame, mode)[0].kind == mode
    assert chosen(photograph, "linear")[0].kind == "linear"
    assert chosen(frame, "linear")[0].sigma < np.inf
    assert not chosen(rng.normal(300, 2, (256, 256)), "linear")[0].reason


def test_unsuitable_mode_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(
        ArgumentError, match=r"^`values` is 'counts', it must be one of auto, display, linear, photons$"
    ):
        chosen(np.zeros((9, 9), np.uint16), "counts")
    falling = 300 + 100 * blobs(192, rng)
    falling += rng.normal(0, 1, falling.shape) * (420 - falling) / 5
    with pytest.raises(ImageError, match="noise does not grow with its signal") as caught:
        chosen(falling, "photons")
    assert caught.value.hint == "use `--values linear`"
    with pytest.raises(ImageError, match="too small to measure its noise"):
        chosen(np.arange(64, dtype=np.uint16).reshape(8, 8), "photons")
