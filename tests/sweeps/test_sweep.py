"""Sweeps: one training per point, kept results, and failures."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from n2n_cli.config import Config
from n2n_cli.errors import DataError, UsageError
from n2n_cli.sweeps.grid import points_of
from n2n_cli.sweeps.results import Result, as_csv, best_of
from n2n_cli.sweeps.sweep import JOB_MEMORY, Sweep, default_jobs
from n2n_cli.sweeps.workers import Ended, Worker
from n2n_cli.system.locks import locked
from n2n_cli.training.loop import train
from n2n_cli.training.records import Epoch, Started
from n2n_cli.training.run_folder import Run
from tests.sweeps.test_workers import BARE
from tests.trainings import metrics_of, new_run, small_config, timeless, write_leaves


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_leaves(tmp_path_factory.mktemp("data") / "photos")


def rates(folder: Path, config: Config, *values: float, force: bool = False) -> Sweep:
    return Sweep(folder, points_of(config, [("train.lr", values)]), force=force)


def done(sweep: Sweep, stop: Callable[[], bool] = lambda: False) -> list[Any]:
    """Run a sweep with one training at a time and return its events."""
    return [event for _, event in sweep.run(jobs=1, threads=1, stop=stop)]


def statuses(sweep: Sweep) -> list[str]:
    return [sweep.results[point.folder].status for point in sweep.points]


def a_result(psnr: float | None, status: str = "done") -> Result:
    return Result({"train.lr": 1}, status, psnr, psnr, 1, psnr, 0.5, 20.0, 19.0, 1, 1.0, "run")


def test_each_point_equals_a_single_training(photos: Path, tmp_path: Path) -> None:
    config = small_config(photos, epochs=2)
    sweep = rates(tmp_path / "sweep", config, 0.5, 2)
    events = [(point.folder, event) for point, event in sweep.run(jobs=2, threads=2)]
    assert {folder for folder, _ in events} == {"train.lr=0.5", "train.lr=2"}
    assert sum(isinstance(event, Epoch) for _, event in events) == 4
    assert statuses(sweep) == ["done", "done"]
    assert sweep.left == []
    for point in sweep.points:
        run, twin = Run(sweep.folder / point.folder), new_run(tmp_path / point.folder)
        list(train(point.config, twin))
        assert run.best.read_bytes() == twin.best.read_bytes()
        assert timeless(metrics_of(run)) == timeless(metrics_of(twin))
        lines, result = metrics_of(run), sweep.results[point.folder]
        best = max(lines, key=lambda line: line["psnr"])
        assert (result.psnr, result.pooled_psnr, result.best_epoch) == (
            best["psnr"],
            best["pooled_psnr"],
            best["epoch"],
        )
        assert (result.last_psnr, result.loss, result.epochs) == (lines[-1]["psnr"], lines[-1]["loss"], 2)
        assert (result.noisy_psnr, result.seconds) == (lines[0]["noisy_psnr"], lines[-1]["seconds"])
    assert sweep.best is max(sweep.results.values(), key=lambda result: result.psnr or 0)


def test_files_hold_every_result(photos: Path, tmp_path: Path) -> None:
    sweep = rates(tmp_path / "sweep", small_config(photos, epochs=1), 0.5)
    done(sweep)
    (result,) = sweep.results.values()
    stored = json.loads((sweep.folder / "sweep.json").read_text())
    record = json.loads(json.dumps(result.record()))
    assert stored == {"parameters": ["train.lr"], "best": record, "points": [record]}
    (row,) = csv.DictReader((sweep.folder / "sweep.csv").read_text().splitlines())
    assert list(row) == list(record)
    assert (row["train.lr"], row["status"], float(row["psnr"])) == ("0.5", "done", result.psnr)
    assert {path.name for path in sweep.folder.iterdir()} == {"sweep.json", "sweep.csv", "train.lr=0.5"}


def test_finished_points_are_kept_when_points_are_added(photos: Path, tmp_path: Path) -> None:
    config = small_config(photos, epochs=1)
    first = rates(tmp_path / "sweep", config, 0.5)
    done(first)
    before = {path: path.stat().st_mtime_ns for path in (first.folder / "train.lr=0.5").iterdir()}
    again = rates(tmp_path / "sweep", config, 0.5, 1)
    assert [point.name for point in again.left] == ["train.lr=1"]
    assert sum(isinstance(event, Started) for event in done(again)) == 1
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert again.results["train.lr=0.5"] == first.results["train.lr=0.5"]
    assert len(json.loads((again.folder / "sweep.json").read_text())["points"]) == 2
    assert done(again) == []


def test_stopped_sweep_resumes_to_the_same_weights(photos: Path, tmp_path: Path) -> None:
    config = small_config(photos, epochs=8, recrop=True)
    whole = new_run(tmp_path / "whole")
    list(train(config.override("train.lr", 0.25, ""), whole))
    sweep, seen = rates(tmp_path / "sweep", config, 0.25, 1), list[Any]()
    for _, event in sweep.run(jobs=1, threads=1, stop=lambda: len(seen) >= 3):
        seen.append(event)
    assert seen[-1] == Ended("unfinished")
    assert statuses(sweep) == ["unfinished", "unfinished"]
    assert sweep.best is None
    assert 0 < sweep.results["train.lr=0.25"].epochs < 8
    assert not (sweep.folder / "train.lr=1").exists()
    again = rates(tmp_path / "sweep", config, 0.25, 1)
    assert len(again.left) == 2
    begun = [event.done for event in done(again) if isinstance(event, Started)]
    assert begun[0] > 0
    assert begun[1] == 0
    assert (again.folder / "train.lr=0.25" / "best.pth").read_bytes() == whole.best.read_bytes()


def test_diverged_training_is_a_result(photos: Path, tmp_path: Path) -> None:
    config = small_config(photos, layers=BARE, batch_size=1, epochs=1)
    sweep = rates(tmp_path / "sweep", config, 1000, 0.01)
    done(sweep)
    assert statuses(sweep) == ["diverged", "done"]
    result = sweep.results["train.lr=1000"]
    assert result.psnr is None
    assert "training stopped at step " in (result.reason or "")
    assert sweep.best is sweep.results["train.lr=0.01"]
    again = rates(tmp_path / "sweep", config, 1000, 0.01)
    assert again.left == []
    assert again.results == sweep.results


def test_failed_training_does_not_stop_the_others(photos: Path, tmp_path: Path) -> None:
    points = points_of(small_config(photos, epochs=1), [("data.source", [str(tmp_path / "missing"), str(photos)])])
    sweep = Sweep(tmp_path / "sweep", points)
    done(sweep)
    assert statuses(sweep) == ["failed", "done"]
    assert sweep.results[points[0].folder].reason == f"there is no folder `{tmp_path / 'missing'}`"
    assert [point.values for point in Sweep(tmp_path / "sweep", points).left] == [points[0].values]


def test_missing_data_of_all_points_are_refused_at_once(tmp_path: Path) -> None:
    sweep = rates(tmp_path / "sweep", small_config(tmp_path / "missing"), 0.5, 1)
    with pytest.raises(DataError, match="there is no folder"):
        done(sweep)
    assert list(sweep.folder.iterdir()) == []


def test_run_of_another_configuration_is_refused(photos: Path, tmp_path: Path) -> None:
    done(rates(tmp_path / "sweep", small_config(photos, epochs=1), 0.5))
    other = small_config(photos, epochs=1, seed=7)
    with pytest.raises(UsageError) as caught:
        rates(tmp_path / "sweep", other, 1, 0.5)
    assert caught.value.message == (
        f"`{tmp_path / 'sweep' / 'train.lr=0.5'}` holds a training of another configuration: "
        "its `train.seed` is 0, not 7"
    )
    assert caught.value.hint == "another folder: `--out FOLDER`, or `--force` to start over"
    forced = rates(tmp_path / "sweep", other, 0.5, force=True)
    assert len(forced.left) == 1
    assert (forced.folder / "train.lr=0.5" / "ending.json").exists()
    done(forced)
    twin = new_run(tmp_path / "twin")
    list(train(forced.points[0].config, twin))
    assert (forced.folder / "train.lr=0.5" / "best.pth").read_bytes() == twin.best.read_bytes()
    (tmp_path / "sweep" / "train.lr=0.5" / "config.toml").unlink()
    with pytest.raises(UsageError, match=r"holds a run without its `config.toml`$"):
        rates(tmp_path / "sweep", other, 0.5)


def test_point_with_damaged_files_is_trained_again(photos: Path, tmp_path: Path) -> None:
    config = small_config(photos, epochs=1)
    sweep = rates(tmp_path / "sweep", config, 0.5)
    done(sweep)
    run = sweep.folder / "train.lr=0.5"
    ending = (run / "ending.json").read_text()
    for text in (
        "",
        "{}",
        "[]",
        '{"status": "failed", "reason": null}',
        '{"status": "done"}',
        '{"status": "done", "reason": [1]}',
    ):
        (run / "ending.json").write_text(text)
        assert statuses(rates(tmp_path / "sweep", config, 0.5)) == ["unfinished"]
    (run / "ending.json").write_text(ending)
    assert statuses(rates(tmp_path / "sweep", config, 0.5)) == ["done"]
    (run / "metrics.jsonl").write_text("{\n")
    again = rates(tmp_path / "sweep", config, 0.5)
    assert statuses(again) == ["unfinished"]
    done(again)
    assert again.results == sweep.results


def test_two_sweeps_cannot_write_to_one_folder(photos: Path, tmp_path: Path) -> None:
    sweep = rates(tmp_path, small_config(photos), 0.5)
    with locked(tmp_path / "lock"), pytest.raises(UsageError, match="another sweep writes to"):
        done(sweep)


@pytest.mark.parametrize(
    ("jobs", "threads", "shares"), [(2, 5, [2, 2]), (1, 3, [3, 3]), (4, 1, [1, 1]), (9, 4, [2, 2])]
)
def test_jobs_share_the_threads(
    jobs: int, threads: int, shares: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = list[int]()

    class Spy(Worker):
        def __init__(self, config: Config, run: Run, threads: int) -> None:
            began.append(threads)
            super().__init__(config, run, threads)

    monkeypatch.setattr("n2n_cli.sweeps.sweep.Worker", Spy)
    points = points_of(small_config(tmp_path), [("data.source", ["no", "none"])])
    list(Sweep(tmp_path / "sweep", points).run(jobs=jobs, threads=threads))
    assert began == shares


@pytest.mark.parametrize(
    ("trainings", "cores", "memory", "jobs"),
    [(7, 2, 64, 2), (2, 64, 64, 2), (20, 64, 5.9, 5), (20, 64, 0.1, 1), (0, 2, 64, 1)],
)
def test_default_jobs_are_limited_by_cores_memory_and_trainings(
    trainings: int, cores: int, memory: float, jobs: int
) -> None:
    assert default_jobs(trainings, cores, int(memory * JOB_MEMORY)) == jobs


@pytest.mark.parametrize(
    ("results", "best"),
    [
        ([a_result(21), a_result(23.5), a_result(22)], 1),
        ([a_result(21), a_result(21)], 0),
        ([a_result(None, "diverged"), a_result(5)], 1),
        ([a_result(None, "failed")], None),
        ([], None),
    ],
)
def test_best_result_is_the_first_with_the_highest_psnr(results: Sequence[Result], best: int | None) -> None:
    assert best_of(results) is (None if best is None else results[best])


def test_csv_quotes_commas_and_quotes() -> None:
    result = replace(a_result(None, "failed"), values={"data.source": 'a,"b"\n'}, reason="it, failed")
    (row,) = csv.DictReader(as_csv([result]).splitlines(keepends=True))
    assert (row["data.source"], row["psnr"], row["reason"]) == ('a,"b"\n', "", "it, failed")
