from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.nn import Conv2d
from n2n_cli.nn.init import uniform_fan_in


def test_uniform_within_one_over_the_root_of_fan_in() -> None:
    weight = uniform_fan_in((40, 50, 7), 25, rng=np.random.default_rng(1), dtype=np.float64)
    assert weight.shape == (40, 50, 7)
    assert np.abs(weight).max() == pytest.approx(0.2, rel=1e-3)
    assert np.abs(weight).max() <= 0.2
    wanted = np.linspace(-0.2, 0.2, weight.size)  # the quantiles of U(-0.2, 0.2)
    assert np.sort(weight, axis=None) == pytest.approx(wanted, abs=0.2 * 0.03)


def test_fan_in_of_a_convolution_counts_its_taps() -> None:
    layer = Conv2d(2, 5000, (3, 6), rng=np.random.default_rng(1), dtype=np.float64)
    for values in layer.state_dict().values():
        assert 0.999 / 6 < np.abs(values).max() <= 1 / 6


def test_float32_and_float64_start_alike() -> None:
    single, double = (
        uniform_fan_in((4, 3, 2, 5), 30, rng=np.random.default_rng(1), dtype=dtype)
        for dtype in (np.float32, np.float64)
    )
    assert single.dtype == np.float32
    assert np.array_equal(single, double.astype(np.float32))
