"""Learning from one picture: crops, held-out blocks, and when to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np
import pytest

from n2n_cli.images import Picture
from n2n_cli.nn.averaging import MovingAverage
from n2n_cli.nn.functional import Array
from n2n_cli.nn.gradient_check import numeric_gradient
from n2n_cli.nn.module import Parameter
from n2n_cli.single_image.learner import BLOCK, EDGE, Crops, Effort, MaskedSquares, learn
from n2n_cli.system.progress import reported_to
from tests.pictures import numbered


class Learning:
    """A network of one weight, with given held-out losses.

    The weight grows by 1 in every step.
    """

    def __init__(self, losses: list[float]) -> None:
        self.weight = Parameter(np.zeros(1))
        self.losses: Iterator[float] = iter(losses)
        self.looks: list[float] = []
        self.average = MovingAverage([("weight", self.weight)], 0)

    def step(self) -> None:
        self.weight.data += 1

    def held_out(self) -> float:
        self.looks.append(float(self.weight.data[0]))
        return next(self.losses)


def test_weights_of_the_lowest_held_out_loss_are_kept() -> None:
    at = Learning([9, 5, 3, 4, 8, 2])
    learned = learn(at.step, at.held_out, at.average, Effort(steps=10, every=2, patience=9))
    assert at.looks == [0, 2, 4, 6, 8, 10]
    assert (learned.weights["weight"][0], learned.steps, learned.first, learned.best) == (10, 10, 9, 2)
    assert str(learned) == "a network of its own learned for 10 steps, held-out loss 9 before and 2 after"


def test_learning_stops_when_the_held_out_loss_no_longer_falls() -> None:
    at = Learning([9, 5, 6, 4, 4, 5, 0])
    learned = learn(at.step, at.held_out, at.average, Effort(steps=100, every=5, patience=2))
    assert (learned.steps, learned.weights["weight"][0], learned.best) == (25, 15, 4)


def test_first_weights_are_kept_if_never_beaten() -> None:
    at = Learning([1, 2, 3, 4])
    learned = learn(at.step, at.held_out, at.average, Effort(steps=100, every=1, patience=3))
    assert (learned.steps, learned.weights["weight"][0], learned.best) == (3, 0, 1)


def test_last_weights_are_kept_when_nothing_is_held_out() -> None:
    at = Learning([math.nan] * 4)
    learned = learn(at.step, at.held_out, at.average, Effort(steps=7, every=3, patience=1))
    assert (learned.steps, learned.weights["weight"][0]) == (7, 7)
    assert math.isnan(learned.best)
    assert str(learned) == "a network of its own learned for 7 steps"


def test_time_limit_ends_learning_after_a_last_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    at = Learning([9, 5, 4])
    learned = learn(at.step, at.held_out, at.average, Effort(steps=100, seconds=4, every=2))
    assert (learned.steps, learned.best, learned.weights["weight"][0]) == (3, 4, 3)
    assert at.looks == [0, 2, 3]


def test_reported_progress_adds_up_to_1(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    for effort, first in (
        (Effort(steps=4), 1 / 4),
        (Effort(steps=4, seconds=2), 1 / 2),
        (Effort(50, 10, 1, 1), 1 / 10),
    ):
        parts: list[float] = []
        at = Learning([1, *[2.0] * 50])
        with reported_to(parts.append):
            learn(at.step, at.held_out, at.average, effort)
        assert parts[0] == first
        assert min(parts) >= 0
        assert sum(parts) == pytest.approx(1)


def pictures(*sizes: tuple[int, int]) -> list[Picture]:
    return [Picture(numbered(h, w, 1, 10_000 * i)) for i, (h, w) in enumerate(sizes)]


def test_crops_hold_the_pixels_at_their_positions(rng: np.random.Generator) -> None:
    parts = pictures((60, 80), (50, 90))
    crops = Crops(parts, rng=rng)
    places = crops.draw(50, 20)
    x, _ = crops.at(places, 20)
    assert x.shape == (50, 1, 20, 20)
    assert {i for i, _, _ in places} == {0, 1}
    for crop, (i, top, left) in zip(x, places, strict=True):
        wanted = parts[i].to_unit(parts[i].pixels[top : top + 20, left : left + 20])
        np.testing.assert_array_equal(crop, np.moveaxis(wanted, -1, 0))
    tops, lefts = (max(place[axis] for place in crops.draw(2000, 20) if place[0] == 0) for axis in (1, 2))
    assert (tops, lefts) == (40, 60)
    assert crops.least == 50


def test_mask_of_every_crop_leaves_out_held_out_blocks(rng: np.random.Generator) -> None:
    (picture,) = pictures((120, 150))
    crops = Crops([picture], rng=rng)
    assert len(crops.held) == 7 * 8 // 16
    whole = np.ones((120, 150), bool)
    for _, row, column in crops.held:
        assert (row - EDGE) % BLOCK == (column - EDGE) % BLOCK == 0
        whole[row : row + BLOCK, column : column + BLOCK] = False
    places = crops.draw(40, 31)
    _, learned = crops.at(places, 31)
    for got, (_, top, left) in zip(learned[:, 0], places, strict=True):
        np.testing.assert_array_equal(got, whole[top : top + 31, left : left + 31])


def test_blocks_are_held_out_of_every_picture(rng: np.random.Generator) -> None:
    sizes = (190, 150), (150, 210)
    crops = Crops(pictures(*sizes), rng=rng)
    assert len(set(crops.held)) == len(crops.held) == (11 * 8 + 8 * 12) // 16
    assert {i for i, *_ in crops.held} == {0, 1}
    for i, top, left in crops.held:
        assert EDGE <= top <= sizes[i][0] - EDGE - BLOCK, (i, top)
        assert EDGE <= left <= sizes[i][1] - EDGE - BLOCK, (i, left)


def test_small_pictures_hold_nothing_out(rng: np.random.Generator) -> None:
    crops = Crops(pictures((60, 70)), rng=rng)
    assert crops.held == []
    assert crops.at([(0, 1, 2)], 50)[1].all()


def test_mean_and_deviation_of_all_parts(rng: np.random.Generator) -> None:
    planes = [(0.5 + 0.04 * rng.normal(size=(h, 128, 1))).astype(np.float32) for h in (128, 64)]
    crops = Crops([Picture(plane) for plane in planes], rng=rng)
    every = np.concatenate(planes)
    assert (crops.mean, crops.deviation) == pytest.approx((every.mean(), every.std()), rel=1e-4)
    assert Crops([Picture(np.ones((9, 9, 1), np.float32))], rng=rng).deviation == 1


def test_masked_squares_have_the_numeric_gradient(rng: np.random.Generator) -> None:
    x, mask = rng.normal(size=(2, 3, 4, 5)), (rng.random((2, 1, 4, 5)) < 0.5).astype(float)
    criterion = MaskedSquares()
    assert criterion(x, mask) == pytest.approx(np.mean(mask * x**2))
    got: Array = criterion.backward()
    np.testing.assert_allclose(got, numeric_gradient(lambda: criterion(x, mask), x), atol=1e-9)
