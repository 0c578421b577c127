"""Tiles of large pictures, wavelet filter and robust deviation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from n2n_cli.noise.measuring import HIGH, deviation, filtered, spread_tiles


def test_deviation_is_robust_to_outliers(rng: np.random.Generator) -> None:
    values = rng.normal(0, 3, 20_000)
    values[::50] = 1000
    assert deviation(values) == pytest.approx(3, rel=0.04)


@pytest.mark.parametrize("axis", [1, 2])
def test_filter_removes_smooth_signals_and_keeps_the_deviation_of_noise(axis: int, rng: np.random.Generator) -> None:
    y, x = np.meshgrid(np.linspace(0, 1, 90), np.linspace(0, 1, 70), indexing="ij")
    signal = (1 + x - 2 * y**2 + 3 * x**3 * y**3)[None, ..., None]
    assert np.abs(filtered(signal, HIGH, axis)).max() < 1e-6
    noise = rng.standard_normal((1, 90, 70, 3))
    assert filtered(noise, HIGH, axis).shape == ((1, 42, 70, 3) if axis == 1 else (1, 90, 32, 3))
    assert filtered(noise, HIGH, axis).std() == pytest.approx(1, rel=0.04)


@pytest.mark.parametrize("size", [(1100, 1300), (16, 80_000), (80_000, 17), (300, 5000), (8000, 300)])
def test_tiles_of_a_large_picture_reach_its_edges(size: tuple[int, int]) -> None:
    places = np.arange(math.prod(size)).reshape(*size, 1)
    tiles = spread_tiles(places)
    rows, columns = min(128, size[0]), min(128, size[1])
    assert tiles.shape[1:] == (rows, columns, 1)
    assert 16 <= len(tiles) <= 64
    assert (tiles[0, 0, 0], tiles[-1, -1, -1]) == (0, places.size - 1)
    assert len(np.unique(tiles)) == tiles.size  # no overlap
    assert np.array_equal(tiles[0, :, :, 0], places[:rows, :columns, 0])


def test_small_picture_is_one_tile() -> None:
    assert spread_tiles(np.zeros((1024, 1024, 1), np.uint8)).shape == (1, 1024, 1024, 1)
