"""Training: records, files, learning and stopping."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.checkpoints.file import read_checkpoint, write_checkpoint
from n2n_cli.config import Config, load_config
from n2n_cli.data.pairs import CropPairs
from n2n_cli.distributed.ranks import Ranks
from n2n_cli.errors import CheckpointError, ConfigError, DataError, N2NError, TrainingError
from n2n_cli.evaluation.held_out import HeldOut
from n2n_cli.evaluation.scores import evaluate
from n2n_cli.images import Picture, write_picture
from n2n_cli.models.model import Model
from n2n_cli.nn import MSE, SGD, Adam
from n2n_cli.nn.functional import Array
from n2n_cli.training.loop import train
from n2n_cli.training.records import Epoch, Finished, Record, Started, Step
from n2n_cli.training.run_folder import Run
from tests.evaluation.test_scores import tally_of
from tests.trainings import (
    LAYERS,
    epochs_of,
    left_by,
    loaders,
    metrics_of,
    new_run,
    small_config,
    timeless,
    write_leaves,
)


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_leaves(tmp_path_factory.mktemp("leaves"))


# Records


def test_records_come_in_order(leaves: Path, tmp_path: Path) -> None:
    records = list(train(small_config(leaves), new_run(tmp_path / "run")))
    kinds = [type(record) for record in records]
    assert kinds == [Started, *(3 * [Step, Step, Step, Step, Epoch]), Finished]
    started, finished, steps = records[0], records[-1], [r for r in records if isinstance(r, Step)]
    assert isinstance(started, Started)
    assert (started.epochs, started.steps, started.parameters) == (3, 4, 12 * 28 + 3 * 109)
    assert any("validation PSNR is the figure to watch" in note for note in started.notes)
    assert [(step.epoch, step.step) for step in steps] == [(e, s) for e in (1, 2, 3) for s in (1, 2, 3, 4)]
    epochs = epochs_of(records)
    assert [(epoch.epoch, epoch.epochs) for epoch in epochs] == [(1, 3), (2, 3), (3, 3)]
    assert isinstance(finished, Finished)
    best = max(e.psnr for e in epochs)
    assert finished == Finished(tmp_path / "run" / "best.pth", started.noisy_psnr, best, denoises=False)
    assert {epoch.noisy_psnr for epoch in epochs} == {started.noisy_psnr}
    assert all(step.images_per_second > 0 for step in steps)
    assert all(epoch.images_per_second > 0 for epoch in epochs)
    seconds = [epoch.seconds for epoch in epochs]
    assert 0 < seconds[0] < seconds[1] < seconds[2] < 60


def test_loss_is_the_mean_over_the_pairs_of_the_epoch(
    leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: Model, noisy: Array, target: Array) -> float:
        return {7: 1.0, 4: 12.0}[len(noisy)]  # 25 pairs: three batches of 7, one of 4

    monkeypatch.setattr(Model, "step", step)
    records = list(train(small_config(leaves, epochs=1), new_run(tmp_path / "run")))
    assert [r.loss for r in records if isinstance(r, Step)] == pytest.approx([1, 1, 1, (21 + 48) / 25])
    assert epochs_of(records)[0].loss == pytest.approx((21 + 48) / 25)


def test_metrics_have_one_json_object_per_epoch(leaves: Path, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    seen = 0
    epochs = []
    for record in train(small_config(leaves), run):
        if isinstance(record, Epoch):
            epochs.append(record)
            seen += 1
            assert len(metrics_of(run)) == seen  # written before the record is yielded
    assert [Epoch(**line) for line in metrics_of(run)] == epochs


def test_infinite_psnr_is_null_in_the_metrics(leaves: Path, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    (epoch,) = epochs_of(train(small_config(leaves, epochs=1, noise="gaussian:0"), run))
    assert epoch.noisy_psnr == epoch.noisy_pooled_psnr == math.inf
    (line,) = metrics_of(run)
    assert line["noisy_psnr"] is line["noisy_pooled_psnr"] is None
    assert line["psnr"] == epoch.psnr < math.inf


def test_scores_equal_those_of_an_evaluation(leaves: Path, tmp_path: Path) -> None:
    config, run = small_config(leaves, epochs=2), new_run(tmp_path / "run")
    last = epochs_of(train(config, run))[-1]
    scores = evaluate(Model.from_checkpoint(run.last), config, None, config.data.noise)
    summary = tally_of(scores).summary()
    assert last.noisy_psnr == pytest.approx(summary.noisy_psnr, abs=1e-9)
    assert last.noisy_pooled_psnr == pytest.approx(summary.noisy_pooled_psnr, abs=1e-9)
    assert last.psnr == pytest.approx(summary.psnr, abs=1e-5)
    assert last.pooled_psnr == pytest.approx(summary.pooled_psnr, abs=1e-5)
    assert abs(last.psnr - last.pooled_psnr) > 1e-3


# Learning


def test_short_training_improves_psnr(leaves: Path, tmp_path: Path) -> None:
    config = small_config(
        leaves, size=16, pairs=300, validation_pairs=40, noise="gaussian:50", epochs=12, batch_size=10, lr=2.0
    )
    run = new_run(tmp_path / "run")
    (*_, finished) = train(config, run)
    assert isinstance(finished, Finished)
    assert 14 < finished.noisy_psnr < 16
    assert finished.psnr > finished.noisy_psnr + 2
    assert metrics_of(run)[-1]["loss"] < 0.7 * metrics_of(run)[0]["loss"]


def spied_targets(config: Config, run: Run, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Array, Array]]:
    seen: list[tuple[Array, Array]] = []
    step = Model.step

    def spy(self: Model, noisy: Array, target: Array) -> float:
        seen.append((noisy.copy(), target.copy()))
        return step(self, noisy, target)

    monkeypatch.setattr(Model, "step", spy)
    list(train(config, run))
    return seen


def test_training_targets_are_always_noisy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    for i in range(4):
        write_picture(folder / f"{i}.png", Picture(np.full((9, 10, 3), 102, np.uint8)))  # every clean pixel is 0.4
    config = small_config(folder, pairs=60, batch_size=60, epochs=2)
    seen = spied_targets(config, new_run(tmp_path / "run"), monkeypatch)
    assert len(seen) == 2
    sigma = 25 / 255
    for noisy, target in seen:
        inputs, targets = noisy.ravel() - 0.4, target.ravel() - 0.4
        for noise in (inputs, targets):
            assert noise.std() == pytest.approx(sigma, rel=0.05)
            assert noise.mean() == pytest.approx(0, abs=0.05 * sigma)
            assert (noise != 0).all()
        assert abs(np.corrcoef(inputs, targets)[0, 1]) < 0.05


@pytest.mark.parametrize("redraw", [True, False])
def test_redraw_draws_new_noise_in_every_epoch(
    redraw: bool, leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = spied_targets(small_config(leaves, epochs=2, redraw=redraw), new_run(tmp_path / "run"), monkeypatch)
    first, second = ({p.tobytes() for noisy, _ in part for p in noisy} for part in (seen[:4], seen[4:]))
    assert len(first) == len(second) == 25
    assert (first == second) is not redraw
    assert bool(first & second) is not redraw
    assert [noisy.shape[0] for noisy, _ in seen] == 2 * [7, 7, 7, 4]
    assert seen[0][0].tobytes() != seen[4][0].tobytes()  # the order differs in both cases


def test_order_depends_on_seed_and_epoch(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("train_data.pkl", "val_data.pkl"):
        write_checkpoint(tmp_path / name, tuple(rng.integers(256, size=(2, 14, 3, 4, 6), dtype=np.uint8)))
    orders = []
    for i, seed in enumerate((0, 0, 1)):
        with monkeypatch.context() as patch:
            config = small_config(tmp_path, epochs=2, seed=seed, batch_size=14)
            seen = spied_targets(config, new_run(tmp_path / f"run-{i}"), patch)
        orders.append([target[:, 0, 0, 0].tolist() for _, target in seen])
    assert orders[0] == orders[1]
    assert len({tuple(order) for run in orders[1:] for order in run}) == 4
    assert len({tuple(sorted(order)) for run in orders for order in run}) == 1


# Files


def test_seed_determines_all_files(leaves: Path, tmp_path: Path) -> None:
    runs = [new_run(tmp_path / name) for name in ("a", "b", "c")]
    for run, seed in zip(runs, (4, 4, 5), strict=True):
        list(train(small_config(leaves, seed=seed), run))
    a, b, c = map(left_by, runs)
    assert a == b
    assert all(a[name] != c[name] for name in a)
    states = [read_checkpoint(run.last)["model"] for run in (runs[0], runs[2])]
    assert not any(np.array_equal(states[0][name], states[1][name]) for name in states[0])


def test_configuration_of_a_run_reproduces_it(leaves: Path, tmp_path: Path) -> None:
    first, second = new_run(tmp_path / "first"), new_run(tmp_path / "second")
    keys: dict[str, Any] = {"noise": "pixelate:3", "redraw": False, "seed": 8, "augment": True, "optimizer": "Adam"}
    keys |= {"average": 0.9, "clip_norm": 0.7, "betas": [0.8, 0.95], "weight_decay": 1e-4, "lr": 0.01}
    list(train(small_config(leaves, epochs=2, schedule={"name": "cosine", "warmup": 3}, **keys), first))
    list(train(load_config(str(first.config)), second))
    assert left_by(first) == left_by(second)


def test_configuration_is_written_before_the_first_step(leaves: Path, tmp_path: Path) -> None:
    run, config = new_run(tmp_path / "run"), small_config(leaves)
    assert isinstance(next(train(config, run)), Started)
    assert load_config(str(run.config)).tables() == config.tables()


def test_checkpoint_states_epoch_scores_and_configuration(leaves: Path, tmp_path: Path) -> None:
    run, config = new_run(tmp_path / "run"), small_config(leaves)
    epochs = epochs_of(train(config, run))
    tree = read_checkpoint(run.last)
    assert (tree["epoch"], tree["psnr"], tree["noisy_psnr"]) == (3, epochs[-1].psnr, epochs[-1].noisy_psnr)
    assert tree["config"] == config.tables()
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "best.pth",
        "config.toml",
        "last.pth",
        "metrics.jsonl",
    ]


@pytest.mark.parametrize(
    ("errors", "best"),
    [([3e-3, 1e-3, 2e-3], "yyn"), ([1e-3, 1e-3, 2e-3], "ynn"), ([3e-3, 2e-3, 1e-3], "yyy")],
)
def test_best_is_the_first_epoch_of_the_highest_psnr(
    errors: list[float], best: str, leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = iter(errors)
    monkeypatch.setattr(HeldOut, "noisy_errors", [1e-2])
    monkeypatch.setattr(HeldOut, "errors", lambda self, model: iter([next(measured)]))
    run = new_run(tmp_path / "run")
    records, states = [], []
    for record in train(small_config(leaves), run):
        records.append(record)
        if isinstance(record, Epoch):
            states.append(timeless(read_checkpoint(run.last)["model"]))
    assert [epoch.best for epoch in epochs_of(records)] == [letter == "y" for letter in best]
    number = errors.index(min(errors))
    tree = read_checkpoint(run.best)
    assert (tree["epoch"], tree["psnr"]) == (number + 1, epochs_of(records)[number].psnr)
    assert timeless(tree["model"]) == states[number]
    assert "optimizer" not in tree
    assert states[0] != states[1] != states[2] != states[0]
    finished = records[-1]
    assert isinstance(finished, Finished)
    assert finished.checkpoint == run.best
    assert (finished.noisy_psnr, finished.psnr) == pytest.approx((20, 30))


# Prefetching


def test_number_of_threads_changes_no_result(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    from_config = Model.from_config

    def spy(config: Config, *, threads: int | None = None) -> Model:
        model = from_config(config, threads=threads)
        used.append(model.threads)
        return model

    monkeypatch.setattr(Model, "from_config", spy)
    runs = [new_run(tmp_path / name) for name in ("one", "three")]
    for run, threads in zip(runs, (1, 3), strict=True):
        list(train(small_config(leaves), run, threads))
    assert used == [1, 3]
    assert left_by(runs[0]) == left_by(runs[1])


def test_closing_a_training_ends_its_loader(leaves: Path, tmp_path: Path) -> None:
    records = train(small_config(leaves), new_run(tmp_path / "run"), 2)
    while not isinstance(next(records), Step):
        pass
    assert 1 <= len(loaders()) <= 2
    records.close()
    assert loaders() == []


def test_error_of_the_loader_is_raised_after_the_earlier_steps(
    leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = CropPairs.batch
    error = DataError("the disk is gone", hint="look for it")

    def failing(self: CropPairs, numbers: Array, epoch: int = 0) -> tuple[Array, Array]:
        if len(numbers) == 4:  # the last of the four batches of 25 pairs
            raise error
        return batch(self, numbers, epoch)

    monkeypatch.setattr(CropPairs, "batch", failing)
    records: list[Record] = []
    with pytest.raises(DataError) as caught:
        records.extend(train(small_config(leaves), new_run(tmp_path / "run")))
    assert caught.value is error
    assert [record.step for record in records if isinstance(record, Step)] == [1, 2, 3]
    assert loaders() == []


def test_first_rank_decides_if_a_run_is_resumed(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Second(Ranks):
        rank = 1

        def from_first(self, make: Callable[[], Any]) -> Any:
            return True  # the first rank finds the run's folder, which this rank's host does not have

    class ReachedError(Exception):
        pass

    def starting_model(config: Config, *, threads: int | None, resumed: bool) -> Model:
        assert resumed
        raise ReachedError

    monkeypatch.setattr("n2n_cli.training.loop.starting_model", starting_model)
    with pytest.raises(ReachedError):
        next(train(small_config(leaves), Run(tmp_path / "elsewhere"), resume=True, ranks=Second()))


def test_warm_up_longer_than_the_training_is_refused(leaves: Path, tmp_path: Path) -> None:
    config = small_config(leaves, schedule={"name": "constant", "warmup": 12})
    with pytest.raises(ConfigError, match=r"`schedule.warmup`: the warm-up takes 12 steps, the training has 12"):
        next(train(config, new_run(tmp_path / "run")))


# Stopping


def fail_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the loss NaN once the optimiser has taken `steps` steps."""
    taken = 0
    forward, step = MSE.forward, SGD.step

    def failing(self: MSE, prediction: Array, target: Array) -> float:
        loss = forward(self, prediction, target)
        return loss if taken < steps else math.nan

    def counting(self: SGD) -> None:
        nonlocal taken
        taken += 1
        step(self)

    monkeypatch.setattr(MSE, "forward", failing)
    monkeypatch.setattr(SGD, "step", counting)


def assert_last_good_checkpoint(run: Run, epoch: int) -> None:
    assert len(metrics_of(run)) == epoch
    assert read_checkpoint(run.last)["epoch"] == epoch
    for path in (run.last, run.best):
        y = Model.from_checkpoint(path).predict(np.full((1, 3, 5, 7), 0.5, np.float32))
        assert np.isfinite(y).all()


def test_infinite_loss_stops_the_training(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_after(4 + 2, monkeypatch)
    run = new_run(tmp_path / "run")
    records: list[Record] = []
    with pytest.raises(TrainingError) as caught:
        records.extend(train(small_config(leaves), run))
    assert caught.value.message == "training stopped at step 3 of epoch 2: the loss is nan"
    assert caught.value.hint == "try a smaller learning rate than 0.5: `--lr 0.05`"
    assert isinstance(records[-1], Step)
    assert (records[-1].epoch, records[-1].step) == (2, 2)
    assert loaders() == []
    assert_last_good_checkpoint(run, 1)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_infinite_weights_are_not_saved_within_an_epoch(
    optimizer: str, leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind: Any = {"SGD": SGD, "Adam": Adam}[optimizer]
    step, count = kind.step, 0

    def spoil(self: Any) -> None:
        nonlocal count
        count += 1
        step(self)
        if count == 6:  # Adam's state affects the weights only in the next step
            (self.params[-1][0] if optimizer == "SGD" else self.kept[next(iter(self.kept))][0])[...] = math.inf

    monkeypatch.setattr(kind, "step", spoil)
    run = new_run(tmp_path / "run")
    config = small_config(leaves, layers=LAYERS, lr=0.01, optimizer=optimizer)
    with pytest.raises(TrainingError) as caught:
        list(train(config, run, checkpoint_minutes=1e-9))
    assert caught.value.message == "training stopped at step 2 of epoch 2: after it weights or output are not finite"
    assert read_checkpoint(run.last)["progress"]["step"] == 1
    assert_last_good_checkpoint(run, 1)
    list(train(config, run, resume=True))


@pytest.mark.parametrize("place", ["weights", "errors"])
def test_infinite_weights_are_not_saved_after_an_epoch(
    place: str, leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = SGD.step
    count = 0

    def spoil(self: SGD) -> None:
        nonlocal count
        count += 1
        step(self)
        if count == 8:
            weight, bias = self.params[-2][0], self.params[-1][0]
            if place == "weights":
                bias[...] = -math.inf  # the Sigmoid turns it into black
            else:
                weight[...] = 3e38  # finite, but products with it are not

    monkeypatch.setattr(SGD, "step", spoil)
    layers = LAYERS if place == "weights" else LAYERS[:-1]
    run, config = new_run(tmp_path / "run"), small_config(leaves, layers=layers, lr=0.05)
    with pytest.raises(TrainingError) as caught:
        list(train(config, run))
    assert caught.value.message == "training stopped at step 4 of epoch 2: after it weights or output are not finite"
    assert caught.value.hint == "try a smaller learning rate than 0.05: `--lr 0.005`"
    assert_last_good_checkpoint(run, 1)


@pytest.mark.parametrize("batch_size", [7, 25])
def test_learning_rate_of_1000_stops_without_a_warning(batch_size: int, leaves: Path, tmp_path: Path) -> None:
    # Without a Sigmoid the output is unbounded; with one step per epoch, every step is the last of its epoch.
    config = small_config(leaves, layers=LAYERS[:-1], lr=1000, epochs=30, batch_size=batch_size)
    run = new_run(tmp_path / "run")
    with pytest.raises(TrainingError, match=r"^training stopped at step \d+ of epoch \d+: ") as caught:
        list(train(config, run))
    assert caught.value.hint == "try a smaller learning rate than 1000: `--lr 100`"
    assert_last_good_checkpoint(run, len(metrics_of(run)))


def test_pairs_of_a_size_that_the_network_does_not_keep_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    pairs = tuple(rng.integers(256, size=(2, 4, 3, 5, 8), dtype=np.uint8))
    for name in ("train_data.pkl", "val_data.pkl"):
        write_checkpoint(tmp_path / name, pairs)
    with pytest.raises(TrainingError) as caught:
        list(train(small_config(tmp_path), new_run(tmp_path / "run")))
    assert caught.value.message == "this network cannot train on pictures of 5x8 pixels"
    assert caught.value.hint == "crop them to a multiple of 2x2 pixels, or use another network"
    assert not any((tmp_path / "run").iterdir())


def test_validation_pairs_may_have_any_size(tmp_path: Path, rng: np.random.Generator) -> None:
    write_checkpoint(tmp_path / "train_data.pkl", tuple(rng.integers(256, size=(2, 4, 3, 6, 8), dtype=np.uint8)))
    write_checkpoint(tmp_path / "val_data.pkl", tuple(rng.integers(256, size=(2, 3, 3, 5, 7), dtype=np.uint8)))
    records = list(train(small_config(tmp_path), new_run(tmp_path / "run")))
    assert len(epochs_of(records)) == 3


# Missing folders and unwritable names


def replaced_by_a_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


@pytest.mark.parametrize("name", ["config.toml", "metrics.jsonl"])
def test_unwritable_text_file_is_reported(
    name: str, leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path / "run")
    monkeypatch.setattr(Run, "clear", lambda self: replaced_by_a_folder(self.folder / name))
    with pytest.raises(TrainingError) as caught:
        list(train(small_config(leaves), run))
    assert caught.value.message == f"`{run.folder / name}` cannot be written: Is a directory"
    assert caught.value.hint == "check that its folder exists, is writable and has space left"


@pytest.mark.parametrize("name", ["last.pth", "best.pth"])
def test_unwritable_checkpoint_is_reported(name: str, leaves: Path, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    records = train(small_config(leaves), run)
    next(records)
    (run.folder / name).mkdir()
    with pytest.raises(CheckpointError) as caught:
        list(records)
    assert caught.value.message.startswith(f"`{run.folder / name}` cannot be written: ")
    assert caught.value.hint
    assert not [path for path in run.folder.iterdir() if path.suffix == ".tmp"]


@pytest.mark.parametrize("file_instead", [True, False], ids=["a file in its place", "nothing in its place"])
def test_run_folder_that_disappears_is_reported(file_instead: bool, leaves: Path, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    records = train(small_config(leaves), run)
    for record in records:
        if isinstance(record, Epoch):
            break
    run.folder.rename(tmp_path / "moved")
    if file_instead:
        run.folder.touch()
    with pytest.raises((TrainingError, CheckpointError)) as caught:
        list(records)
    assert caught.value.message.startswith((f"`{run.best}` cannot be", f"`{run.metrics}` cannot be"))
    assert_last_good_checkpoint(Run(tmp_path / "moved"), 1)


def test_earlier_run_is_removed_only_when_the_data_are_ready(leaves: Path, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    list(train(small_config(leaves), run))
    before = {path: path.read_bytes() for path in run.folder.iterdir()}
    with pytest.raises(N2NError):
        next(train(small_config(tmp_path / "nowhere"), run))
    assert {path: path.read_bytes() for path in run.folder.iterdir()} == before
    next(train(small_config(leaves, seed=5), run))
    assert [path.name for path in run.folder.iterdir()] == ["config.toml"]
