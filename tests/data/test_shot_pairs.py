"""Numbered pairs of shots, and their dependence on number and epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.data.alignment import Exposure
from n2n_cli.data.scenes import Shots
from n2n_cli.data.shot_pairs import ShotPairs, in_turn
from n2n_cli.nn.functional import Array
from tests.nn.cases import some_examples
from tests.pictures import colour, flipped_corners, numbered
from tests.shots import in_memory

TWO = ((0, 1), (1, 0))
SIX = tuple((i, j) for i in range(3) for j in range(3) if i != j)


def shots(count: int, h: int = 9, w: int = 7, first: int = 0, pairs: Sequence[tuple[int, int]] = SIX) -> Shots:
    """Shots whose values encode the place and, in thousands, the shot."""
    return in_memory([numbered(h, w) + np.uint16(1000 * (first + i)) for i in range(count)], pairs)


def levels(view: Array) -> Array:
    stored: Array = np.rint(view * 65535).astype(int)
    return stored


def pairs_of(scenes: Sequence[Shots], count: int = 12, **extra: Any) -> ShotPairs:
    return ShotPairs(scenes, count, extra.pop("size", 4), extra.pop("channels", 1), seed=3, **extra)


def shown(pairs: ShotPairs, epoch: int = 0, count: int | None = None) -> list[tuple[int, int]]:
    """(input, target) shot numbers of each pair."""
    noisy, target = (levels(view)[:, 0, 0, 0] // 1000 for view in pairs.batch(range(count or len(pairs)), epoch))
    return list(zip(noisy.tolist(), target.tolist(), strict=True))


def test_all_ordered_pairs_of_shots_are_equally_frequent() -> None:
    assert sorted(shown(pairs_of([shots(3)], count=18))) == sorted(SIX * 3)


def test_scenes_take_turns() -> None:
    scenes = [shots(3), shots(2, first=3, pairs=TWO), shots(2, first=5, pairs=((0, 1),))]
    assert shown(pairs_of(scenes, count=10)) == [
        *((0, 1), (3, 4), (5, 6), (0, 2), (4, 3)),  # the last two scenes have no further pairs
        *((1, 0), (1, 2), (2, 0), (2, 1), (0, 1)),
    ]


def test_both_shots_show_the_same_place_and_orientation() -> None:
    noisy, target = pairs_of([shots(2, pairs=TWO)], count=40).batch(range(40))
    np.testing.assert_array_equal(levels(noisy) % 1000, levels(target) % 1000)
    assert (levels(noisy) // 1000 != levels(target) // 1000).all()


def test_crops_cover_every_place_in_all_four_flips() -> None:
    wanted = flipped_corners(numbered(6, 9), 4)
    views = levels(pairs_of([shots(2, 6, 9, pairs=((0, 1),))], count=1000).batch(range(1000))[0])[:, 0]
    assert {tuple(int(view[y, x]) for y in (0, -1) for x in (0, -1)) for view in views} == wanted


@pytest.mark.parametrize("flag", ["redraw", "recrop", "augment", None])
def test_pair_depends_only_on_its_number_and_epoch(flag: str | None) -> None:
    scenes, flags = [shots(3), shots(3, 12, 8, first=3)], {flag: True} if flag else {}
    whole = pairs_of(scenes, count=20, **flags).batch(range(20), epoch=2)
    again = pairs_of(scenes, count=20, **flags)
    for numbers in ([19, 4, 4, 0], [7], []):
        for got, wanted in zip(again.batch(numbers, epoch=2), whole, strict=True):
            np.testing.assert_array_equal(got, wanted[numbers])
    other = again.batch(range(20), epoch=3)[0]
    assert ((other != whole[0]).any(axis=(1, 2, 3)).sum() > 10) == (flag is not None)


def test_redraw_continues_through_the_pairs_every_epoch() -> None:
    pairs = pairs_of([shots(3)], count=4, redraw=True)
    assert [pair for epoch in (0, 1, 2) for pair in shown(pairs, epoch)] == list(SIX * 2)
    fixed = pairs_of([shots(3)], count=4)
    assert shown(fixed, 1) == shown(fixed, 2) == list(SIX[:4])


def test_augmented_pairs_are_rotated_together_and_swapped() -> None:
    pairs = pairs_of([shots(2, 4, 4, pairs=((0, 1),))], count=100, augment=True)
    noisy, target = (levels(view)[:, 0] for view in pairs.batch(range(100), 1))
    np.testing.assert_array_equal(noisy % 1000, target % 1000)
    assert len({view.tobytes() for view in noisy % 1000}) == 8
    assert 30 < (noisy[:, 0, 0] >= 1000).sum() < 70


def test_validation_pair_is_a_shot_and_the_mean_of_the_others() -> None:
    pairs = pairs_of([shots(3), shots(2, first=3, pairs=((0, 1),))], count=4, validation=True)
    noisy, target = (levels(view)[:, 0] for view in pairs.batch(range(4)))
    assert (noisy[:, 0, 0] // 1000).tolist() == [0, 3, 1, 2]
    np.testing.assert_array_equal(target - noisy, np.array([1500, 1000, 0, -1500])[:, None, None] * np.ones((4, 4)))


def test_validation_crops_are_fixed_and_differ_from_training_crops() -> None:
    measured, learned = (pairs_of([shots(2, 50, 50, pairs=TWO)], validation=flag) for flag in (True, False))
    first = measured.batch(range(12), 1)
    np.testing.assert_array_equal(first, measured.batch(range(12), 2))
    assert (first[0] != learned.batch(range(12))[0]).any(axis=(1, 2, 3)).sum() > 9


def test_exposures_are_applied_and_colours_converted() -> None:
    scene = in_memory([colour(4, 4), colour(4, 4)], [(0, 1)], [Exposure(), Exposure(0.5, 0.75)])
    noisy, target = pairs_of([scene], count=1, channels=3).batch([0])
    np.testing.assert_allclose(target, 0.5 * noisy + 0.75, rtol=1e-6)
    for channels in (1, 3):
        for view in pairs_of([scene], count=2, channels=channels).batch([0, 1]):
            assert view.shape == (2, channels, 4, 4)
            assert view.dtype == np.float32


@given(st.integers(4, 9), st.integers(4, 9), st.integers(0, 2**63 - 1), st.integers(0, 10**6))
@some_examples
def test_every_crop_lies_in_its_scene(h: int, w: int, seed: int, epoch: int) -> None:
    pairs = ShotPairs([shots(2, h, w, pairs=TWO)], 30, 4, 1, seed=seed, recrop=True, redraw=True, augment=True)
    noisy, target = pairs.batch(range(30), epoch)
    assert noisy.shape == target.shape == (30, 1, 4, 4)


def test_in_turn_alternates_between_scenes() -> None:
    assert list(in_turn([[(1, 1), (2, 2)], [], [(3, 3)]])) == [(0, (1, 1)), (2, (3, 3)), (0, (2, 2))]
