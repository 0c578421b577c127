from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from n2n_cli.nn import Conv2d
from n2n_cli.nn.init import he_normal, uniform_fan_in


def test_uniform_bound_is_one_over_the_root_of_fan_in() -> None:
    weight = uniform_fan_in((40, 50, 7), 25, rng=np.random.default_rng(1), dtype=np.float64)
    assert weight.shape == (40, 50, 7)
    assert np.abs(weight).max() == pytest.approx(0.2, rel=1e-3)
    assert np.abs(weight).max() <= 0.2
    wanted = np.linspace(-0.2, 0.2, weight.size)  # quantiles of U(-0.2, 0.2)
    assert np.sort(weight, axis=None) == pytest.approx(wanted, abs=0.2 * 0.03)


@pytest.mark.parametrize(
    ("slope", "std"), [(None, math.sqrt(2 / 50)), (0.1, math.sqrt(2 / 1.01 / 50)), (1, math.sqrt(1 / 50))]
)
def test_he_normal_standard_deviation(slope: float | None, std: float) -> None:
    given = {} if slope is None else {"slope": slope}
    weight = he_normal((400, 50, 7), 50, rng=np.random.default_rng(1), dtype=np.float64, **given)
    assert weight.shape == (400, 50, 7)
    assert np.std(weight) == pytest.approx(std, rel=4e-3)  # a slope of 0.1 changes it by 5e-3
    places = np.linspace(0.01, 0.99, 99)
    wanted = [NormalDist(0, std).inv_cdf(place) for place in places]
    assert np.quantile(weight, places) == pytest.approx(wanted, abs=0.02 * std)


@pytest.mark.parametrize("slope", [0, 0.3, 1])
def test_he_normal_keeps_the_spread_of_activations(slope: float, rng: np.random.Generator) -> None:
    x = rng.normal(size=(400, 300))
    for _ in range(20):
        y = x @ he_normal((300, 300), 300, slope=slope, rng=rng, dtype=np.float64)
        x = np.where(y > 0, y, slope * y)
    assert np.mean(np.square(y)) == pytest.approx(2 / (1 + slope**2), rel=0.5)


def test_fan_in_of_a_convolution_counts_its_taps() -> None:
    layer = Conv2d(2, 5000, (3, 6), rng=np.random.default_rng(1), dtype=np.float64)
    for values in layer.state_dict().values():
        assert 0.999 / 6 < np.abs(values).max() <= 1 / 6


@pytest.mark.parametrize("draw", [uniform_fan_in, he_normal])
def test_float32_and_float64_weights_agree(draw: object) -> None:
    assert callable(draw)
    single, double = (
        draw((4, 3, 2, 5), 30, rng=np.random.default_rng(1), dtype=dtype) for dtype in (np.float32, np.float64)
    )
    assert single.dtype == np.float32
    assert np.array_equal(single, double.astype(np.float32))
