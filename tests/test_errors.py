from __future__ import annotations

import pytest

from n2n_cli import errors
from n2n_cli.errors import (
    ArgumentError,
    CheckpointError,
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
def test_an_error_carries_its_message_and_hint(kind: type[N2NError]) -> None:
    error = kind("the picture is upside down", hint="turn it")
    assert str(error) == error.message == "the picture is upside down"
    assert error.hint == "turn it"


@pytest.mark.parametrize("kind", WITH_MESSAGE)
def test_a_hint_may_be_absent(kind: type[N2NError]) -> None:
    assert kind("the picture is upside down").hint is None


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_usage_ends_with_2_and_failure_with_1(kind: type[N2NError]) -> None:
    assert kind.exit_code == (2 if kind in (ArgumentError, UsageError, ConfigError) else 1)


def test_one_exception_catches_all() -> None:
    assert len(KINDS) >= 8
    with pytest.raises(N2NError):
        raise CheckpointError("the checkpoint is torn")


def test_wrong_shapes_and_arguments_are_value_errors_too() -> None:
    assert issubclass(ShapeError, ValueError)
    assert issubclass(ArgumentError, ValueError)


def test_an_argument_error_says_name_value_and_need() -> None:
    error = ArgumentError("stride", "two", "a whole number of at least 1")
    assert str(error) == error.message == "`stride` is 'two', it must be a whole number of at least 1"
    assert (error.name, error.value, error.needed) == ("stride", "two", "a whole number of at least 1")
    assert error.hint is None


def test_a_memory_limit_says_what_is_needed() -> None:
    error = MemoryLimitError("5 MB are too little", 7, hint="more")
    assert error.message == "5 MB are too little; at least 7 MB are needed"
    assert (error.needed, error.hint) == (7, "more")


def test_a_message_is_one_line_whatever_is_named_in_it() -> None:
    error = N2NError("there is no key `a\nb\x1b[31m`", hint="perhaps `\u202e`")
    assert error.message == str(error) == "there is no key `a\\nb\\x1b[31m`"
    assert error.hint == "perhaps `\\u202e`"


def test_an_unknown_word_is_answered_with_the_nearest_or_with_all() -> None:
    assert did_you_mean("kernel", ["stride", "kernel_size"]) == "did you mean `kernel_size`?"
    assert did_you_mean("STRIDE", ["size", "Stride"]) == "did you mean `Stride`?"
    assert did_you_mean("zzz", ["stride", "kernel_size"]) == "known: `stride`, `kernel_size`"


def test_of_many_problems_the_first_are_listed() -> None:
    assert listed(["a"]) == "a"
    assert listed(list("abcdefgh")) == "a; b; c; d; e; f; g; h"
    assert listed(list("abcdefghijk")) == "a; b; c; d; e; f; g; h; and 3 more"
