from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import DTypeLike

from n2n_cli.images.pixels import flip_rotate, to_float, to_integer, undo_flip_rotate

both_depths = pytest.mark.parametrize("dtype", [np.uint8, np.uint16])


def levels(dtype: DTypeLike) -> np.ndarray[tuple[int], np.dtype[np.unsignedinteger]]:
    return np.arange(np.iinfo(np.dtype(dtype)).max + 1).astype(dtype)


@both_depths
def test_every_level_round_trips(dtype: DTypeLike) -> None:
    back = to_integer(to_float(levels(dtype)), dtype)
    assert back.dtype == dtype
    assert np.array_equal(back, levels(dtype))


@both_depths
def test_levels_are_scaled_linearly_to_0_and_1(dtype: DTypeLike) -> None:
    shares = to_float(levels(dtype))
    assert shares.dtype == np.float32
    assert shares[0] == 0
    assert shares[-1] == 1
    assert (np.diff(shares) > 0).all()
    assert np.abs(shares - np.linspace(0, 1, len(shares))).max() < 2**-23


@both_depths
def test_values_are_rounded_to_the_nearest_level(dtype: DTypeLike) -> None:
    exact = levels(dtype)[1:-1].astype(np.float64)
    highest = np.iinfo(np.dtype(dtype)).max
    for offset in (-0.49, 0.49):
        assert np.array_equal(to_integer((exact + offset) / highest, dtype), levels(dtype)[1:-1])


@both_depths
def test_values_outside_0_to_1_are_clipped(dtype: DTypeLike) -> None:
    outside = np.array([-np.inf, -1e30, -0.1, 1.1, 1e30, np.inf], np.float32)
    assert to_integer(outside, dtype).tolist() == [0, 0, 0] + [np.iinfo(np.dtype(dtype)).max] * 3


def test_floats_are_neither_scaled_nor_clipped_nor_copied() -> None:
    pixels = np.array([-0.5, 0.25, 1.5], np.float32)
    assert to_float(pixels) is pixels
    assert to_float(pixels.astype(np.float64)).dtype == np.float32
    assert to_float(pixels.astype(np.float64)).tolist() == [-0.5, 0.25, 1.5]


@both_depths
def test_input_is_not_modified(dtype: DTypeLike) -> None:
    integers, floats = levels(dtype), np.linspace(-1, 2, 7)
    to_float(integers)
    to_integer(floats, dtype)
    assert np.array_equal(integers, levels(dtype))
    assert np.array_equal(floats, np.linspace(-1, 2, 7))


def test_flip_rotate_and_its_inverse() -> None:
    picture = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    views = [flip_rotate(picture, way) for way in range(8)]
    assert np.array_equal(views[0], picture)
    assert np.array_equal(views[1], picture[::-1])
    assert np.array_equal(views[2], picture[:, ::-1])
    assert np.array_equal(views[3], picture[::-1, ::-1])
    assert np.array_equal(views[4], picture.swapaxes(0, 1))
    assert np.array_equal(views[5], np.rot90(picture, -1))
    assert len({view.tobytes() for view in views}) == 8
    for way, view in enumerate(views):
        assert np.shares_memory(view, picture)
        assert np.array_equal(undo_flip_rotate(view, way), picture)


def test_flip_rotate_of_other_axes() -> None:
    pictures = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    for way in range(8):
        view = flip_rotate(pictures, way, (2, 3))
        assert np.array_equal(view[1, 2], flip_rotate(pictures[1, 2], way))
        assert np.array_equal(undo_flip_rotate(view, way, (2, 3)), pictures)
