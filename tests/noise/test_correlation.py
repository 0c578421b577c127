"""Neighbour correlation of noise, and pixel-shuffling that removes it."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.images import Picture
from n2n_cli.nn.functional import Array
from n2n_cli.noise.correlation import correlation_notes, noise_correlation, shuffled_down, shuffled_up
from tests.nn.cases import some_examples
from tests.pictures import numbered


def white(rng: np.random.Generator, side: int = 192) -> Array:
    return rng.normal(size=(side, side, 1)).astype(np.float32)


def flat_with(noise: Array) -> tuple[Picture, Picture]:
    return Picture(0.5 + np.float32(0.05) * noise), Picture(np.full_like(noise, 0.5))


def test_white_noise_is_not_correlated(rng: np.random.Generator) -> None:
    across, down = noise_correlation(*flat_with(white(rng)))
    assert abs(across) < 0.05
    assert abs(down) < 0.05


def test_each_direction_has_its_own_correlation(rng: np.random.Generator) -> None:
    noise = white(rng)
    mixed = noise + np.float32(0.5) * np.roll(noise, 1, axis=1)  # correlation 0.5 / (1 + 0.25)
    for oriented, wanted in ((mixed, (0.4, 0)), (mixed.swapaxes(0, 1), (0, 0.4))):
        assert noise_correlation(*flat_with(np.ascontiguousarray(oriented))) == pytest.approx(wanted, abs=0.05)
        assert noise_correlation(*flat_with(oriented), distance=2) == pytest.approx((0, 0), abs=0.05)


def test_removed_texture_is_excluded(rng: np.random.Generator) -> None:
    noisy, clean = (picture.pixels.copy() for picture in flat_with(white(rng)))
    texture = 0.3 * np.sin(np.arange(96) / 2)[:, None, None].astype(np.float32)
    noisy[:96] += texture
    clean[:96] += texture / 2
    across, down = noise_correlation(Picture(noisy), Picture(clean))
    assert max(abs(across), abs(down)) < 0.08


def test_correlation_in_integer_pictures_is_found(rng: np.random.Generator) -> None:
    noise = white(rng)
    noise = noise + np.roll(noise, 1, axis=0)
    noisy, clean = (Picture(np.rint(picture.pixels * 255).astype(np.uint8)) for picture in flat_with(noise))
    assert noise_correlation(noisy, clean) == pytest.approx((0, 0.5), abs=0.06)


def test_small_or_unchanged_pictures_give_nan(rng: np.random.Generator) -> None:
    assert all(map(math.isnan, noise_correlation(*flat_with(white(rng, 64)))))  # only four windows
    noisy, _ = flat_with(white(rng))
    assert all(map(math.isnan, noise_correlation(noisy, noisy)))
    empty = Picture(np.zeros((0, 5, 1), np.uint8))
    assert all(map(math.isnan, noise_correlation(empty, empty)))


def test_whole_length_of_a_long_picture_is_used() -> None:
    noise = np.zeros((32, 5000, 1), np.float32)
    noise[:, ::2] = 1
    across, down = noise_correlation(*flat_with(noise - np.float32(0.5)))
    assert (across, down) == pytest.approx((-1, 1), abs=0.01)


def test_notes_on_correlated_noise_suggest_pixel_shuffle(rng: np.random.Generator) -> None:
    noise = white(rng)
    wide = sum((np.roll(noise, step, axis=1) for step in range(1, 7)), noise)
    pictures = flat_with(np.asarray(wide) / np.float32(3))
    assert correlation_notes(*flat_with(noise), 1) == []
    notes = [correlation_notes(*pictures, factor)[0] for factor in (1, 2, 4)]
    found = [float(re.sub(r".*\((0\.\d\d)\).*", r"\1", note)) for note in notes]
    assert found == pytest.approx([6 / 7, 5 / 7, 3 / 7], abs=0.03)
    assert notes[0].startswith("the removed noise is correlated between neighbouring pixels (")
    assert notes[0].endswith("; try `--pd 2`")
    assert notes[1].startswith("noise 2 pixels apart is still correlated (")
    assert notes[1].endswith("; try `--pd 3`")
    assert notes[2].endswith(")")


def test_sub_images_hold_every_second_pixel_of_every_second_row() -> None:
    picture = Picture(numbered(5, 6), alpha=np.ones((5, 6), np.uint16))
    parts = shuffled_down(picture, 2)
    assert [part.pixels.shape[:2] for part in parts] == [(3, 3), (3, 3), (2, 3), (2, 3)]
    np.testing.assert_array_equal(parts[1].pixels, picture.pixels[::2, 1::2])
    assert [part.alpha for part in parts] == [None] * 4


@some_examples
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.integers(1, 4))
def test_pixel_shuffling_round_trip(h: int, w: int, channels: int, factor: int) -> None:
    picture = Picture(numbered(h, w, channels), alpha=numbered(h, w)[..., 0], metadata={"dpi": (72, 72)})
    parts = shuffled_down(picture, factor)
    assert len(parts) == (factor**2 if min(h, w) >= factor else 1)
    again = shuffled_up(picture, parts, factor)
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    assert again.alpha is picture.alpha
    assert again.metadata == picture.metadata
