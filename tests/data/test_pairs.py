"""Numbered training pairs, cropped from images or given as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.data.pairs import ArrayPairs, CropPairs, recoloured
from n2n_cli.images.pixels import flip_rotate
from n2n_cli.nn.functional import Array
from n2n_cli.noise import parse_noise
from tests.nn.cases import some_examples
from tests.pictures import colour, flipped_corners, numbered

GAUSSIAN, NOISELESS, PIXELATE = parse_noise("gaussian:25"), parse_noise("gaussian:0"), parse_noise("pixelate:2")


def crops(pictures: Sequence[Array], count: int = 20, size: int = 4, **extra: Any) -> CropPairs:
    return CropPairs(pictures, count, size, extra.pop("noise", GAUSSIAN), seed=extra.pop("seed", 3), **extra)


# Dependence on number, seed and epoch


@pytest.mark.parametrize("validation", [False, True])
@pytest.mark.parametrize("noise", ["gaussian:25", "pixelate:2"])
def test_pair_does_not_depend_on_the_other_pairs_of_a_batch(noise: str, validation: bool) -> None:
    pictures = [colour(9, 11, 0), colour(13, 8, 1), colour(8, 8, 2)]
    pairs = crops(pictures, noise=parse_noise(noise), validation=validation, redraw=True)
    noisy, target = pairs.batch(range(20), epoch=2)
    numbers = np.array([19, 4, 4, 0, 7])
    again = crops(pictures, noise=parse_noise(noise), validation=validation, redraw=True)
    for got, wanted in zip(again.batch(numbers, epoch=2), (noisy, target), strict=True):
        np.testing.assert_array_equal(got, wanted[numbers])
    for number in (13, 1):
        for got, wanted in zip(again.batch([number], epoch=2), (noisy, target), strict=True):
            np.testing.assert_array_equal(got[0], wanted[number])


def test_pairs_are_channels_first_float32() -> None:
    pairs = crops([colour(12, 20)], size=5, noise=PIXELATE)
    assert len(pairs) == 20
    for picture in pairs.batch([3, 1]):
        assert picture.shape == (2, 3, 5, 5)
        assert picture.dtype == np.float32


def test_every_pair_and_every_seed_has_its_own_noise() -> None:
    pictures = [np.full((4, 4, 1), 128, np.uint8)]  # a single possible crop, so that only the noise differs
    views = [crops(pictures, seed=seed).batch(range(20)) for seed in (3, 4)]
    drawn = np.concatenate([view.reshape(20, -1) for pair in views for view in pair])
    assert len(np.unique(drawn, axis=0)) == 80
    strength = np.abs(np.corrcoef(drawn) - np.eye(80)).max()
    assert strength < 0.95  # correlation of 16 values each; a shared draw has 1


def test_every_seed_has_its_own_crops() -> None:
    clean = [crops([numbered(50, 50)], seed=seed, noise=NOISELESS).batch(range(20))[0] for seed in (3, 4)]
    assert (clean[0] != clean[1]).any(axis=(1, 2, 3)).sum() > 15


def test_redraw_draws_noise_again_every_epoch_for_the_same_crops() -> None:
    pictures = [numbered(50, 50)]
    fixed, redrawn = crops(pictures), crops(pictures, redraw=True)
    for view in (0, 1):
        np.testing.assert_array_equal(fixed.batch([5], epoch=1)[view], fixed.batch([5], epoch=2)[view])
        assert (redrawn.batch([5], epoch=1)[view] != redrawn.batch([5], epoch=2)[view]).all()
    still = crops(pictures, noise=NOISELESS, redraw=True)
    np.testing.assert_array_equal(still.batch(range(20), 1)[0], still.batch(range(20), 2)[0])


def test_input_and_target_have_independent_noise_of_one_model() -> None:
    noisy, target = crops([np.full((64, 64, 3), 128, np.uint8)], count=4, size=64).batch(range(4))
    a, b = noisy.ravel() - np.float32(128 / 255), target.ravel() - np.float32(128 / 255)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.02  # 49,152 values: a standard error of 0.0045
    for noise in (a, b):
        assert noise.std() == pytest.approx(25 / 255, rel=0.02)
        assert abs(noise.mean()) < 0.002


def test_noise_is_neither_clipped_nor_rounded() -> None:
    for level in (0, 255):
        for view in crops([np.full((32, 32, 1), level, np.uint8)], count=1, size=32).batch([0]):
            assert view.mean() == pytest.approx(level / 255, abs=0.015)
            assert len(np.unique(view)) > 1000


def test_validation_target_is_the_clean_picture() -> None:
    pictures = [numbered(8, 8)]
    noisy, clean = crops(pictures, size=8, validation=True).batch([0])
    assert (noisy != clean).all()
    np.testing.assert_array_equal(np.sort(clean.ravel()), numbered(8, 8).ravel() * np.float32(1 / 65535))
    _, mean = crops(pictures, size=4, noise=PIXELATE, validation=True).batch([0])
    blocks = np.sort([n + 4.5 for n in (8 * row + column for row in range(0, 8, 2) for column in range(0, 8, 2))])
    np.testing.assert_allclose(np.sort(mean.ravel()) * 65535, blocks, rtol=1e-6)


def test_validation_noise_is_the_same_every_epoch() -> None:
    pairs = crops([numbered(9, 9)], validation=True)
    np.testing.assert_array_equal(pairs.batch([1], epoch=1)[0], pairs.batch([1], epoch=7)[0])


# Crops


def corners(pictures: Sequence[Array], **extra: Any) -> set[tuple[int, ...]]:
    """Values at the four corners of each crop, from the top left."""
    views, _ = crops(pictures, noise=NOISELESS, **extra).batch(range(extra.get("count", 20)))
    values = np.rint(views[:, 0] * 65535).astype(int)
    return {tuple(int(view[y, x]) for y in (0, -1) for x in (0, -1)) for view in values}


def test_crops_cover_every_place_in_all_four_flips() -> None:
    picture = numbered(6, 9)
    wanted = flipped_corners(picture, 4)
    assert len(wanted) == 72
    assert corners([picture], count=1000) == wanted


def test_crops_are_uniformly_distributed() -> None:
    views, _ = crops([numbered(7, 4)], count=4000, noise=NOISELESS).batch(range(4000))
    rows = np.rint(views.min(axis=(1, 2, 3)) * 65535).astype(int) // 4
    np.testing.assert_allclose(np.bincount(rows), 1000, atol=110)  # four standard deviations


def test_input_and_target_show_the_same_place() -> None:
    noisy, target = crops([numbered(30, 40)], noise=NOISELESS).batch(range(20))
    np.testing.assert_array_equal(noisy, target)


def test_pictures_take_turns() -> None:
    pictures = [numbered(5, 5, first=1000 * i) for i in range(3)]
    views, _ = crops(pictures, count=7, noise=NOISELESS).batch(range(7))
    assert [int(view.min() * 65535 + 0.5) // 1000 for view in views] == [0, 1, 2, 0, 1, 2, 0]


@given(
    st.integers(4, 12),
    st.integers(4, 12),
    st.integers(0, 2**63 - 1),
    st.integers(0, 10**6),
    st.sampled_from([(GAUSSIAN, 4), (PIXELATE, 2)]),
)
@some_examples
def test_every_crop_lies_in_its_picture(h: int, w: int, seed: int, epoch: int, kind: tuple[Any, int]) -> None:
    noise, size = kind
    pairs = CropPairs([colour(h, w)], 50, size, noise, seed=seed, redraw=True)
    noisy, target = pairs.batch(range(50), epoch)
    assert noisy.shape == target.shape == (50, 3, size, size)


# Augmentation


@pytest.mark.parametrize("kind", ["recrop", "augment"])
def test_crops_depend_on_the_epoch(kind: str) -> None:
    pairs = crops([numbered(50, 50)], noise=NOISELESS, **{kind: True})
    first, again, other = (pairs.batch(range(20), epoch)[0] for epoch in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any(axis=(1, 2, 3)).sum() > 10
    np.testing.assert_array_equal(pairs.batch([7], 1)[0][0], first[7])


def test_augmented_crops_have_all_eight_orientations() -> None:
    ways = corners([numbered(4, 4)], count=200, augment=True)
    assert len(ways) == 8
    assert ways > corners([numbered(4, 4)], count=200)


def test_augmentation_keeps_crops_and_noise_and_swaps_half_of_the_pairs() -> None:
    fixed, augmented = crops([colour(50, 50)]), crops([colour(50, 50)], augment=True)
    plain, rotated = fixed.batch(range(20)), augmented.batch(range(20), 3)
    swapped = 0
    for number in range(20):
        sums = [np.sort(view[number].ravel()).tolist() for view in (*plain, *rotated)]
        assert sums[:2] in (sums[2:], sums[:1:-1])
        swapped += sums[0] != sums[2]
    assert 3 < swapped < 17


def test_recropped_pairs_cover_every_place() -> None:
    pairs = crops([numbered(5, 5)], count=1, noise=NOISELESS, recrop=True)
    seen = {int(pairs.batch([0], epoch)[0].min() * 65535 + 0.5) for epoch in range(60)}
    assert seen == {0, 1, 5, 6}


def test_targets_with_their_own_noise_are_not_swapped() -> None:
    less = crops([colour(50, 50)], count=200, target_noise=parse_noise("gaussian:2"), augment=True)
    clean = crops([colour(50, 50)], count=200, noise=NOISELESS, augment=True).batch(range(200), 3)[0]
    spreads = [float((view - clean).std()) * 255 for view in less.batch(range(200), 3)]
    assert spreads == pytest.approx([25, 2], rel=0.03)
    np.testing.assert_array_equal(less.batch([7], 3)[1][0], less.batch(range(200), 3)[1][7])


def test_half_of_the_inputs_are_clipped_and_rounded_each_epoch() -> None:
    plain = crops([colour(50, 50)], count=100, augment=True)
    pairs = crops([colour(50, 50)], count=100, augment=True, clip_inputs=True)
    clipped = []
    for epoch in (1, 2):
        (noisy, target), (whole, whole_target) = pairs.batch(range(100), epoch), plain.batch(range(100), epoch)
        np.testing.assert_array_equal(target, whole_target)
        changed = (noisy != whole).any(axis=(1, 2, 3))
        np.testing.assert_allclose(noisy[changed] * 255, np.rint(whole[changed].clip(0, 1) * 255), atol=1e-4)
        assert 30 < changed.sum() < 70
        clipped.append(changed)
    assert (clipped[0] != clipped[1]).any()
    assert plain.batch(range(100), 1)[0].min() < 0


def test_half_of_the_crops_are_recoloured_each_epoch() -> None:
    plain = crops([colour(50, 50)], count=100, noise=NOISELESS).batch(range(100))[0]
    pairs = crops([colour(50, 50)], count=100, noise=NOISELESS, recolour=True)
    first, again, other = (pairs.batch(range(100), epoch) for epoch in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(*first)  # input and target have the same colours
    changed = [(view[0] != plain).any(axis=(1, 2, 3)) for view in (first, other)]
    assert all(30 < one.sum() < 70 for one in changed)
    assert (changed[0] != changed[1]).any()


@pytest.mark.parametrize("noise", ["gaussian:25", "camera:0.01", "poisson:30", "row:5,5", "grain:20,1", "impulse:0.1"])
def test_a_share_of_the_crops_is_gray_each_epoch(noise: str) -> None:
    plain = crops([colour(50, 50)], count=100, noise=NOISELESS).batch(range(100))[0]
    pairs = crops([colour(50, 50)], count=100, noise=parse_noise(noise), target_noise=NOISELESS, gray=0.3)
    first, again, other = (pairs.batch(range(100), epoch) for epoch in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    gray = [(view[0] == view[0][:, :1]).all(axis=(1, 2, 3)) for view in (first, other)]
    assert all(15 < one.sum() < 45 for one in gray)
    assert (gray[0] != gray[1]).any()
    mean = plain.mean(axis=1, keepdims=True).repeat(3, axis=1)
    np.testing.assert_allclose(first[1][gray[0]], mean[gray[0]], atol=1e-6)
    np.testing.assert_array_equal(first[1][~gray[0]], plain[~gray[0]])


def test_half_of_the_crops_are_downscaled_each_epoch() -> None:
    ramp = np.broadcast_to(np.arange(0, 200, 2, dtype=np.uint8)[:, None, None], (100, 100, 3)).copy()
    pairs = crops([ramp], count=400, size=8, noise=NOISELESS, shrink=0.25)
    first, again, other = (pairs.batch(range(400), epoch)[0] for epoch in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    heights = [np.ptp(views[:, 0, :, 3], axis=1) * 255 / 14 for views in (first, other)]  # 1 for unscaled crops
    for sides in heights:
        assert 0.4 < np.mean(np.abs(sides - 1) < 0.01) < 0.6
        assert sides.min() > 0.95
        assert 3.5 < sides.max() < 4.6
    assert (heights[0] != heights[1]).any()
    np.testing.assert_array_equal(pairs.batch([9], 1)[1][0], again[9])


def test_small_picture_is_downscaled_as_a_whole() -> None:
    small = crops([numbered(9, 10)], count=50, size=8, noise=NOISELESS, shrink=0.1)
    assert small.batch(range(50))[0].shape[2:] == (8, 8)


def test_recoloured_values_are_valid_and_gray_becomes_coloured() -> None:
    rng = np.random.default_rng(0)
    gray = np.tile(rng.integers(0, 256, (9, 7, 1), dtype=np.uint8), 3)
    seen = [recoloured(gray, rng=rng) for _ in range(20)]
    assert all(picture.dtype == np.float32 and 0 <= picture.min() <= picture.max() <= 1 for picture in seen)
    assert min(np.ptp(picture, axis=2).max() for picture in seen) > 0.02
    ends = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    np.testing.assert_array_equal(recoloured(ends, rng=rng), ends / 255)


def test_recolouring_permutes_channels() -> None:
    red = np.zeros((1, 1, 3), np.uint8)
    red[..., 0] = 255
    places = {int(recoloured(red, rng=np.random.default_rng(seed)).argmax()) for seed in range(20)}
    assert places == {0, 1, 2}
    assert recoloured(red[..., :1], rng=np.random.default_rng(0)).shape == (1, 1, 1)


def given_pairs(h: int, w: int, **extra: Any) -> ArrayPairs:
    values = np.arange(2 * 40 * 3 * h * w).reshape(2, 40, 3, h, w) % 251
    return ArrayPairs(*values.astype(np.uint8), **extra)


def test_augmented_given_pairs_are_flipped_rotated_and_swapped_together() -> None:
    pairs, plain = given_pairs(3, 3, augment=True), given_pairs(3, 3)
    got, wanted = pairs.batch(range(40), 1), plain.batch(range(40))
    seen = set()
    for number in range(40):
        views = [np.moveaxis(view[number], 0, -1) for view in got]
        sources = [np.moveaxis(view[number], 0, -1) for view in wanted]
        (found,) = [
            (way, swapped)
            for way in range(8)
            for swapped in (False, True)
            if all(map(np.array_equal, views, [flip_rotate(s, way) for s in sources[:: -1 if swapped else 1]]))
        ]
        seen.add(found)
    assert len(seen) > 10
    other = pairs.batch(range(40), 2)
    assert (other[0] != got[0]).any(axis=(1, 2, 3)).sum() > 25
    np.testing.assert_array_equal(pairs.batch([5], 1)[1][0], got[1][5])


def test_given_pairs_that_are_not_square_are_not_rotated() -> None:
    pairs = given_pairs(2, 3, augment=True)
    noisy, target = pairs.batch(range(40), 1)
    assert noisy.shape == target.shape == (40, 3, 2, 3)


def test_targets_of_biased_noise_are_corrected() -> None:
    noisy, target = crops([np.full((32, 32, 1), 128, np.uint8)], size=32, noise=parse_noise("bernoulli:0.5")).batch([0])
    assert noisy.max() == np.float32(128 / 255)
    assert target.max() == np.float32(128 / 255) * 2
