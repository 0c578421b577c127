"""Shifts and differences in brightness between two noisy shots."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.data.alignment import Exposure, common_area, measure_exposure, measure_shift
from n2n_cli.data.dead_leaves import dead_leaves_picture
from n2n_cli.nn.functional import Array, Pair
from tests.nn.cases import some_examples

LEAVES = dead_leaves_picture(200, rng=np.random.default_rng(5)).astype(np.float32)[:, :180]
NOT_MOVED = (0, 0)


def shots(
    shift: Pair = NOT_MOVED, *, sigma_255: float = 25, gain: float = 1, offset: float = 0, seed: int = 0
) -> tuple[Array, Array]:
    """Two noisy shots of 128x112 pixels, shifted against each other.

    With the shift undone, first = gain * second + offset.
    """
    rng = np.random.default_rng(seed)
    (dy, dx), clean = shift, LEAVES
    views = [clean[36:164, 34:146], (clean[36 - dy : 164 - dy, 34 - dx : 146 - dx] - offset) / gain]
    first, second = (view + rng.normal(0, sigma_255 / 255, view.shape).astype(np.float32) for view in views)
    return first, second


# Shifts


@given(st.integers(-28, 28), st.integers(-28, 28), st.sampled_from([0.0, 10.0, 50.0]))
@some_examples
def test_shift_is_exact_under_noise(rows: int, columns: int, sigma_255: float) -> None:
    assert measure_shift(*shots((rows, columns), sigma_255=sigma_255)) == (rows, columns)


def test_shift_is_found_in_most_shots_at_very_strong_noise() -> None:
    found = [measure_shift(*shots((5, -9), sigma_255=130, seed=seed)) for seed in range(20)]
    assert found.count((5, -9)) > 13
    assert all(shift and abs(shift[0] - 5) <= 1 and abs(shift[1] + 9) <= 1 for shift in found)


def test_noise_alone_gives_no_shift() -> None:
    assert {measure_shift(*shots(sigma_255=130, seed=seed)) for seed in range(40)} == {(0, 0)}


def test_shift_does_not_depend_on_brightness() -> None:
    assert measure_shift(*shots((5, -9), gain=2.0, offset=0.1)) == (5, -9)


def test_shift_of_integer_shots_is_found() -> None:
    first, second = (np.clip(shot * 65535, 0, 65535).astype(np.uint16) for shot in shots((-3, 4)))
    assert measure_shift(first, second) == (-3, 4)
    assert measure_shift((first >> 8).astype(np.uint8), second) == (-3, 4)


def test_shift_of_gray_shots_is_found() -> None:
    first, second = shots((2, 1))
    assert measure_shift(first[..., :1], second[..., :1]) == (2, 1)


def test_shift_of_large_shots_is_measured_in_the_centre(rng: np.random.Generator) -> None:
    texture = rng.normal(size=(1604, 68, 1))
    first, second = texture[2:-2, 2:-2].copy(), texture[:-4, 1:-3].copy()
    for beyond in (slice(0, 288), slice(-288, None)):  # strong structure without the shift
        first[beyond] = second[beyond] = 50 * texture[2:-2, 2:-2][beyond]
    assert measure_shift(first, second) == (2, 1)


@pytest.mark.parametrize("kind", ["noise", "flat", "other"])
def test_shots_without_common_structure_have_no_shift(kind: str, rng: np.random.Generator) -> None:
    first, second = rng.normal(0.5, 0.1, (2, 96, 80, 3))
    if kind == "flat":
        first[...], second[...] = 0.5, 0.7
    if kind == "other":
        first += LEAVES[:96, :80]
        second += LEAVES[100:196, 90:170]
    assert measure_shift(first, second) is None


def test_shift_beyond_a_quarter_of_a_side_is_unknown() -> None:
    views = LEAVES[:100, :100], LEAVES[30:130, :100]
    assert measure_shift(*views) is None
    assert measure_shift(*views[::-1]) is None
    assert measure_shift(views[0], LEAVES[25:125, :100]) == (-25, 0)


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=4))
@some_examples
def test_common_area_shows_the_same_in_all_shots(shifts: list[Pair]) -> None:
    scene = np.arange(60 * 60).reshape(60, 60)
    shifts = [(0, 0), *shifts]
    views = [scene[20 - dy : 43 - dy, 20 - dx : 39 - dx] for dy, dx in shifts]
    cut = [view[area] for view, area in zip(views, common_area(shifts, 23, 19), strict=True)]
    spans = [max(shift[axis] for shift in shifts) - min(shift[axis] for shift in shifts) for axis in (0, 1)]
    assert cut[0].shape == (max(0, 23 - spans[0]), max(0, 19 - spans[1]))
    for view in cut[1:]:
        np.testing.assert_array_equal(view, cut[0])


def test_common_area_without_shifts_is_the_whole_shot() -> None:
    assert common_area([(0, 0), (0, 0)], 5, 7) == [(slice(0, 5), slice(0, 7))] * 2


# Brightness


@pytest.mark.parametrize(("gain", "offset"), [(1.25, 0.0), (0.8, 0.05), (2.0, -0.1), (1.0, 0.03)])
@pytest.mark.parametrize("sigma_255", [5, 25, 60])
def test_gain_and_offset_under_noise(gain: float, offset: float, sigma_255: float) -> None:
    found = measure_exposure(*shots(sigma_255=sigma_255, gain=gain, offset=offset))
    assert found.gain == pytest.approx(gain, rel=0.0015 * sigma_255)
    assert found.offset == pytest.approx(offset, abs=0.0008 * sigma_255)
    assert found.differs


def test_gain_is_unbiased_under_noise() -> None:
    many = [shots(sigma_255=120, seed=seed) for seed in range(12)]
    least_squares = []
    for pair in many:
        first, second = (shot.reshape(16, 8, 14, 8, 3).mean(axis=(1, 3, 4)).ravel() for shot in pair)
        least_squares.append(np.polyfit(second, first, 1)[0])
    assert np.mean(least_squares) < 0.96
    assert 0.98 < np.mean([measure_exposure(*pair).gain for pair in many]) < 1.04


def test_equal_shots_do_not_differ_at_any_noise_level() -> None:
    for seed in range(20):
        assert not measure_exposure(*shots(sigma_255=(5, 25, 120)[seed % 3], seed=seed)).differs
    found = measure_exposure(*shots(sigma_255=0))
    assert (found.gain, found.offset, found.change) == pytest.approx((1, 0, 0), abs=1e-6)


def test_exposure_ignores_moving_objects() -> None:
    first, second = shots(gain=1.25, offset=0.02, sigma_255=10)
    second[30:70, 20:80] = 0.9
    found = measure_exposure(first, second)
    assert (found.gain, found.offset) == pytest.approx((1.25, 0.02), abs=0.01)


def test_exposure_ignores_clipped_pixels() -> None:
    first, second = (np.clip(shot, 0, 1) for shot in shots(gain=0.5, sigma_255=5))
    assert (second == 1).mean() > 0.1
    assert measure_exposure(first, second).gain == pytest.approx(0.5, abs=0.01)


def test_flat_shots_differ_by_an_offset(rng: np.random.Generator) -> None:
    first, second = rng.normal([[[[0.5]]], [[[0.4]]]], 0.05, (2, 64, 64, 1))
    found = measure_exposure(first, second)
    assert found.gain == 1
    assert found.offset == pytest.approx(0.1, abs=0.005)
    assert found.differs


def test_shots_of_different_scenes_have_no_gain() -> None:
    first, second = LEAVES[:100, :100], 1 - LEAVES[:100, :100]
    assert measure_exposure(first, second).gain == 1


@pytest.mark.parametrize("shape", [(4, 4, 1), (7, 30, 3), (3, 200, 1)])
def test_small_and_narrow_shots_have_no_shift_and_gain_1(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    first, second = rng.normal(0.5, 0.1, (2, *shape))
    assert measure_exposure(first, second).gain == 1
    assert measure_shift(first, second) is None


def test_exposure_needs_enough_blocks(rng: np.random.Generator) -> None:
    first, second = rng.normal([[[[0.5]]], [[[0.3]]]], 0.01, (2, 7, 9, 3))  # 12 blocks of 2x2 pixels
    assert measure_exposure(first, second) == Exposure()
    first, second = rng.normal([[[[0.5]]], [[[0.3]]]], 0.01, (2, 8, 9, 3))
    assert measure_exposure(first, second).offset == pytest.approx(0.2, abs=0.01)


def test_exposure_is_applied_in_float_without_clipping() -> None:
    got = Exposure(2.0, -0.5)(np.array([0, 0.5, 1], np.float32))
    np.testing.assert_array_equal(got, np.array([-0.5, 0.5, 1.5], np.float32))
    assert got.dtype == np.float32
