"""Crops of single noisy images, and the neighbours drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from n2n_cli.data.neighbour_sampling import neighbours
from n2n_cli.data.scenes import Shots
from n2n_cli.data.single_pairs import SinglePairs, drawn_in
from n2n_cli.nn.functional import Array
from tests.pictures import colour, numbered
from tests.shots import in_memory


def picture(h: int, w: int, first: int = 0) -> Shots:
    return in_memory([numbered(h, w, first=first)], [])


def pairs_of(pictures: Sequence[Shots], count: int = 12, **extra: Any) -> SinglePairs:
    return SinglePairs(pictures, count, extra.pop("size", 3), extra.pop("channels", 1), seed=5, **extra)


def levels(view: Array) -> Array:
    stored: Array = np.rint(view * 65535).astype(int)
    return stored


def test_batch_has_crops_of_twice_the_size_and_two_pixels_per_cell() -> None:
    x, target = pairs_of([picture(9, 8)]).batch([3, 1])
    assert (x.shape, target.shape) == ((2, 1, 6, 6), (2, 2, 3, 3))
    assert x.dtype == target.dtype == np.float32
    first, second = (levels(view)[:, 0] for view in neighbours(x, drawn_in(target)))
    steps = set(np.abs(first - second).ravel().tolist())
    assert steps == {1, 8}  # side by side or one above the other, never diagonal
    assert (first != second).all()


def test_pictures_take_turns_and_crops_cover_every_place() -> None:
    pictures = [picture(7, 6), picture(6, 6, first=1000)]
    x, _ = pairs_of(pictures, count=40).batch(range(40))
    corners = levels(x).min(axis=(1, 2, 3))
    assert set(corners[::2].tolist()) == {0, 6}
    assert set(corners[1::2].tolist()) == {1000}


@pytest.mark.parametrize("flag", ["redraw", "recrop", "augment", None])
def test_crop_depends_only_on_its_number_and_epoch(flag: str | None) -> None:
    pictures, flags = [picture(20, 30), picture(18, 12)], {flag: True} if flag else {}
    whole = pairs_of(pictures, count=20, **flags).batch(range(20), epoch=2)
    again = pairs_of(pictures, count=20, **flags)
    for numbers in ([19, 4, 4, 0], [7], []):
        for got, wanted in zip(again.batch(numbers, epoch=2), whole, strict=True):
            np.testing.assert_array_equal(got, wanted[numbers])
    x, drawn = again.batch(range(20), epoch=3)
    assert ((x != whole[0]).any(axis=(1, 2, 3)).sum() > 10) == (flag in ("recrop", "augment"))
    assert ((drawn != whole[1]).any(axis=(1, 2, 3)).sum() > 10) == (flag == "redraw")


def test_augmented_crops_have_all_eight_orientations() -> None:
    for augment, ways in ((True, 8), (False, 4)):
        x, _ = pairs_of([picture(6, 6)], count=100, augment=augment).batch(range(100))
        assert len({view.tobytes() for view in x}) == ways


def test_validation_pair_is_two_neighbours() -> None:
    pairs = pairs_of([picture(20, 20)], validation=True)
    first, second = pairs.batch(range(12), 1)
    assert first.shape == second.shape == (12, 1, 3, 3)
    assert set(np.abs(levels(first) - levels(second)).ravel().tolist()) == {1, 20}
    np.testing.assert_array_equal(pairs.batch(range(12), 2), (first, second))


def test_gray_and_colour_pictures_for_either_network() -> None:
    pictures = [in_memory([colour(6, 6)], []), in_memory([colour(6, 6, channels=1)], [])]
    for channels in (1, 3):
        x, target = pairs_of(pictures, count=2, channels=channels).batch([0, 1])
        assert (x.shape, target.shape) == ((2, channels, 6, 6), (2, 2, 3, 3))
