"""Neighbour sampling: the pixels drawn from each 2x2 cell, and the two sub-images."""

from __future__ import annotations

import numpy as np

from n2n_cli.data.neighbour_sampling import cells, draw_neighbours, neighbours


def test_drawn_pixels_are_adjacent_and_all_pairs_equally_likely(rng: np.random.Generator) -> None:
    drawn = draw_neighbours(2, 30, 40, rng=rng)
    assert drawn.shape == (2, 2, 1, 1, 30, 40)
    pairs, counts = np.unique(drawn.reshape(2, -1), axis=1, return_counts=True)
    assert {(int(a), int(b)) for a, b in pairs.T} == {
        *((0, 1), (0, 2), (1, 3), (2, 3)),
        *((1, 0), (2, 0), (3, 1), (3, 2)),
    }
    assert counts.min() > 0.8 * 2400 / 8


def test_all_channels_use_the_same_drawn_pixels() -> None:
    x = np.arange(32.0).reshape(1, 2, 4, 4)
    first, second = np.array([[[0, 1], [2, 3]], [[1, 3], [0, 2]]])[:, None, None, None]
    got = neighbours(x, np.stack([first, second]))
    np.testing.assert_array_equal(got[0][0, 0], [[0, 3], [12, 15]])
    np.testing.assert_array_equal(got[1][0, 0], [[1, 7], [8, 14]])
    for part in got:
        np.testing.assert_array_equal(part[0, 1], part[0, 0] + 16)


def test_cell_is_learned_from_if_all_its_pixels_are() -> None:
    learned = np.ones((2, 1, 4, 6), bool)
    learned[0, 0, 1, 2] = learned[1, 0, 2, 5] = False
    wanted = np.ones((2, 1, 2, 3), bool)
    wanted[0, 0, 0, 1] = wanted[1, 0, 1, 2] = False
    np.testing.assert_array_equal(cells(learned), wanted)
