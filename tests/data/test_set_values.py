"""Value transform of a data set, and its images as network input."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from n2n_cli.data.set_values import read_pixels, seen_pixels, values_note, values_of_set
from n2n_cli.errors import ArgumentError, ImageError
from n2n_cli.images import Picture, write_picture
from n2n_cli.images.pixels import to_integer
from n2n_cli.nn.functional import Array
from n2n_cli.values.transform import parse_values
from tests.images.pictures import DEEP, GRAY, RGB
from tests.pictures import error_of
from tests.shots import scene
from tests.values.frames import blobs, counted


def frames(folder: Path, peaks: tuple[float, ...], dtype: str = "u2") -> list[Path]:
    """Write files of counts with these peaks and an offset of 100."""
    paths = []
    for i, peak in enumerate(peaks):
        rng = np.random.default_rng(i)
        pixels = counted(peak * blobs(96, rng), dtype, rng, offset=100, read_noise=2)
        write_picture(folder / f"{i:02}.tif", Picture(pixels[..., None]))
        paths.append(folder / f"{i:02}.tif")
    return paths


# The transform


@pytest.mark.parametrize("dtype", ["u2", "i2", "u4", "f4", "f8"])
def test_measured_sets_are_scaled_linearly(dtype: str, tmp_path: Path) -> None:
    """Photon noise is scaled linearly as well: targets need noise of mean zero."""
    values = values_of_set(frames(tmp_path, (60, 300, 100), dtype), "auto")
    assert values is not None
    assert (values.kind, values.reason, values.empty) == ("linear", "", ())
    assert values.low == pytest.approx(98, abs=4)
    assert 250 < values.high < 450


def test_transform_of_a_measured_set_round_trips_through_text(tmp_path: Path) -> None:
    paths = frames(tmp_path, (300, 300, 300))
    values = values_of_set(paths, "auto")
    assert values is not None
    pixels = read_pixels(paths[0], 1, values)
    np.testing.assert_array_equal(pixels, read_pixels(paths[0], 1, parse_values(values.to_text())))
    assert -0.1 < pixels.mean() < 1


def test_photons_are_stabilised_on_request(tmp_path: Path) -> None:
    values = values_of_set(frames(tmp_path, (60, 300, 100)), "photons")
    assert values is not None
    assert values.kind == "photons"
    assert values.gain * (values.high - values.low) == pytest.approx(1, rel=0.25)


def test_display_sets_have_no_transform(tmp_path: Path) -> None:
    paths = []
    for i in range(3):
        write_picture(tmp_path / f"{i}.png", Picture(to_integer(scene(40, 48, seed=i), np.uint8)))
        paths.append(tmp_path / f"{i}.png")
    assert values_of_set(paths, "auto") is None
    assert values_of_set(paths, "display") is None
    linear = values_of_set(paths, "linear")
    assert linear is not None
    assert linear.kind == "linear"
    assert values_of_set(frames(tmp_path, (60,)), "display") is None


def test_given_transform_is_kept(tmp_path: Path) -> None:
    for text in ("linear:91~185", "photons:91~185,0.01,0.001"):
        assert values_of_set(frames(tmp_path, (900,)), text) == parse_values(text)


def test_transform_is_measured_on_all_parts_of_a_set(tmp_path: Path) -> None:
    paths = frames(tmp_path, (50,) * 30 + (800,) * 30)
    values = values_of_set(paths, "auto")
    assert values is not None
    assert values.high > 500


def test_transform_ignores_damaged_pictures(tmp_path: Path) -> None:
    paths = frames(tmp_path, (60, 60, 60))
    good = values_of_set(paths[1:], "auto")
    paths[0].write_bytes(b"no picture")
    assert values_of_set(paths, "auto") == good
    for path in paths:
        path.write_bytes(b"no picture")
    assert values_of_set(paths, "auto") is None


def test_note_states_the_range() -> None:
    assert values_note(None) == ()
    assert values_note(parse_values("linear:91.5~185")) == ("values 91.5 to 185 are scaled to 0 to 1",)


# Network input


def test_gray_becomes_three_equal_channels(tmp_path: Path) -> None:
    for values in (GRAY, DEEP):
        Image.fromarray(values).save(tmp_path / "a.png")
        assert np.array_equal(read_pixels(tmp_path / "a.png", 3), np.stack([values] * 3, axis=2))
        assert np.array_equal(read_pixels(tmp_path / "a.png", 1), values[..., None])


def test_rgb_becomes_luma(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(np.stack([levels] * 3, axis=2)).save(tmp_path / "gray.png")
    assert np.array_equal(read_pixels(tmp_path / "gray.png", 1), levels[..., None])
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 100, 200]]], np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    assert read_pixels(tmp_path / "a.png", 1).ravel().tolist() == [76, 150, 29, 84]
    assert np.array_equal(read_pixels(tmp_path / "a.png", 3), colours)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_pictures_have_one_or_three_channels(tmp_path: Path, channels: int) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    message = f"`channels` is {channels}, it must be 1 (gray) or 3 (RGB) to read pictures from image files"
    with pytest.raises(ArgumentError, match="^" + re.escape(message) + "$"):
        read_pixels(tmp_path / "a.png", channels)


@pytest.mark.parametrize("dtype", ["u2", "i2", "i4", "f4", "f8"])
def test_measured_pictures_share_one_scale(dtype: str, tmp_path: Path) -> None:
    values = parse_values("linear:100~300")
    for i, pixels in enumerate(np.array([[[100, 200], [300, 350]], [[150, 90], [250, 200]]], dtype)):
        write_picture(tmp_path / f"{i}.tif", Picture(pixels[..., None]))
    first, second = (read_pixels(tmp_path / f"{i}.tif", 1, values) for i in (0, 1))
    assert first.dtype == np.float32
    assert first.ravel().tolist() == pytest.approx([0, 0.5, 1, 1.25])
    assert second.ravel().tolist() == pytest.approx([0.25, -0.05, 0.75, 0.5])


def test_missing_values_are_filled_in(rng: np.random.Generator) -> None:
    pixels = rng.uniform(100, 300, (40, 30, 1)).astype(np.float32)
    pixels[5:9, 5:9], pixels[20, 20], pixels[21, 20] = np.nan, -9999, np.inf
    seen = seen_pixels("it", Picture(pixels), parse_values("linear:100~300"))
    assert seen.dtype == np.float32
    assert (seen >= 0).all()
    assert (seen <= 1).all()
    in_display = seen_pixels("it", Picture(np.where(pixels > -9, pixels / 300, np.nan)), None)
    assert np.isfinite(in_display).all()
    assert in_display.max() <= 1


def test_display_pictures_are_unchanged(rng: np.random.Generator) -> None:
    pictures: list[Array] = [RGB, DEEP[..., None], rng.random((4, 5, 1)).astype(np.float32)]
    for pixels in pictures:
        assert seen_pixels("it", Picture(pixels), None) is pixels


@pytest.mark.parametrize("dtype", ["i2", "i4", "u4"])
def test_measured_pictures_in_a_set_for_display_are_refused(dtype: str) -> None:
    picture = Picture(np.zeros((4, 5, 1), dtype))
    error = error_of(ImageError, lambda: seen_pixels("`a.tif`", picture, None))
    assert error.message == f"`a.tif` has {np.dtype(dtype)} values, unlike the display pictures of the set"
    assert error.hint == "use pictures of one kind, or `--values linear`"
