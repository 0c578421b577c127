from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from n2n_cli.data.dead_leaves import LARGEST, _blur, dead_leaves, dead_leaves_picture
from n2n_cli.errors import ArgumentError


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    return dead_leaves(12, 128, seed=7, threads=1)


def slope(picture: NDArray[np.uint8]) -> float:
    """Exponent of an image's power spectrum, averaged over directions.

    It is about -2 for photographs.
    """
    gray = picture.mean(axis=2)
    n = len(gray)
    window = np.hanning(n)
    power = np.abs(np.fft.fft2((gray - gray.mean()) * window[:, None] * window)) ** 2
    f = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.fftfreq(n))
    edges = np.geomspace(4 / n, 0.35, 10)
    means = [power[(low <= f) & (f < high)].mean() for low, high in pairwise(edges)]
    return float(np.polyfit(np.log(edges[1:] * edges[:-1]) / 2, np.log(means), 1)[0])


@pytest.mark.parametrize(("count", "size"), [(3, 32), (2, 1), (2, 2), (1, 33), (0, 8)])
def test_pictures_have_shape_and_type(count: int, size: int) -> None:
    made = dead_leaves(count, size, seed=0, threads=1)
    assert made.shape == (count, size, size, 3)
    assert made.dtype == np.uint8


def test_picture_depends_only_on_seed_size_and_number() -> None:
    wanted = dead_leaves(5, 16, seed=3, threads=1)
    assert np.array_equal(dead_leaves(5, 16, seed=3, threads=3), wanted)
    assert np.array_equal(dead_leaves(2, 16, seed=3, threads=2), wanted[:2])
    assert np.array_equal(dead_leaves(5, 16, seed=3), wanted)


def test_all_pictures_differ() -> None:
    made = [*dead_leaves(6, 16, seed=3, threads=1), *dead_leaves(6, 16, seed=4, threads=1)]
    assert len({picture.tobytes() for picture in made}) == 12


def test_single_picture_equals_that_of_the_set_before_rounding() -> None:
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([3, 1])))
    picture = dead_leaves_picture(16, rng=rng)
    assert picture.dtype == np.float32
    assert picture.shape == (16, 16, 3)
    assert np.array_equal(np.rint(picture * 255), dead_leaves(2, 16, seed=3, threads=1)[1])


def test_single_pictures_stay_within_black_and_white() -> None:
    for seed in range(30):
        picture = dead_leaves_picture(24, rng=np.random.default_rng(seed))
        assert 0 <= picture.min() <= picture.max() <= 1


def test_set_has_light_dark_and_coloured_regions(pictures: NDArray[np.uint8]) -> None:
    assert np.quantile(pictures, 0.05) < 40
    assert np.quantile(pictures, 0.95) > 200
    assert 90 < pictures.mean() < 160
    means = pictures.reshape(12, -1, 3).mean(axis=1)
    assert np.ptp(means - means.mean(axis=1, keepdims=True), axis=0).min() > 10
    assert pictures.std(axis=3).mean() > 5


def test_every_picture_has_contrast_edges_and_flat_regions(pictures: NDArray[np.uint8]) -> None:
    gray = pictures.mean(axis=3)
    assert gray.std(axis=(1, 2)).min() > 15
    for steps in (np.abs(np.diff(gray, axis=1)), np.abs(np.diff(gray, axis=2))):
        assert steps.max(axis=(1, 2)).min() > 40
        assert np.median(steps) < 6


def test_spectrum_falls_as_that_of_photographs(pictures: NDArray[np.uint8]) -> None:
    slopes = [slope(picture) for picture in pictures]
    assert -3 < np.mean(slopes) < -1.8
    assert -4 < min(slopes) <= max(slopes) < -1


def test_no_direction_or_place_is_preferred(pictures: NDArray[np.uint8]) -> None:
    gray = pictures.astype(np.float64).mean(axis=3)
    down, right = (np.square(np.diff(gray, axis=axis)).mean() for axis in (1, 2))
    assert 0.7 < down / right < 1.4
    halves = [gray[:, :64].std(), gray[:, 64:].std(), gray[:, :, :64].std(), gray[:, :, 64:].std()]
    assert max(halves) / min(halves) < 1.3


def test_blur_is_isotropic_and_keeps_the_sum() -> None:
    picture = np.zeros((5, 7, 3), np.float32)
    picture[2, 3] = 1, 2, 3
    wanted = np.zeros((5, 7, 3))
    wanted[1:4, 2:5] = np.multiply.outer(np.outer([0.1, 0.8, 0.1], [0.1, 0.8, 0.1]), [1, 2, 3])
    assert _blur(picture, np.float32(0.1)) == pytest.approx(wanted, abs=1e-6)
    flat = np.full((5, 7, 3), 0.25, np.float32)
    assert np.array_equal(_blur(flat, np.float32(0.1)), flat)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": -1}, "`count` is -1, it must be at least 0"),
        ({"size": 0}, "`size` is 0, it must be at least 1"),
        ({"size": LARGEST + 1}, f"`size` is {LARGEST + 1}, it must be at most {LARGEST} pixels"),
        ({"seed": -5}, "`seed` is -5, it must be at least 0"),
        ({"threads": 0}, "`threads` is 0, it must be at least 1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ArgumentError, match="^" + re.escape(message) + "$"):
        dead_leaves(**{"count": 1, "size": 8, "seed": 0, "threads": 1} | arguments)
