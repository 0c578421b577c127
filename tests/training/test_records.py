"""Progress of a training, as stored in a checkpoint."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from n2n_cli.checkpoints.file import read_checkpoint, write_checkpoint
from n2n_cli.errors import CheckpointError
from n2n_cli.training.records import Progress

LINE = {"epoch": 1, "psnr": 21.5, "best": True}


@pytest.mark.parametrize(
    "progress",
    [
        Progress(),
        Progress(step=4, loss=0.1 + 0.2, seconds=1e-9),
        Progress(2, 3, 0.5, 12.25, 21.5, [LINE]),
        Progress(2, 0, 0.0, 12, math.inf, [{**LINE, "psnr": math.inf, "noisy_psnr": math.inf}]),
    ],
)
def test_progress_round_trips_through_a_file(progress: Progress, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    write_checkpoint(path, {"progress": asdict(progress)})
    assert Progress.of(read_checkpoint(path), path) == progress


def test_keys_of_existing_checkpoints_are_kept() -> None:
    assert list(asdict(Progress())) == ["epoch", "step", "loss", "seconds", "best", "history"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"epoch": 3},
        {"epoch": 2.0},
        {"epoch": True, "history": []},
        {"step": -1},
        {"step": 1.5},
        {"step": "1"},
        {"loss": math.nan},
        {"loss": None},
        {"seconds": math.inf},
        {"seconds": [1]},
        {"best": None},
        {"best": "21"},
        {"history": None},
        {"history": {}},
        {"history": []},
        {"history": [3]},
        {"history": [{"epoch": 1}]},
        {"history": [{"psnr": "21.5"}]},
        {"history": [{**LINE, "$(touch made)": 1.0}]},
        {"history": [{**LINE, "loss": "text"}]},
        {"history": [{**LINE, "seconds": 10**400}]},
        {"history": [{**LINE, "best": 1}]},
        {"loss": 10**400},
        {"step": 2**70},
        {"more": 1},
    ],
    ids=str,
)
def test_invalid_progress_is_refused(wrong: dict[str, Any]) -> None:
    right = asdict(Progress(2, 3, 0.5, 12.25, 21.5, [LINE]))
    Progress.of({"progress": right}, Path("a.pth"))
    for facts in ({}, {"progress": None}, {"progress": [right]}, {"progress": right | wrong}):
        with pytest.raises(CheckpointError) as caught:
            Progress.of(facts, Path("a.pth"))
        assert caught.value.message == "`a.pth` holds no training progress"
        assert caught.value.hint


def test_missing_keys_are_refused() -> None:
    right = asdict(Progress())
    for name in right:
        with pytest.raises(CheckpointError):
            Progress.of({"progress": {key: value for key, value in right.items() if key != name}}, Path("a.pth"))
