"""Strengths drawn log-uniformly from a range."""

from __future__ import annotations

import re

import numpy as np
import pytest

from n2n_cli.errors import ArgumentError
from n2n_cli.noise import Strength, parse_noise


def test_each_octave_is_equally_likely(rng: np.random.Generator) -> None:
    strength = Strength(2, 32, log=True)
    draws = np.array([strength.draw(rng) for _ in range(4000)])
    assert draws.min() >= 2
    assert draws.max() <= 32
    counts = np.histogram(np.log2(draws), bins=4, range=(1, 5))[0]
    assert counts == pytest.approx(np.full(4, 1000), abs=5 * np.sqrt(750))
    assert np.mean(draws**2) == pytest.approx(strength.mean_square(), rel=0.06)
    assert Strength(5, 5, log=True).draw(rng) == 5
    assert Strength(5, 5, log=True).mean_square() == 25


@pytest.mark.parametrize("text", ["gaussian:0~50", "gaussian:-1~50", "gaussian:5~2", "gaussian:1~2~3", "gaussian:~"])
def test_range_must_begin_above_zero(text: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape("`gaussian:25`, from 0 to 255 grey levels")):
        parse_noise(text)


@pytest.mark.parametrize("text", ["gaussian:1~50", "poisson-gaussian:4~1000,0.5-10", "gaussian:0.0001~0.01"])
def test_text_round_trip(text: str) -> None:
    assert str(parse_noise(text)) == text
