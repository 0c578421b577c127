from __future__ import annotations

import re

import numpy as np
import pytest

from n2n_cli.errors import ArgumentError
from n2n_cli.nn import arguments


@pytest.mark.parametrize("value", [2, 7, np.int64(3), np.uint8(9)])
def test_integer_returns_a_plain_int(value: object) -> None:
    number = arguments.integer("stride", value, 2)
    assert type(number) is int
    assert number == value


@pytest.mark.parametrize("value", [1, -3, 2.0, "2", None, True, np.True_, [2]])
def test_integer_refuses_other_values(value: object) -> None:
    with pytest.raises(ArgumentError) as caught:
        arguments.integer("stride", value, 2)
    assert caught.value.message == f"`stride` is {value!r}, it must be a whole number of at least 2"
    assert (caught.value.name, caught.value.value) == ("stride", value)


@pytest.mark.parametrize(("value", "wanted"), [(3, (3, 3)), ((2, 3), (2, 3)), ([3, 2], (3, 2))])
def test_pair_is_rows_and_columns(value: object, wanted: tuple[int, int]) -> None:
    assert arguments.pair("stride", value, 1) == wanted


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "`stride` is 0, it must be a whole number of at least 1"),
        ((2, 0), "`stride` is 0, it must be a whole number of at least 1"),
        ((0, 2), "`stride` is 0, it must be a whole number of at least 1"),
        ((2, 1.5), "`stride` is 1.5, it must be a whole number of at least 1"),
        ((1, 2, 3), "`stride` is (1, 2, 3), it must be one whole number, or two: rows and columns"),
        ([4], "`stride` is [4], it must be one whole number, or two: rows and columns"),
        ("22", "`stride` is '22', it must be a whole number of at least 1"),
    ],
)
def test_pair_refuses_other_values(value: object, message: str) -> None:
    with pytest.raises(ArgumentError, match="^" + re.escape(message) + "$"):
        arguments.pair("stride", value, 1)


def test_flag_takes_true_and_false_only() -> None:
    assert arguments.flag("bias", True) is True
    assert arguments.flag("bias", False) is False
    for value in (1, 0, "false", None):
        with pytest.raises(ArgumentError, match=f"`bias` is {value!r}, it must be true or false"):
            arguments.flag("bias", value)


@pytest.mark.parametrize("value", [0.1, 3, np.float64(2.5), 1e-300])
def test_positive_returns_a_plain_float(value: float) -> None:
    number = arguments.positive("lr", value)
    assert type(number) is float
    assert number == value


@pytest.mark.parametrize("value", [0, -0.1, float("nan"), float("inf"), 10**400, "0.1", True, None])
def test_positive_refuses_other_values(value: object) -> None:
    with pytest.raises(ArgumentError, match=re.escape(f"`lr` is {value!r}, it must be a finite number above 0")):
        arguments.positive("lr", value)
