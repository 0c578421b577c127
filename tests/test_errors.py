from __future__ import annotations

import pytest

from n2n_cli import errors
from n2n_cli.errors import (
    ArgumentError,
    ConfigError,
    MemoryLimitError,
    N2NError,
    ShapeError,
    UsageError,
    did_you_mean,
    listed,
)

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, N2NError)]
WITH_MESSAGE = [kind for kind in KINDS if kind not in (ArgumentError, MemoryLimitError)]


@pytest.mark.parametrize("kind", WITH_MESSAGE)
def test_error_has_a_message_and_an_optional_hint(kind: type[N2NError]) -> None:
    error = kind("the picture is upside down", hint="turn it")
    assert str(error) == error.message == "the picture is upside down"
    assert error.hint == "turn it"
    assert kind("the picture is upside down").hint is None


@pytest.mark.parametrize("kind", KINDS)
def test_exit_code_is_2_for_wrong_usage_and_1_for_failure(kind: type[N2NError]) -> None:
    assert kind.exit_code == (2 if kind in (ArgumentError, UsageError, ConfigError) else 1)


def test_shape_and_argument_errors_are_value_errors() -> None:
    assert issubclass(ShapeError, ValueError)
    assert issubclass(ArgumentError, ValueError)


def test_argument_error_states_name_value_and_requirement() -> None:
    error = ArgumentError("stride", "two", "a whole number of at least 1")
    assert str(error) == error.message == "`stride` is 'two', it must be a whole number of at least 1"
    assert (error.name, error.value, error.needed) == ("stride", "two", "a whole number of at least 1")
    assert error.hint is None


def test_memory_limit_error_states_the_needed_memory() -> None:
    error = MemoryLimitError("5 MB are too little", 7, hint="more")
    assert error.message == "5 MB are too little; at least 7 MB are needed"
    assert (error.needed, error.hint) == (7, "more")


def test_message_is_one_printable_line() -> None:
    error = N2NError("there is no key `a\nb\x1b[31m`", hint="perhaps `\u202e`")
    assert error.message == str(error) == "there is no key `a\\nb\\x1b[31m`"
    assert error.hint == "perhaps `\\u202e`"


def test_hint_suggests_the_nearest_name_or_lists_all() -> None:
    assert did_you_mean("kernel", ["stride", "kernel_size"]) == "did you mean `kernel_size`?"
    assert did_you_mean("STRIDE", ["size", "Stride"]) == "did you mean `Stride`?"
    assert did_you_mean("zzz", ["stride", "kernel_size"]) == "known: `stride`, `kernel_size`"


def test_long_lists_of_problems_are_shortened() -> None:
    assert listed(["a"]) == "a"
    assert listed(list("abcdefgh")) == "a; b; c; d; e; f; g; h"
    assert listed(list("abcdefghijk")) == "a; b; c; d; e; f; g; h; and 3 more"
