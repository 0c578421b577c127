"""Interrupted trainings resume to the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.checkpoints.file import read_checkpoint, write_checkpoint
from n2n_cli.config import Config, load_config
from n2n_cli.errors import CheckpointError, ConfigError, UsageError
from n2n_cli.evaluation.held_out import HeldOut
from n2n_cli.models.model import Model
from n2n_cli.training.loop import train
from n2n_cli.training.records import Epoch, Finished, Record, Started, Step, Stopped
from n2n_cli.training.run_folder import Run
from tests.shots import noisy, scene, write_burst, write_bursts
from tests.trainings import left_by, loaders, metrics_of, new_run, small_config, timeless, write_leaves

COSINE, STEP = {"name": "cosine", "warmup": 2}, {"name": "step", "every": 1, "by": "epoch"}
KINDS: dict[str, dict[str, Any]] = {
    "SGD": {},
    "momentum": {"momentum": 0.9, "lr": 0.05, "augment": True, "schedule": STEP},
    "Adam": {"optimizer": "Adam", "lr": 0.01, "average": 0.9, "clip_norm": 0.5, "schedule": COSINE, "augment": True}
    | {"recrop": True, "recolour": True, "gray": 0.3, "shrink": 0.5, "clip_inputs": True},
    "Muon": {"optimizer": "Muon", "lr": 0.01, "betas": [0.9, 0.99]},
}


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_leaves(tmp_path_factory.mktemp("leaves"))


@pytest.fixture(scope="module")
def whole(leaves: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Files of each kind of training without an interruption."""
    left = {}
    for kind, keys in KINDS.items():
        run = new_run(tmp_path_factory.mktemp("whole") / kind)
        list(train(small_config(leaves, **keys), run))
        left[kind] = left_by(run)
    return left


def stopped_after(steps: int, config: Config, run: Run, *, resume: bool = False) -> list[Record]:
    """Train or resume, stopping after so many steps; return the records."""
    records: list[Record] = []
    taken = 0

    def stop() -> bool:
        return taken >= steps

    for record in train(config, run, resume=resume, stop=stop):
        records.append(record)
        taken += isinstance(record, Step)
    return records


# Place of the interruption


@pytest.mark.parametrize("kind", KINDS)
def test_training_stopped_after_every_step_gives_the_same_bytes(
    kind: str, leaves: Path, whole: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    run, config = new_run(tmp_path / "run"), small_config(leaves, **KINDS[kind])
    ends = [stopped_after(1, config, run, resume=sitting > 0)[-1] for sitting in range(12)]
    assert ends == [Stopped(run.last, epoch, step) for epoch in (1, 2, 3) for step in (1, 2, 3, 4)]
    assert len(metrics_of(run)) == 2
    started, *epochs, finished = train(config, run, resume=True)
    assert isinstance(started, Started)
    assert started.done == 12
    assert [type(record) for record in epochs] == [Epoch]
    assert isinstance(finished, Finished)
    assert left_by(run) == whole[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("records", [2, 4, 7, 9, 12, 15])  # including Started and the Epochs
def test_killed_training_gives_the_same_bytes(
    kind: str, records: int, leaves: Path, whole: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    run, config = new_run(tmp_path / "run"), small_config(leaves, **KINDS[kind])
    left = train(config, run, checkpoint_minutes=1e-9)
    for _ in range(records):
        next(left)
    left.close()
    assert not run.lock.exists()
    list(train(config, run, resume=True))
    assert left_by(run) == whole[kind]


def test_run_without_a_checkpoint_starts_again_from_its_configuration(
    leaves: Path, whole: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    run = new_run(tmp_path / "run")
    left = train(small_config(leaves, **KINDS["Adam"]), run)
    for _ in range(3):
        next(left)
    left.close()
    assert [path.name for path in run.folder.iterdir()] == ["config.toml"]
    list(train(load_config(str(run.config)), run, resume=True))
    assert left_by(run) == whole["Adam"]


class CrashError(Exception):
    """Simulated end of the process."""


@pytest.mark.parametrize(
    ("place", "epoch"),
    [
        *(("before best", 1), ("before best", 2)),  # the third epoch is no better
        *((place, epoch) for place in ("before metrics", "before last", "after last") for epoch in (1, 2, 3)),
    ],
)
def test_crash_between_the_files_of_an_epoch(
    place: str,
    epoch: int,
    leaves: Path,
    whole: dict[str, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, config = new_run(tmp_path / "run"), small_config(leaves, **KINDS["Adam"])
    save, append, passed = Model.save, Run.append, []

    def crash(here: str, number: int) -> None:
        passed.append(here)
        if (here, number) == (place, epoch):
            raise CrashError

    def saving(self: Model, path: Path, *, resumable: bool = True, **facts: Any) -> None:
        name = "last" if resumable else "best"
        crash(f"before {name}", facts["epoch"])
        save(self, path, resumable=resumable, **facts)
        crash(f"after {name}", facts["epoch"])

    def appending(self: Run, path: Path, text: str) -> None:
        crash("before metrics", len(metrics_of(run)) + 1 if run.metrics.exists() else 1)
        append(self, path, text)

    with monkeypatch.context() as patch:
        patch.setattr(Model, "save", saving)
        patch.setattr(Run, "append", appending)
        with pytest.raises(CrashError):
            list(train(config, run))
    assert passed[:5] == ["before best", "after best", "before metrics", "before last", "after last"][: len(passed)]
    list(train(config, run, resume=True))
    assert left_by(run) == whole["Adam"]


def test_metrics_of_a_repeated_epoch_are_removed(
    leaves: Path, whole: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    run, config = new_run(tmp_path / "run"), small_config(leaves)
    stopped_after(6, config, run)
    with run.metrics.open("a") as file:
        file.write('{"epoch": 2, "loss": 1}\n{"epo')  # cut by a power failure
    next(train(config, run, resume=True))
    assert [line["epoch"] for line in metrics_of(run)] == [1]
    list(train(config, run, resume=True))
    assert left_by(run) == whole["SGD"]


@pytest.mark.parametrize("kind", ["bursts", "single"])
def test_training_on_shots_resumes_to_the_same_bytes(kind: str, tmp_path: Path) -> None:
    write_bursts(tmp_path / "a", scenes=4, shots=2)
    source = tmp_path / "a"
    if kind == "single":
        source = write_burst(tmp_path / "b", [noisy(scene(40, 48, seed=i), 25, seed=i) for i in range(6)])
    config = small_config(source, optimizer="Adam", lr=0.01, average=0.9)
    config = replace(config, data=replace(config.data, kind=kind, size=16, recrop=True, augment=True))
    run, whole = new_run(tmp_path / "run"), new_run(tmp_path / "whole")
    list(train(config, whole))
    stopped_after(6, config, run)
    list(train(load_config(str(run.config)), run, resume=True, threads=2))
    assert left_by(run) == left_by(whole)


# Times of saving


def test_checkpoint_is_written_every_so_many_minutes(
    leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0

    def tick() -> float:
        return clock

    monkeypatch.setattr("time.perf_counter", tick)
    run, seen = new_run(tmp_path / "run"), []
    monkeypatch.setattr("n2n_cli.training.loop.mean_psnr", lambda errors: 20.0)
    save = Model.save

    def saving(self: Model, path: Path, **facts: Any) -> None:
        if facts.get("resumable", True):
            seen.append((clock, facts["progress"]["epoch"], facts["progress"]["step"]))
        save(self, path, **facts)

    monkeypatch.setattr(Model, "save", saving)
    step = Model.step

    def slow(self: Model, noisy: Any, target: Any) -> float:
        nonlocal clock
        clock += 25
        return step(self, noisy, target)

    monkeypatch.setattr(Model, "step", slow)
    list(train(small_config(leaves), run, checkpoint_minutes=1))
    # 25 seconds per step, four steps per epoch; the end of an epoch always saves
    assert seen == [(75, 1, 3), (100, 2, 0), (175, 2, 3), (200, 3, 0), (275, 3, 3), (300, 4, 0)]


def test_loss_of_a_resumed_step_covers_the_whole_epoch_so_far(leaves: Path, tmp_path: Path) -> None:
    whole, run, config = new_run(tmp_path / "whole"), new_run(tmp_path / "run"), small_config(leaves)
    wanted = [record.loss for record in train(config, whole) if isinstance(record, Step)]
    records = [*stopped_after(6, config, run), *train(config, run, resume=True)]
    assert [record.loss for record in records if isinstance(record, Step)] == wanted


def test_seconds_accumulate_over_resumed_trainings(leaves: Path, tmp_path: Path) -> None:
    run, config = new_run(tmp_path / "run"), small_config(leaves)
    stopped_after(5, config, run)
    tree = read_checkpoint(run.last)
    assert tree["progress"]["seconds"] > tree["progress"]["history"][0]["seconds"] > 0
    write_checkpoint(run.last, {**tree, "progress": {**tree["progress"], "seconds": 1000.0}})
    list(train(config, run, resume=True))
    seconds = [line["seconds"] for line in metrics_of(run)]
    assert seconds[0] < 1000 < seconds[1] < seconds[2] < 1060


# More epochs


def test_resuming_a_finished_training_changes_nothing(leaves: Path, tmp_path: Path) -> None:
    run, config = new_run(tmp_path / "run"), small_config(leaves)
    finished = list(train(config, run))[-1]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.folder.iterdir()}
    for epochs in (3, 1):
        started, last = train(small_config(leaves, epochs=epochs), run, resume=True)
        assert isinstance(started, Started)
        assert (started.done, last) == (12, finished)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.folder.iterdir()} == before


def test_resuming_for_more_epochs_equals_a_longer_training(leaves: Path, tmp_path: Path) -> None:
    longer, run = new_run(tmp_path / "longer"), new_run(tmp_path / "run")
    list(train(small_config(leaves, epochs=5), longer))
    list(train(small_config(leaves, epochs=2), run))
    list(train(small_config(leaves, epochs=5), run, resume=True))
    wanted, got = left_by(longer), left_by(run)
    for left in (wanted, got):
        for line in (*left["metrics"], *left["last"]["progress"]["history"]):
            del line["epochs"]  # the number planned when the line was written
        left["best"] = timeless(read_checkpoint((longer if left is wanted else run).best)["model"])
    assert got == wanted


def test_schedule_and_best_score_are_resumed(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, config = new_run(tmp_path / "run"), small_config(leaves, schedule={"name": "cosine"})
    errors = iter([1e-2, 1e-3, 1e-2, 1e-4])
    monkeypatch.setattr(HeldOut, "errors", lambda self, model: iter([next(errors)]))
    stopped_after(5, config, run)
    best = run.best.read_bytes()
    next(errors)  # the second epoch is worse than the first
    errors = iter([2e-2, 1e-4])
    second, third = [record for record in train(config, run, resume=True) if isinstance(record, Epoch)]
    assert (second.best, third.best) == (False, True)
    assert run.best.read_bytes() != best
    assert [line["best"] for line in metrics_of(run)] == [True, False, True]
    rates = [0.5 * np.cos(np.pi / 2 * step / 12) ** 2 for step in (3, 7, 11)]
    assert [line["lr"] for line in metrics_of(run)] == pytest.approx(rates)


# Refused checkpoints


def refused(run: Run, config: Config) -> tuple[str, str | None]:
    before = run.last.read_bytes()
    with pytest.raises(CheckpointError) as caught:
        next(train(config, run, resume=True))
    assert run.last.read_bytes() == before
    assert not run.lock.exists()
    return caught.value.message, caught.value.hint


def test_checkpoint_without_training_state_is_refused(leaves: Path, tmp_path: Path) -> None:
    run, config = new_run(tmp_path / "run"), small_config(leaves)
    model = Model.from_config(config)
    lacks, hint = f"`{run.last}` cannot be resumed: it holds no ", "resume from the `last.pth` of a run"
    model.save(run.last, resumable=False)
    assert refused(run, config) == (f"{lacks}`optimizer`", hint)
    write_checkpoint(run.last, model.network.state_dict())
    assert refused(run, config) == (f"{lacks}`model`, no `optimizer`", hint)
    write_checkpoint(run.last, [1, 2])
    assert refused(run, config) == (f"{lacks}`model`, no `optimizer`", hint)
    model.save(run.last)
    assert refused(run, small_config(leaves, average=0.9)) == (f"{lacks}`own_weights`, no `averaged_steps`", hint)
    message, hint_of_old = refused(run, config)  # a checkpoint of a version that could not resume
    assert message == f"`{run.last}` holds no training progress"
    assert (
        hint_of_old
        == "it was not written by this version's `n2n train`; `n2n train` without `--resume` starts a new training"
    )


def test_checkpoint_of_another_network_or_optimiser_is_refused(leaves: Path, tmp_path: Path) -> None:
    run, config = new_run(tmp_path / "run"), small_config(leaves)
    stopped_after(5, config, run)
    message, _ = refused(run, small_config(leaves, optimizer="Adam"))
    assert message.startswith(f"`{run.last}`: the optimiser's state does not fit Adam: ")
    layers = [{"type": "Conv2d", "in_channels": 3, "out_channels": 3, "kernel_size": 3, "padding": 1}]
    message, _ = refused(run, small_config(leaves, layers=layers))
    assert message.startswith(f"`{run.last}`: the weights do not fit the network: ")
    for part in ("`0.weight` has shape (12, 3, 3, 3), the network needs (3, 3, 3, 3)", "`3.bias` is unexpected"):
        assert part in message


def test_fewer_pairs_than_before_are_refused(leaves: Path, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    stopped_after(3, small_config(leaves), run)
    message, hint = refused(run, small_config(leaves, pairs=14))
    assert message == f"`{run.last}` is from within an epoch of more steps than the 2 that there are now"
    assert hint == "continue with the pictures that the training started with: `--data`"


def test_run_without_its_best_checkpoint_is_not_resumed(leaves: Path, tmp_path: Path) -> None:
    run = new_run(tmp_path / "a run")
    stopped_after(5, small_config(leaves), run)
    run.best.unlink()
    message, hint = refused(run, small_config(leaves))
    assert message == f"`{run.best}` is missing: later epochs are compared with this best epoch so far"
    assert hint == f"replace it by the last one: `cp '{run.last}' '{run.best}'`"


# Stopping


def test_stop_during_validation_keeps_the_steps_of_the_epoch(
    leaves: Path, whole: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = new_run(tmp_path / "run"), small_config(leaves, **KINDS["Adam"])
    errors, asked = HeldOut.errors, False

    def asking(self: HeldOut, model: Model) -> Iterator[float]:
        nonlocal asked
        for error in errors(self, model):
            asked = True
            yield error

    with monkeypatch.context() as patch:
        patch.setattr(HeldOut, "errors", asking)
        assert list(train(config, run, stop=lambda: asked))[-1] == Stopped(run.last, 1, 4)
    assert not run.metrics.exists()
    list(train(config, run, resume=True))
    assert left_by(run) == whole["Adam"]


def test_slow_step_is_abandoned_and_repeated(
    leaves: Path, whole: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = new_run(tmp_path / "run"), small_config(leaves, **KINDS["Adam"])
    monkeypatch.setattr("n2n_cli.system.stopping.PATIENCE", 0)
    asked = 0

    def stop() -> bool:  # called before each micro-batch and after the step
        nonlocal asked
        asked += 1
        return asked > 12

    records = list(train(config, run, stop=stop))
    steps = [record for record in records if isinstance(record, Step)]
    assert records[-1] == Stopped(run.last, 1, len(steps))
    assert 0 < len(steps) < 4
    assert loaders() == []
    list(train(config, run, resume=True))
    assert left_by(run) == whole["Adam"]


def test_current_step_is_completed_unless_it_is_slow(leaves: Path, tmp_path: Path) -> None:
    run, asked = new_run(tmp_path / "run"), []
    records = list(train(small_config(leaves), run, stop=lambda: asked.append(0) or True))  # type: ignore[func-returns-value]
    assert records[-1] == Stopped(run.last, 1, 1)
    assert len(asked) == 1  # a request to stop is remembered


# Two trainings at once


def test_second_training_in_a_folder_is_refused(leaves: Path, tmp_path: Path) -> None:
    run, config = new_run(tmp_path / "run"), small_config(leaves)
    stopped_after(5, config, run)
    first = train(config, run, resume=True)
    next(first)
    before = {path: path.read_bytes() for path in run.folder.iterdir()}
    for resume in (False, True):
        with pytest.raises(UsageError, match=r"^another training writes to `.*/run`: process [0-9]+ on ") as caught:
            next(train(config, run, resume=resume))
        assert caught.value.hint == "wait for it to end, or take another folder: `--out FOLDER`"
    assert {path: path.read_bytes() for path in run.folder.iterdir()} == before
    first.close()
    assert not run.lock.exists()
    next(train(config, run, resume=True))


def test_failed_training_releases_its_lock(leaves: Path, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    with pytest.raises(ConfigError):
        list(train(small_config(leaves, schedule={"name": "constant", "warmup": 12}), run))
    assert not any(run.folder.iterdir())
