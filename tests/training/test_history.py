"""Metrics of a run, read from its folder."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from n2n_cli.errors import DataError
from n2n_cli.training.history import NEEDED, read_history

LINE = {"epoch": 1, "epochs": 3, "loss": 0.5, "noisy_psnr": 20.5, "psnr": 21.25, "best": True, "lr": 0.1}


def written(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines))
    return path


def test_metrics_of_a_run_folder_or_file(tmp_path: Path) -> None:
    lines = [LINE, {**LINE, "epoch": 2, "psnr": None, "loss": None}]
    path = written(tmp_path / "metrics.jsonl", *map(json.dumps, lines))
    history = read_history(tmp_path)
    assert history[0] == {name: value for name, value in LINE.items() if name != "best"}
    assert history[1]["psnr"] == math.inf
    assert math.isnan(history[1]["loss"])
    assert read_history(path)[0] == history[0]


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("value", ["1", True, [1], 10**400])
def test_missing_number_is_named(name: str, value: object, tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", json.dumps(LINE), json.dumps({**LINE, name: value}))
    with pytest.raises(DataError) as caught:
        read_history(path)
    assert caught.value.message == f"line 2 of `{path}` is not an epoch of a training: it has no number `{name}`"


def test_epoch_must_be_an_integer(tmp_path: Path) -> None:
    for number in ("Infinity", "1.0", "null"):
        path = written(tmp_path / "a.jsonl", json.dumps({**LINE, "epoch": 0}).replace("0", number, 1))
        with pytest.raises(DataError, match="it has no number `epoch`"):
            read_history(path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", '{"epoch": 1'])
def test_damaged_line_is_refused(text: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", json.dumps(LINE), text)
    with pytest.raises(DataError, match=r"^line 2 of `.*` is not an epoch of a training: it has no number `epoch`, "):
        read_history(path)


def test_files_without_metrics_are_refused(tmp_path: Path) -> None:
    (tmp_path / "sweep" / "train.lr=1").mkdir(parents=True)
    written(tmp_path / "sweep" / "train.lr=1" / "metrics.jsonl", json.dumps(LINE))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    wanted = {
        tmp_path / "missing": ("there is no run `{}`", "name a run's folder, as `runs/default-1`"),
        tmp_path / "sweep": ("`{}` holds no `metrics.jsonl`", "name a run in it, as `{}/train.lr=1`"),
        tmp_path / "binary": ("`{}` is not text", "a run's `metrics.jsonl` has a line of JSON an epoch"),
        written(tmp_path / "empty"): ("`{}` holds no epoch yet", "wait for the training's first epoch to end"),
    }
    for path, (message, hint) in wanted.items():
        with pytest.raises(DataError) as caught:
            read_history(path)
        assert (caught.value.message, caught.value.hint) == (message.format(path), hint.format(path))
