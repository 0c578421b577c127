"""The newest run's checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from n2n_cli.errors import CheckpointError
from n2n_cli.models.choice import RUNS, newest_checkpoint
from n2n_cli.training.run_folder import Run, create_run
from tests.training.test_run_folder import trained


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_newest_run_is_the_one_that_wrote_a_checkpoint_last() -> None:
    middle, newest, oldest = (Run(RUNS / name) for name in ("a-1", "b-1", "c-1"))
    for run, seconds in ((newest, 300), (oldest, 100), (middle, 200)):
        trained(run, seconds)
    os.utime(newest.best, (50, 50))  # the best epoch may be long ago
    (RUNS / "d-1").mkdir()  # has not come to its first checkpoint
    (RUNS / "notes.txt").touch()
    assert newest_checkpoint() == newest.best
    assert newest_checkpoint(Path.cwd() / RUNS) == Path.cwd() / newest.best


def test_the_last_checkpoint_stands_in_for_a_missing_best_one() -> None:
    run = trained(Run(RUNS / "a-1"), 1, best=False)
    assert newest_checkpoint() == run.last


def test_a_run_that_may_not_be_looked_at_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = trained(Run(RUNS / "a-1"), 1), trained(Run(RUNS / "b-1"), 2)
    stat = Path.stat

    def guarded(path: Path, **extra: Any) -> os.stat_result:
        if path.parent == other.folder:
            raise PermissionError(13, "Permission denied")
        return stat(path, **extra)

    monkeypatch.setattr(Path, "stat", guarded)
    assert newest_checkpoint() == own.best


@pytest.mark.parametrize("make", [lambda: None, RUNS.mkdir, RUNS.touch, lambda: create_run(None, name="default")])
def test_no_run_with_a_checkpoint(make: Any) -> None:
    make()
    with pytest.raises(CheckpointError) as caught:
        newest_checkpoint()
    assert caught.value.message == "there is no model: no run in `runs` has a checkpoint"
    assert caught.value.hint == "make one with `n2n train`, or name one with `--model CHECKPOINT`"
