"""Denoising of pictures in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from n2n_cli.denoising.picture import denoise, denoise_picture
from n2n_cli.errors import ArgumentError, ShapeError
from n2n_cli.images import Picture, read_picture, write_picture
from n2n_cli.models.choice import choose_model
from n2n_cli.models.model import Model
from n2n_cli.nn import MSE, SGD, Conv2d, Sequential
from n2n_cli.nn.functional import Array, Pair
from n2n_cli.system.progress import reported_to
from tests.nn.founding import founding


def mixing(weights: list[list[float]], bias: float = 0) -> Model:
    """Model of a 1x1 convolution with these weights (output, input channels)."""
    conv = Conv2d(len(weights), len(weights), 1)
    conv.weight.data[...] = np.array(weights)[:, :, None, None]
    assert conv.bias is not None
    conv.bias.data[...] = bias
    network = Sequential(conv)
    return Model(network, SGD(network.param()), MSE())


HALF_GRAY = mixing([[0.5]])
TURNING = mixing([[0, 1, 0], [0, 0, 1], [1, 0, 0]])


def uniform(rng: np.random.Generator, *shape: int) -> Array:
    return rng.uniform(size=shape).astype(np.float32)


def test_rgb_network_gets_all_channels_of_rgb_picture(rng: np.random.Generator) -> None:
    pixels = uniform(rng, 3, 5, 7)
    np.testing.assert_array_equal(denoise(TURNING, pixels), pixels[[1, 2, 0]])


def test_gray_network_denoises_gray_picture(rng: np.random.Generator) -> None:
    pixels = uniform(rng, 1, 5, 7)
    np.testing.assert_array_equal(denoise(HALF_GRAY, pixels), pixels / 2)


def test_rgb_network_gets_gray_picture_as_three_equal_channels(rng: np.random.Generator) -> None:
    pixels = uniform(rng, 1, 5, 7)
    weights = [[0.5, 0.1, 0], [0, 0.2, 0], [0, 0.3, 0.1]]  # the sums of the rows are 0.6, 0.2 and 0.4
    got = denoise(mixing(weights), pixels)
    assert got.shape == (1, 5, 7)
    np.testing.assert_allclose(got, 0.4 * pixels, atol=1e-6)


def test_gray_network_denoises_rgb_picture_by_channel(rng: np.random.Generator) -> None:
    pixels = uniform(rng, 3, 5, 7)
    np.testing.assert_array_equal(denoise(HALF_GRAY, pixels), pixels / 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_values_outside_the_range_are_clipped(channels: int) -> None:
    pixels = np.array([[[0, 0.25, 0.5, 1]]], np.float32)
    model = mixing((3 * np.eye(channels)).tolist(), bias=-1)  # 3x - 1
    np.testing.assert_allclose(denoise(model, pixels), np.array([[[0, 0, 0.5, 1]]]), atol=1e-6)


def test_input_is_unchanged_and_not_shared(rng: np.random.Generator) -> None:
    for model in (TURNING, HALF_GRAY):
        for own in (1, 3):
            pixels = uniform(rng, own, 5, 7)
            before = pixels.copy()
            assert not np.shares_memory(denoise(model, pixels), pixels)
            np.testing.assert_array_equal(pixels, before)


def test_pixels_without_channels_are_refused(rng: np.random.Generator) -> None:
    for pixels in (uniform(rng, 3, 7), uniform(rng, 1, 7), uniform(rng, 5, 7), uniform(rng, 1, 3, 5, 7)):
        with pytest.raises(ShapeError, match=r"^a picture has to have the shape \(C, H, W\), it has \("):
            denoise(TURNING, pixels)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (5, 7), (8, 12)])
@pytest.mark.parametrize("own", [1, 3])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_picture_keeps_size_channels_and_depth(
    size: Pair, own: int, depth: type[np.unsignedinteger], rng: np.random.Generator
) -> None:
    network = founding(rng, np.float32)
    model = Model(network, SGD(network.param()), MSE())
    pixels = rng.integers(np.iinfo(depth).max, size=(*size, own), dtype=depth, endpoint=True)
    before = pixels.copy()
    denoised = denoise_picture(model, Picture(pixels)).pixels
    assert denoised.shape == pixels.shape
    assert denoised.dtype == depth
    np.testing.assert_array_equal(pixels, before)
    highest = np.float32(np.iinfo(depth).max)
    wanted = denoise(model, np.moveaxis(pixels / highest, -1, 0))
    np.testing.assert_allclose(np.moveaxis(denoised, -1, 0), wanted * highest, atol=0.55)


def test_16_bit_levels_are_kept_exactly() -> None:
    pixels = np.array([[0, 1, 2, 1000, 65534, 65535]], np.uint16)[..., None]
    denoised = denoise_picture(mixing([[1]]), Picture(pixels)).pixels
    np.testing.assert_array_equal(denoised, pixels)
    assert denoised.dtype == np.uint16


def test_alpha_metadata_and_notes_are_kept(rng: np.random.Generator) -> None:
    alpha = rng.integers(256, size=(5, 7), dtype=np.uint8)
    picture = Picture(rng.integers(256, size=(5, 7, 3), dtype=np.uint8), alpha, {"dpi": (72, 72)}, ("a note",))
    denoised = denoise_picture(TURNING, picture)
    np.testing.assert_array_equal(denoised.pixels, picture.pixels[..., [1, 2, 0]])
    assert denoised.alpha is not None
    np.testing.assert_array_equal(denoised.alpha, alpha)
    assert (denoised.metadata, denoised.notes) == ({"dpi": (72, 72)}, ("a note",))


@pytest.mark.parametrize("depth", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("strength", [0.001, 0.25, 0.5, 0.999])
def test_strength_blends_with_the_input_in_one_rounding(depth: type, strength: float, rng: np.random.Generator) -> None:
    highest = 1 if depth is np.float32 else np.iinfo(depth).max
    pixels: Array = (rng.random((5, 7, 1)) * highest).astype(depth)
    blended = denoise_picture(HALF_GRAY, Picture(pixels), strength=strength).pixels
    assert blended.dtype == depth
    wanted = pixels.astype(float) * (1 - strength / 2)
    # The tolerance allows one rounding, and no second one.
    np.testing.assert_allclose(blended, wanted, atol=1e-6 if depth is np.float32 else 0.505, rtol=0)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_blend_of_equal_pictures_is_exact(depth: type[np.unsignedinteger]) -> None:
    pixels: Array = np.arange(np.iinfo(depth).max + 1, dtype=depth).reshape(-1, 16, 1)
    for strength in (0.0, 0.3, 0.7, 1.0):
        denoised = denoise_picture(mixing([[1]]), Picture(pixels), strength=strength)
        np.testing.assert_array_equal(denoised.pixels, pixels)


def test_strength_0_returns_the_picture_without_running_the_network() -> None:
    picture = Picture(np.array([[[0], [7], [255]]], np.uint8))
    assert denoise_picture(mixing([[np.nan]]), picture, strength=0) is picture


@pytest.mark.parametrize("strength", [-0.1, 1.1, np.nan])
def test_strength_outside_0_to_1_is_refused(strength: float) -> None:
    with pytest.raises(ArgumentError, match="`strength` is"):
        denoise_picture(HALF_GRAY, Picture(np.zeros((1, 1, 1), np.uint8)), strength=strength)


@pytest.mark.parametrize("model", [TURNING, HALF_GRAY])
@pytest.mark.parametrize("own", [1, 3])
@pytest.mark.parametrize("strength", [0, 0.5, 1])
def test_reported_progress_adds_up_to_1(model: Model, own: int, strength: float) -> None:
    parts: list[float] = []
    picture = Picture(np.zeros((300, 150, own), np.uint8))
    with reported_to(parts.append):
        denoise_picture(model, picture, strength=strength)
    assert sum(parts) == pytest.approx(1)
    assert len(parts) > 1 or strength == 0


@pytest.mark.parametrize("level", [0, 128, 255])
def test_bundled_model_leaves_flat_pictures_flat_up_to_the_edges(level: int) -> None:
    flat = np.full((67, 90, 3), level, np.uint8)
    model = Model.from_checkpoint(choose_model("photo").path)
    denoised = denoise_picture(model, Picture(flat)).pixels
    assert np.abs(denoised.astype(int) - level).max() <= 1


@pytest.mark.parametrize("own", [1, 3])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_values_above_white_become_white(own: int, depth: type[np.unsignedinteger]) -> None:
    white = np.full((5, 7, own), np.iinfo(depth).max, depth)
    brighter = mixing(np.eye(own).tolist(), bias=0.3)
    np.testing.assert_array_equal(denoise_picture(brighter, Picture(white)).pixels, white)


def test_gray_file_with_alpha_stays_gray_with_alpha(tmp_path: Path, rng: np.random.Generator) -> None:
    gray, alpha = rng.integers(256, size=(5, 7, 1), dtype=np.uint8), rng.integers(256, size=(5, 7), dtype=np.uint8)
    write_picture(tmp_path / "in.png", Picture(gray, alpha))
    write_picture(tmp_path / "out.png", denoise_picture(TURNING, read_picture(tmp_path / "in.png")))
    got = read_picture(tmp_path / "out.png")
    np.testing.assert_array_equal(got.pixels, gray)
    assert got.alpha is not None
    np.testing.assert_array_equal(got.alpha, alpha)
