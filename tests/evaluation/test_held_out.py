"""Errors of held-out pairs, and the cache of the pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from n2n_cli.data.pairs import ArrayPairs
from n2n_cli.evaluation.held_out import HeldOut
from n2n_cli.nn.functional import Array
from tests.denoising.test_picture import mixing

HALF_GRAY = mixing([[0.5]])  # halves every pixel


def errors_of(held_out: HeldOut) -> tuple[list[float], list[float]]:
    """Mean squared errors before and after denoising."""
    return held_out.noisy_errors, list(held_out.errors(HALF_GRAY))


def random_pixels(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(256, size=shape, dtype=np.uint8)


def test_errors_of_all_pairs_in_order(rng: np.random.Generator) -> None:
    pairs = ArrayPairs(*random_pixels(rng, 2, 203, 1, 4, 6))
    noisy_errors, errors = errors_of(HeldOut(pairs))
    noisy, clean = pairs.noisy / 255, pairs.target / 255
    assert noisy_errors == pytest.approx(((noisy - clean) ** 2).mean(axis=(1, 2, 3)), rel=1e-5)
    assert errors == pytest.approx(((noisy / 2 - clean) ** 2).mean(axis=(1, 2, 3)), rel=1e-5)
    assert HeldOut(pairs).noisy_errors == noisy_errors


def test_pairs_are_generated_once_when_they_fit_in_the_cache(rng: np.random.Generator) -> None:
    class Counted(ArrayPairs):
        made = 0

        def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
            self.made += len(numbers)
            return super().batch(numbers, epoch)

    pictures = random_pixels(rng, 2, 203, 1, 4, 6)
    wanted = errors_of(HeldOut(ArrayPairs(*pictures)))
    for cached, made in ((10**6, 203), (203 * 2 * 4 * 24, 203), (203 * 2 * 4 * 24 - 1, 3 * 203 + 3 * 100)):
        pairs = Counted(*pictures)
        held_out = HeldOut(pairs, max_cache=cached)
        assert [errors_of(held_out), errors_of(held_out)] == [wanted, wanted]
        assert pairs.made == made


def test_empty_set_has_no_errors() -> None:
    assert errors_of(HeldOut(ArrayPairs(*np.zeros((2, 0, 1, 4, 6), np.uint8)))) == ([], [])


def test_unknown_targets_are_excluded(rng: np.random.Generator) -> None:
    noisy, clean = rng.random((2, 5, 1, 4, 6), dtype=np.float32)
    clean[1, 0, :, 2:] = np.nan

    class Given(ArrayPairs):
        def batch(self, numbers: Sequence[int] | Array, epoch: int = 0) -> tuple[Array, Array]:
            return noisy[numbers], clean[numbers]

    noisy_errors, errors = errors_of(HeldOut(Given(noisy, clean)))
    known = clean[1, 0, :, :2]
    assert noisy_errors[1] == pytest.approx(np.mean((noisy[1, 0, :, :2] - known) ** 2), rel=1e-5)
    assert errors[1] == pytest.approx(np.mean((noisy[1, 0, :, :2] / 2 - known) ** 2), rel=1e-5)
    assert np.isfinite(noisy_errors + errors).all()
