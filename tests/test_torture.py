"""How the trials are found, counted and told of; one of them, made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.torture import Note, __main__, places, trainings


def two_of(count: int) -> Iterator[str]:
    """Trials of which two fail, and one thing is told."""
    for i in range(count):
        if i in (1, 3):
            yield f"trial {i}: lost"
    yield Note(f"{count} seen")


def broken(count: int) -> Iterator[str]:
    """Trials that cannot be made."""
    yield Note("begun")
    raise ZeroDivisionError("no\nnumber")


def test_a_line_a_kind_and_an_exit_code(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"two": two_of, "one": lambda count: two_of(min(count, 1)), "broken": broken}
    counts = {"two": (1000, 4), "one": (7, 2), "broken": (1, 1)}
    monkeypatch.setattr(__main__, "find_trials", lambda: (kinds, counts))
    assert __main__.main(["one"]) == 0
    assert capsys.readouterr().out == "one: 7 trials, 0 failed, 0 s (1 seen)\n"
    assert __main__.main(["two", "one", "--short"]) == 1
    told = capsys.readouterr()
    assert told.out == "two: 4 trials, 2 failed, 0 s (4 seen)\none: 2 trials, 0 failed, 0 s (1 seen)\n"
    assert told.err == "two: trial 1: lost\ntwo: trial 3: lost\n"
    assert __main__.main(["two", "--count", "2"]) == 1
    assert capsys.readouterr().out == "two: 2 trials, 1 failed, 0 s (2 seen)\n"
    assert __main__.main(["broken"]) == 1
    assert capsys.readouterr().out == "broken: 1 trials, 1 failed, 0 s (begun)\n"
    assert __main__.main([]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize("words", [["three"], ["kill", "--count", "0"], ["--count", "x"]])
def test_wrong_words_are_told_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        __main__.main(words)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_all_modules_of_the_package_are_looked_through() -> None:
    trials, counts = __main__.find_trials()
    assert trials.keys() == counts.keys()
    assert trainings.TRIALS.items() <= trials.items()
    assert counts["kill"] == (200, 3)


def test_a_trial_that_loses_something_fails() -> None:
    with places.failing(3, "after 1 s") as failures:
        places.check(False, "a file is gone")
    assert failures == ["trial 3 (after 1 s): FailedError: a file is gone"]


@pytest.mark.parametrize("name", ["sigterm", "full-disk"])
def test_a_trial_of_each_kind_is_passed(name: str) -> None:
    lines = list(trainings.TRIALS[name](1))
    assert [line for line in lines if not isinstance(line, Note)] == []
    assert len(lines) == 1
