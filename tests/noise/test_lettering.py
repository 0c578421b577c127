from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.noise.lettering import cover_with_text, letter_shapes


def test_each_letter_has_one_colour(rng: np.random.Generator) -> None:
    shapes = letter_shapes(20)
    assert len(shapes) == 62
    assert all(shape.any(axis=1).all() and shape.any(axis=0).all() for shape in shapes)
    assert 8 < np.mean([len(shape) for shape in shapes]) < 20
    view = cover_with_text(np.zeros((64, 64, 3), np.float32), 0.02, rng=rng)
    assert 1 < len(np.unique(view.reshape(-1, 3), axis=0)) < 10


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (5, 3)])
def test_letters_cover_part_of_tiny_pictures(size: tuple[int, int], rng: np.random.Generator) -> None:
    view = cover_with_text(np.full((*size, 1), 2, np.float32), 0.45, rng=rng)
    assert view.shape == (*size, 1)
    assert (view != 2).any()


@pytest.mark.parametrize("covered", [0.1, 0.45])
def test_share_under_letters_and_unchanged_source(covered: float, rng: np.random.Generator) -> None:
    picture = np.full((90, 120, 3), 2, np.float32)
    view = cover_with_text(picture, covered, rng=rng)
    assert covered <= (view != 2).any(axis=2).mean() < covered + 0.06
    assert (picture == 2).all()
