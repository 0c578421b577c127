"""The runner of `tests.torture`, and one trial of two kinds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.torture import Note, Trial, __main__, places, trainings


def two_of(count: int) -> Iterator[str]:
    """Trials of which two fail, and a note."""
    for i in range(count):
        if i in (1, 3):
            yield f"trial {i}: lost"
    yield Note(f"{count} seen")


def broken(count: int) -> Iterator[str]:
    """Trials that raise an error."""
    yield Note("begun")
    raise ZeroDivisionError("no\nnumber")


def test_runner_prints_one_line_per_kind_and_sets_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    kinds: dict[str, Trial] = {"two": two_of, "one": lambda count: two_of(min(count, 1)), "broken": broken}
    counts = {"two": (1000, 4), "one": (7, 2), "broken": (1, 1)}

    def run(*words: str) -> int:
        return __main__.main(list(words), (kinds, counts))

    assert run("one") == 0
    assert capsys.readouterr().out == "one: 7 trials, 0 failed, 0 s (1 seen)\n"
    assert run("two", "one", "--short") == 1
    output = capsys.readouterr()
    assert output.out == "two: 4 trials, 2 failed, 0 s (4 seen)\none: 2 trials, 0 failed, 0 s (1 seen)\n"
    assert output.err == "two: trial 1: lost\ntwo: trial 3: lost\n"
    assert run("two", "--count", "2") == 1
    assert capsys.readouterr().out == "two: 2 trials, 1 failed, 0 s (2 seen)\n"
    assert run("broken") == 1
    assert capsys.readouterr().out == "broken: 1 trials, 1 failed, 0 s (begun)\n"
    assert run() == 1
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize("words", [["three"], ["kill", "--count", "0"], ["--count", "x"]])
def test_wrong_arguments_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        __main__.main(words)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_trials_of_all_modules_are_found() -> None:
    trials, counts = __main__.find_trials()
    assert trials.keys() == counts.keys()
    assert trainings.TRIALS.items() <= trials.items()
    assert counts["kill"] == (200, 3)


def test_failed_check_is_reported() -> None:
    with places.failing(3, "after 1 s") as failures:
        places.check(False, "a file is gone")
    assert failures == ["trial 3 (after 1 s): FailedError: a file is gone"]


@pytest.mark.parametrize("name", ["sigterm", "full-disk"])
def test_trial_passes(name: str) -> None:
    lines = list(trainings.TRIALS[name](1))
    assert [line for line in lines if not isinstance(line, Note)] == []
    assert len(lines) == 1
