"""The loss of Neighbor2Neighbor."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.data.neighbour_sampling import draw_neighbours, neighbours
from n2n_cli.errors import ShapeError
from n2n_cli.nn.gradient_check import check_same_gradient, numeric_gradient
from n2n_cli.single_image.neighbor2neighbor import NeighborLoss, target_of


def test_loss_is_the_formula_of_the_paper(rng: np.random.Generator) -> None:
    noisy, denoised, guess = rng.normal(size=(2, 3, 4, 6)), rng.normal(size=(2, 3, 4, 6)), rng.normal(size=(2, 3, 2, 3))
    drawn = draw_neighbours(2, 2, 3, rng=rng)
    (_, second), (one, other) = neighbours(noisy, drawn), neighbours(denoised, drawn)
    wanted = np.mean((guess - second) ** 2) + 2 * np.mean((guess - second - (one - other)) ** 2)
    assert NeighborLoss(2)(guess, target_of(second, denoised, drawn)) == pytest.approx(wanted)


def test_loss_has_the_numeric_gradient(rng: np.random.Generator) -> None:
    criterion, guess, target = NeighborLoss(3), rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 6, 4, 5))
    criterion(guess, target)
    wanted = numeric_gradient(lambda: criterion(guess, target), guess)
    criterion(guess, target)
    check_same_gradient("the guess", criterion.backward(), wanted, tolerance=1e-6)


def test_targets_of_another_shape_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ShapeError, match=r"prediction of shape \(1, 3, 2, 2\) and a target of \(1, 5, 2, 2\)"):
        NeighborLoss()(rng.normal(size=(1, 3, 2, 2)), rng.normal(size=(1, 5, 2, 2)))
