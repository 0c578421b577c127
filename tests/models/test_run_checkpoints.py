"""Checkpoints of runs, newest first."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest

from n2n_cli.checkpoints.file import write_checkpoint
from n2n_cli.models.choice import (
    BEST,
    DEFAULT,
    LAST,
    RUNS,
    better_bundled,
    bundled_models,
    choose_model,
    run_checkpoints,
)
from n2n_cli.training.run_folder import Run, create_run
from tests.training.test_run_folder import trained


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_newest_run_wrote_a_checkpoint_last() -> None:
    middle, newest, oldest = (Run(RUNS / name) for name in ("a-1", "b-1", "c-1"))
    for run, seconds in ((newest, 300), (oldest, 100), (middle, 200)):
        trained(run, seconds)
    os.utime(newest.best, (50, 50))  # the best epoch may be long past
    (RUNS / "d-1").mkdir()  # without a checkpoint yet
    (RUNS / "notes.txt").touch()
    assert run_checkpoints() == [newest.best, middle.best, oldest.best]
    assert run_checkpoints(Path.cwd() / RUNS)[0] == Path.cwd() / newest.best


def test_last_checkpoint_replaces_a_missing_best_one() -> None:
    run = trained(Run(RUNS / "a-1"), 1, best=False)
    assert run_checkpoints() == [run.last]


def test_run_without_permission_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = trained(Run(RUNS / "a-1"), 1), trained(Run(RUNS / "b-1"), 2)
    stat = Path.stat

    def guarded(path: Path, **extra: Any) -> os.stat_result:
        if path.parent == other.folder:
            raise PermissionError(13, "Permission denied")
        return stat(path, **extra)

    monkeypatch.setattr(Path, "stat", guarded)
    assert run_checkpoints() == [own.best]


@pytest.mark.parametrize("make", [lambda: None, RUNS.mkdir, RUNS.touch, lambda: create_run(None, name="default")])
def test_no_checkpoint_is_found(make: Any) -> None:
    make()
    assert run_checkpoints() == []
    assert choose_model(None).path == bundled_models()[DEFAULT]


# Runs that do not denoise


def measured(name: str, seconds: int, file: str = BEST, kind: str = "pictures", **facts: Any) -> Path:
    """Make a run whose checkpoint has these scores."""
    run = trained(Run(RUNS / name), seconds, best=file == BEST)
    write_checkpoint(run.folder / file, {"model": {}, "config": {"data": {"kind": kind}}, **facts})
    os.utime(run.last, (seconds, seconds))
    return run.folder / file


@pytest.mark.parametrize(
    ("facts", "taken"),
    [
        ({"noisy_psnr": 20.5, "psnr": 21.51}, True),
        ({"noisy_psnr": 20.5, "psnr": 21.49}, False),
        ({"noisy_psnr": 20.5, "psnr": 15.2}, False),
        ({"noisy_psnr": 20.5, "psnr": 21.0, "kind": "pairs"}, True),  # 1 dB with clean targets
        ({"noisy_psnr": 20.5, "psnr": 20.9, "kind": "bursts"}, False),
        ({"noisy_psnr": math.inf, "psnr": 40.0, "noisy_pooled_psnr": 20.0, "pooled_psnr": 24.0}, True),
        ({"noisy_psnr": math.inf, "psnr": 40.0, "noisy_pooled_psnr": 20.0, "pooled_psnr": 15.0}, False),
        ({"noisy_psnr": math.inf, "psnr": 40.0}, True),  # nothing to compare with
        ({"noisy_psnr": "20", "psnr": None}, True),
        ({}, True),
        ({"noisy_psnr": 20.5, "epoch": 0, "file": LAST}, False),
        ({"noisy_psnr": 20.5, "psnr": 25.0, "epoch": 1, "file": LAST}, True),
    ],
    ids=str,
)
def test_run_that_does_not_denoise_is_skipped(facts: dict[str, Any], taken: bool) -> None:
    good = measured("good", 1, noisy_psnr=20.0, psnr=30.0)
    newest = measured("newest", 2, **facts)
    chosen = choose_model(None)
    assert chosen.path == (newest if taken else good)
    assert (chosen.note == "") == taken
    assert choose_model(str(newest)).path == newest, "a name is always followed"


def test_note_names_the_skipped_run_and_its_scores() -> None:
    measured("a", 1, noisy_psnr=20.0, psnr=20.0)
    measured("b", 2, noisy_psnr=20.5, psnr=15.25)
    chosen = choose_model(None)
    assert (chosen.path, chosen.text) == (
        bundled_models()[DEFAULT],
        "the bundled model photo; `n2n models` lists it",
    )
    assert chosen.note == (
        "runs/b/best.pth is not used: it does not denoise, its held-out pictures have 20.50 dB before and 15.25 dB "
        "after it; 1 older run likewise"
    )


def test_unreadable_run_is_not_skipped() -> None:
    measured("good", 1, noisy_psnr=20.0, psnr=30.0)
    damaged = measured("newest", 2, noisy_psnr=20.0, psnr=30.0)
    damaged.write_bytes(damaged.read_bytes()[:-30])
    assert choose_model(None).path == damaged


@pytest.mark.parametrize(
    ("bundled", "better"),
    [
        ({"name": "photo", "psnr": 31.0, "own_psnr": 25.0}, ("photo", 31.0, 25.0)),
        ({"name": "photo", "psnr": 25.09, "own_psnr": 25.0}, None),
        ({"name": "other", "psnr": 31.0, "own_psnr": 25.0}, None),
        ({"name": ["photo"], "psnr": 31.0, "own_psnr": 25.0}, None),
        ({"name": "photo", "psnr": "31", "own_psnr": 25.0}, None),
        ("photo", None),
        (None, None),
    ],
    ids=str,
)
def test_note_on_a_better_bundled_model(bundled: Any, better: Any) -> None:
    assert better_bundled({"bundled": bundled}) == better
