from __future__ import annotations

import pytest

from n2n_cli.cli.options import format_option, fraction, memory_size, number, positive, thread_count, whole_number
from n2n_cli.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"), [("7", 7), ("-7", -7), (".5", 0.5), ("1e-3", 1e-3), ("7.0", 7.0), ("x", "x"), ("", "")]
)
def test_number(text: str, value: float | str) -> None:
    assert number(text) == value
    assert type(number(text)) is type(value)


def test_whole_number() -> None:
    assert (whole_number("1", "--crops", 1), whole_number("0", "--seed", 0)) == (1, 0)
    for wrong in ("0", "-1", "1.0", "x", ""):
        with pytest.raises(UsageError) as caught:
            whole_number(wrong, "--crops", 1)
        assert caught.value.message == f"`--crops` is '{wrong}', it must be a whole number of at least 1"
        assert caught.value.hint


def test_positive() -> None:
    assert (positive("5", "--seconds", "x", hint="y"), positive("1e-3", "--seconds", "x", hint="y")) == (5.0, 0.001)
    for wrong in ("0", "-1", "nan", "inf", "1" + "0" * 400, "soon", ""):
        with pytest.raises(UsageError) as caught:
            positive(wrong, "--seconds", "a number of seconds", hint="for example")
        assert caught.value.message == f"`--seconds` is '{wrong}', it must be a number of seconds"
        assert caught.value.hint == "for example"


@pytest.mark.parametrize(("text", "size"), [("500MB", 5e8), ("1.5gb", 1.5e9), ("2GiB", 2**31), ("300000000", 3e8)])
def test_memory_sizes(text: str, size: float) -> None:
    assert memory_size(text, "--max-memory") == size


@pytest.mark.parametrize("text", ["0", "1", "0.25", "1e-3"])
def test_fractions(text: str) -> None:
    assert fraction(text, "--strength") == float(text)


@pytest.mark.parametrize("text", ["-0.1", "1.01", "half", "nan", "inf", ""])
def test_what_is_no_fraction(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        fraction(text, "--strength")
    assert caught.value.message == f"`--strength` is {text!r}, it must be a number from 0 to 1"
    assert caught.value.hint == "for example `--strength 0.5`"


@pytest.mark.parametrize(("text", "name"), [("png", "PNG"), ("JPG", "JPEG"), ("TIFF", "TIFF")])
def test_formats(text: str, name: str) -> None:
    assert format_option(text) == name


def test_an_unknown_format() -> None:
    with pytest.raises(UsageError, match=r"^`--format` is 'xyz': ") as caught:
        format_option("xyz")
    assert caught.value.hint


def test_thread_counts() -> None:
    assert (thread_count(None), thread_count("3")) == (None, 3)
    for wrong in ("0", "-1", "1.5", "all"):
        with pytest.raises(UsageError, match=r"^`--threads` is "):
            thread_count(wrong)
