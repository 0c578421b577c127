"""Reversible value transform: text, inverse, and missing values."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.errors import N2NError
from n2n_cli.images import Picture
from n2n_cli.values.transform import FAR, MOST_NOISE, Values, noise_of, parse_values
from tests.nn.cases import some_examples
from tests.trainings import small_config

LINEAR = Values("linear", 91, 185).stretched()
PHOTONS = Values("linear", 91, 185).stabilised(0.01, 0.001)
finite = st.floats(-1e12, 1e12)


@given(low=finite, spread=st.floats(1e-3, 1e12))
@some_examples
def test_text_of_a_linear_transform_round_trips(low: float, spread: float) -> None:
    values = Values("linear", low, max(low + spread, math.nextafter(low, math.inf))).stretched()
    assert parse_values(values.to_text()) == values


@given(low=finite, spread=st.floats(1, 1e12), gain=st.floats(1e-6, 1), variance=st.floats(0, 1))
@some_examples
def test_text_of_a_photon_transform_round_trips(low: float, spread: float, gain: float, variance: float) -> None:
    values = Values("linear", low, low + spread).stabilised(gain, variance)
    assert parse_values(values.to_text()) == values


def test_text_is_short() -> None:
    assert LINEAR.to_text() == "linear:91~185"
    assert PHOTONS.to_text() == "photons:91~185,0.01,0.001"
    assert parse_values("linear:-5.5~1e9").to_text() == "linear:-5.5~1000000000.0"


BAD = [
    *("", ":", "linear", "linear:", "linear:1", "linear:1~", "linear:~1", "linear:1~2~3", "linear:a~b", "linear:2~1"),
    *("linear:1~1", "linear:nan~1", "linear:0~nan", "linear:0~inf", "linear:-inf~0", "linear:0~1,2", "linear:0~1,2,3"),
    *("photons:0~1", "photons:0~1,1", "photons:0~1,0,1", "photons:0~1,-1,1", "photons:0~1,nan,1", "photons:0~1,1,inf"),
    *("photons:0~1,inf,1", "photons:0~1,1,2,3", "display:0~1", "gray:0~1", "__import__('os'):0~1", "linear:0~1;rm"),
]


@pytest.mark.parametrize("text", BAD)
def test_hostile_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_values(text)


@pytest.mark.parametrize(
    "value", [*(text for text in BAD if text != "linear"), 3, 1.5, True, ["linear:0~1"], {"low": 0}]
)
def test_hostile_configuration_is_refused_with_a_hint(value: object) -> None:
    with pytest.raises(N2NError) as caught:
        small_config(Path("x"), values=value)
    assert "\n" not in caught.value.message
    assert "values" in caught.value.message


@pytest.mark.parametrize("text", ["auto", "display", "linear", "photons", "linear:91~185", "photons:91~185,0.01,0.001"])
def test_configuration_takes_a_mode_or_a_transform(text: str) -> None:
    assert small_config(Path("x"), values=text).data.values == text


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "i4", "f4", "f8"])
@pytest.mark.parametrize("offset", [0, 1e9])
def test_linear_values_round_trip(dtype: str, offset: float) -> None:
    if (np.dtype(dtype).kind in "iu" and np.iinfo(dtype).max < offset) or (dtype, offset) == ("f4", 1e9):
        pytest.skip("this type cannot hold such values")
    x = (offset + np.linspace(91, 185, 95)).astype(dtype)
    values = Values("linear", offset + 91, offset + 185).stretched()
    u = values.seen(values.normalised(x))
    assert u.dtype == np.float32
    assert (u.min(), u.max()) == (pytest.approx(0), pytest.approx(1))
    assert values.restored(values.signal(u)) == pytest.approx(x.astype(float), abs=1e-4)


def test_values_are_not_clipped() -> None:
    x = np.array([-100.0, 91, 185, 400], np.float32)
    u = LINEAR.seen(LINEAR.normalised(x))
    assert u[0] < 0 < 1 < u[3]
    assert LINEAR.restored(LINEAR.signal(u)) == pytest.approx(x, abs=1e-4)


def test_photon_values_round_trip_without_noise() -> None:
    """Stabilised values differ from their mean by only 1/4 photon.

    This holds for all but few photons.
    """
    values = Values("linear", 0, 4000).stabilised(1 / 4000, 0)
    x = np.linspace(50, 4000, 90)
    photons = values.restored(values.signal(values.seen(values.normalised(x))))
    assert photons == pytest.approx(x + 0.25, abs=0.02)


def test_noise_is_at_most_that_of_training() -> None:
    for values in (Values("linear", 0, 100).stretched(0.7), Values("linear", 0, 1).stabilised(0.5, 0.1)):
        assert values.sigma == pytest.approx(MOST_NOISE)
    assert Values("linear", 0, 100).stretched(0.01).sigma == pytest.approx(0.01)
    assert math.isinf(Values("linear", 0, 100).stretched().sigma)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_values_that_are_not_finite_are_missing(dtype: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 100], dtype)
    for values in (LINEAR, PHOTONS, Values("display")):
        assert values.missing(x).tolist() == [True, True, True, False]


def test_outliers_of_measured_values_are_missing() -> None:
    spread = 185 - 91
    x = np.array([91 - (FAR + 0.1) * spread, 91 - (FAR - 0.1) * spread, 185 + (FAR - 0.1) * spread, 1e9], np.float32)
    assert LINEAR.missing(x).tolist() == [True, False, False, True]
    assert not Values("display").missing(x).any()


@pytest.mark.parametrize("dtype", ["i2", "i4", "f4", "f8"])
def test_named_values_are_missing(dtype: str) -> None:
    values = Values("display", empty=(-9999.0,))
    assert values.missing(np.array([-9999, -9998, 0], dtype)).tolist() == [True, False, False]


def test_named_value_may_be_a_rounded_float32() -> None:
    values = Values("display", empty=(-3.4028234663852886e38, -1.23456789e7 / 3))
    x = np.array([-1.23456789e7 / 3, 5, np.finfo("f4").min], np.float32)
    assert values.missing(x).tolist() == [True, False, True]


@pytest.mark.parametrize("empty", [-9999.0, 1e9, math.nan, math.inf])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_named_value_outside_the_dtype_is_ignored(empty: float, dtype: str) -> None:
    values = Values("display", empty=(empty,))
    assert not values.missing(np.arange(256).astype(dtype)).any()


def test_transform_of_a_training_fits_pictures_of_its_range() -> None:
    trained = parse_values("linear:100~1100")
    near, brighter = (Values("linear", low, high).stretched(0.1) for low, high in ((150, 900), (100, 4000)))
    for own in (near, brighter):
        found = trained.fitting(own)
        assert found is not None
        assert (found.low, found.high) == (100, 1100)
    far = (Values("linear", low, high).stretched(0.1) for low, high in ((20_000, 30_000), (-5000, 300)))
    assert [trained.fitting(own) for own in (*far, Values("display"))] == [None, None, None]


def test_noise_of_measured_values_is_relative_to_their_range(rng: np.random.Generator) -> None:
    frame = 500 + rng.normal(0, 10, (128, 128, 1))
    values = Values("linear", 400, 600).stretched()
    assert noise_of(Picture(frame), values).sigma == pytest.approx(10, rel=0.1)
    assert noise_of(Picture(np.rint(frame).astype(np.uint16)), values).sigma == pytest.approx(10, rel=0.1)
    frame[50, :40] = np.nan
    assert noise_of(Picture(frame), values).sigma == pytest.approx(10, rel=0.1)
