"""Several ranks train and evaluate as one process would, and end together."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.checkpoints.file import read_checkpoint
from n2n_cli.distributed.launchers import place_of_process
from n2n_cli.distributed.ranks import ALONE, Ranks
from n2n_cli.training.run_folder import Run
from tests.cli import environment, n2n, photo
from tests.launching import command, ended, launch, launched, wait_for
from tests.nn.cases import some_examples
from tests.trainings import metrics_of, small_config, write_leaves

pytestmark = [pytest.mark.mpi, pytest.mark.slow]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_leaves(Path("leaves"))
    return tmp_path


def configure(**keys: Any) -> None:
    Path("small.toml").write_text(small_config(Path("leaves"), **keys).to_toml())


def train(ranks: int, folder: str, patch: str = "") -> dict[str, Any]:
    """Train `small.toml` and return the last checkpoint."""
    done = launch(ranks, "--quiet", "train", "--config", "small.toml", "--out", folder, patch=patch)
    assert (done.code, done.error_lines) == (0, []), done.err
    assert done.out == ""
    tree: dict[str, Any] = read_checkpoint(Path(folder) / "last.pth")
    return tree


def distance(a: dict[str, Any], b: dict[str, Any]) -> float:
    """Maximum difference of two state dicts, relative to the norm of each array."""
    assert a.keys() == b.keys()
    return max(float(np.linalg.norm(a[name] - b[name]) / np.linalg.norm(a[name])) for name in a)


BARE = [{"type": "Conv2d", "in_channels": 3, "out_channels": 3, "kernel_size": 1}]


class Rank(Ranks):
    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count = rank, count


@given(st.integers(0, 50), st.integers(1, 12))
@some_examples
def test_ranks_share_a_batch_evenly(size: int, count: int) -> None:
    parts = [Rank(number, count).part(np.arange(size)) for number in range(count)]
    assert np.concatenate(parts).tolist() == list(range(size))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_job_arrays_and_indexed_jobs_are_no_ranks() -> None:
    tasks = {f"SLURM_ARRAY_TASK_{name}": value for name, value in (("ID", "3"), ("COUNT", "8"), ("MIN", "0"))}
    assert place_of_process(tasks | {"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "5"}).count == 1
    started = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}
    assert str(place_of_process(tasks | started)) == "2/4"


def test_one_process_does_not_load_mpi() -> None:
    configure(epochs=1)
    tail = "import atexit; atexit.register(lambda: print('mpi4py' in sys.modules))"
    words = ("--quiet", "train", "--config", "small.toml", "--out", "run")
    done = subprocess.run(command(*words, patch=tail), capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.splitlines() == ["False"]
    assert ALONE.first
    assert ALONE.gathered("a") == ["a"]


def test_without_mpi4py_there_is_one_error() -> None:
    configure()
    processes = [
        subprocess.Popen(
            command("train", "--config", "small.toml", patch="sys.modules['mpi4py'] = None"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(PMI_RANK=str(rank), PMI_SIZE="3"),
        )
        for rank in range(3)
    ]
    answers = [ended(process) for process in processes]
    assert [(answer.code, answer.out) for answer in answers] == [(2, "")] * 3
    assert [answer.err for answer in answers[1:]] == [""] * 2
    assert answers[0].error_lines == [
        "error: 3 processes were started together (PMI_RANK), but mpi4py, which would connect them, is not installed",
        "hint: `pip install 'n2n-cli[mpi]'`; or start one process",
    ]
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "keys",
    [
        {"optimizer": "Adam", "lr": 0.01, "clip_norm": 0.05, "average": 0.99, "redraw": True, "augment": True},
        {"momentum": 0.9, "lr": 0.1, "loss": "L1", "validation_pairs": 250},
    ],
    ids=["Adam", "SGD"],
)
def test_weights_after_fifty_steps_equal_those_of_one_process(keys: dict[str, Any]) -> None:
    configure(epochs=2, pairs=172, batch_size=7, **keys)  # the last batch of an epoch has 4 pairs
    alone = train(1, "alone")
    for ranks in (2, 4) if "average" in keys else (3,):
        together = train(ranks, f"on-{ranks}")
        assert distance(alone["model"], together["model"]) < 1e-5
        assert (
            distance(alone.get("own_weights", {"": np.ones(1)}), together.get("own_weights", {"": np.ones(1)})) < 1e-5
        )
        for ours, theirs in zip(metrics_of(Run(Path("alone"))), metrics_of(Run(Path(f"on-{ranks}"))), strict=True):
            for name in ("loss", "psnr", "pooled_psnr"):
                assert theirs[name] == pytest.approx(ours[name], rel=1e-5)
            for name in ("noisy_psnr", "noisy_pooled_psnr"):
                assert theirs[name] == ours[name]
        assert {path.name for path in Path(f"on-{ranks}").iterdir()} == {path.name for path in Path("alone").iterdir()}


def test_batch_may_have_fewer_pairs_than_there_are_ranks() -> None:
    configure(epochs=2, pairs=9, batch_size=2, validation_pairs=1)
    assert distance(train(1, "alone")["model"], train(4, "on-4")["model"]) < 1e-5


OWN_FOLDER = """
if RANK:
    os.makedirs(str(RANK), exist_ok=True)
    os.chdir(str(RANK))
"""


def test_only_the_first_rank_writes_and_reads_the_run_folder() -> None:
    config = small_config(Path("leaves").absolute(), epochs=1)
    Path("small.toml").write_text(config.to_toml())
    words = ("train", "--config", str(Path("small.toml").absolute()), "--out", "run")
    assert launch(2, *words, patch=OWN_FOLDER).code == 0
    assert launch(2, "train", "--resume", "run", "--epochs", "2", patch=OWN_FOLDER).code == 0
    assert len(metrics_of(Run(Path("run")))) == 2
    assert list(Path("1").iterdir()) == []


def test_scores_equal_those_of_one_process_exactly() -> None:
    configure(epochs=1, validation_pairs=250)
    n2n("--quiet", "train", "--config", "small.toml", "--out", "run")
    for i in range(9):
        photo(Path(f"test/{i}.png"), (20 + i, 30, 3), seed=i)
    for source in ((), ("--data", "test")):
        words = ("eval", "run/best.pth", "--json", *source)
        alone, together = n2n(*words), launch(3, *words)
        assert together.out == alone.out
        assert len(alone.out.splitlines()) > 9
        assert together.err == alone.err


def test_damaged_picture_ends_an_evaluation_as_in_one_process() -> None:
    configure(epochs=1)
    n2n("--quiet", "train", "--config", "small.toml", "--out", "run")
    for i in range(7):
        photo(Path(f"test/{i}.png"), seed=i)
    Path("test/5.png").write_bytes(Path("test/5.png").read_bytes()[:60])
    words = ("eval", "run/best.pth", "--json", "--data", "test")
    alone, together = n2n(*words), launch(2, *words)
    assert alone.code == 1
    assert (together.code, together.out) == (alone.code, alone.out)
    assert together.err == alone.err.replace("error: ", f"error: on rank 1 ({os.uname().nodename}): ")


FAILS = """
from n2n_cli.data.pairs import CropPairs
batch = CropPairs.batch
def failing(self, numbers, epoch=0):
    if RANK == 1 and epoch == 2:
        from n2n_cli.errors import DataError
        raise DataError("the disk is gone", hint="look for it")
    return batch(self, numbers, epoch)
CropPairs.batch = failing
"""


def test_error_on_one_rank_ends_all_ranks_with_its_message() -> None:
    configure(epochs=1000)
    done = launch(3, "train", "--config", "small.toml", "--out", "run", patch=FAILS)
    assert done.code == 1
    assert done.error_lines == [f"error: on rank 1 ({os.uname().nodename}): the disk is gone", "hint: look for it"]
    assert not Path("run/lock").exists()
    assert read_checkpoint("run/last.pth")["progress"]["epoch"] == 2
    assert n2n("train", "--resume", "run", "--epochs", "2").code == 0


def test_error_on_all_ranks_is_reported_once() -> None:
    configure(layers=BARE, lr=1000)
    alone, done = (launch(ranks, "train", "--config", "small.toml", "--out", f"on-{ranks}") for ranks in (1, 2))
    assert alone.error_lines[0].startswith("error: training stopped at step ")
    assert (done.code, done.error_lines) == (alone.code, alone.error_lines)


@pytest.mark.parametrize("words", [("train", "--nonsense"), ("train", "--config", "small.toml", "--lr", "no")])
def test_wrong_usage_is_reported_once(words: tuple[str, ...]) -> None:
    configure()
    done = launch(2, *words)
    assert (done.code, len(done.error_lines)) == (2, 2), done.err


def test_different_pictures_on_another_host_are_refused() -> None:
    configure()
    Path("1").mkdir()
    write_leaves(Path("1/leaves"))
    Path("1/leaves/00.png").write_bytes(Path("leaves/01.png").read_bytes())
    done = launch(2, "train", "--config", str(Path("small.toml").absolute()), "--out", "run", patch=OWN_FOLDER)
    assert done.code == 1
    assert done.error_lines == [
        "error: rank 0 and rank 1 find different pictures in `leaves`",
        "hint: name a folder that is the same on all hosts",
    ]


def test_ranks_hold_one_lock() -> None:
    configure(epochs=100_000)
    with launched(2, "train", "--config", "small.toml", "--out", "run") as process:
        wait_for("epoch 1/", process=process)
        done = launch(2, "train", "--resume", "run")
        assert done.code == 2
        assert re.fullmatch(r"error: another training writes to `run`: process \d+ on .*", done.error_lines[0])
        assert len(done.error_lines) == 2


def test_signal_to_the_launcher_saves_and_ends_all_ranks() -> None:
    configure(epochs=100_000)
    with launched(2, "train", "--config", "small.toml", "--out", "run") as process:
        wait_for("epoch 2/", process=process)
        process.send_signal(signal.SIGTERM)
        done = ended(process)
    assert done.code == 143
    assert done.error_lines[0] == "error: stopped by SIGTERM"
    assert len(done.error_lines) == 2
    progress = read_checkpoint("run/last.pth")["progress"]
    assert f"step {progress['step']} of epoch {progress['epoch']} is saved" in done.error_lines[1]
    assert not Path("run/lock").exists()
    assert resume(3) == 0


def resume(ranks: int) -> int:
    """Resume the training up to the end of the current epoch."""
    epoch = read_checkpoint("run/last.pth")["progress"]["epoch"]
    return launch(ranks, "--quiet", "train", "--resume", "run", "--epochs", str(epoch)).code


PRINT_PID = "print(f'rank {RANK} is {os.getpid()}', file=sys.stderr, flush=True)"
SLOW = """
from n2n_cli.nn import MSE
forward = MSE.forward
def slow(*words):
    if RANK == 1:
        print("in a step", file=sys.stderr, flush=True)
    time.sleep({seconds}[RANK])
    return forward(*words)
MSE.forward = slow
"""


def test_signal_to_one_rank_ends_all_ranks() -> None:
    configure(epochs=100_000)
    with launched(2, "train", "--config", "small.toml", "--out", "run", patch=PRINT_PID) as process:
        number = int(wait_for("rank 1 is", process=process).split()[-1])
        wait_for("epoch 1/", process=process)
        os.kill(number, signal.SIGTERM)
        done = ended(process)
    assert (done.code, done.error_lines[0]) == (143, "error: stopped by SIGTERM")


def test_all_ranks_abandon_a_slow_step() -> None:
    configure(epochs=100_000)
    patch = SLOW.format(seconds=[0, 1.2])
    with launched(2, "train", "--config", "small.toml", "--out", "run", patch=patch) as process:
        wait_for("in a step", "663 parameters", process=process)
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        done = ended(process)
        assert time.monotonic() - start < 8
    assert (done.code, done.error_lines[0]) == (143, "error: stopped by SIGTERM")
    progress = read_checkpoint("run/last.pth")["progress"]
    assert (progress["epoch"], progress["step"]) == (1, 0)


@pytest.mark.parametrize("seconds", [[0, 60], [1.2, 60]], ids=["first waits", "first gives up its step"])
def test_first_rank_saves_without_a_rank_that_hangs(seconds: list[float]) -> None:
    configure(epochs=100_000)
    patch = SLOW.format(seconds=seconds)
    with launched(2, "train", "--config", "small.toml", "--out", "run", patch=patch) as process:
        wait_for("in a step", "663 parameters", process=process)
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        done = ended(process)
        assert time.monotonic() - start < 10
    assert (done.code, done.error_lines[0]) == (143, "error: stopped by SIGTERM")
    assert read_checkpoint("run/last.pth")["progress"]["step"] == 0


def test_job_with_a_killed_rank_ends_and_can_be_resumed() -> None:
    configure(epochs=100_000)
    with launched(2, "train", "--config", "small.toml", "--out", "run", patch=PRINT_PID) as process:
        number = int(wait_for("rank 1 is", process=process).split()[-1])
        wait_for("epoch 2/", process=process)
        start = time.monotonic()
        os.kill(number, signal.SIGKILL)
        done = ended(process)
        assert time.monotonic() - start < 10
    assert done.code != 0
    assert resume(1) == 0
    assert resume(3) == 0


def test_cores_are_divided_among_the_ranks_of_a_host() -> None:
    configure(epochs=1)
    patch = "import os; os.sched_getaffinity = lambda _: set(range(7))"
    done = launch(3, "train", "--config", "small.toml", "--out", "run", patch=patch)
    assert "\n3 ranks share each batch; this one has 2 threads\n" in done.err
    assert done.err.count("pictures: leaves") == 1  # other ranks print nothing
    own = "import os; os.sched_getaffinity = lambda _: {2 * RANK, 2 * RANK + 1}"  # cores bound by the launcher
    done = launch(2, "train", "--config", "small.toml", "--out", "bound", patch=own)
    assert "2 ranks share each batch; this one has 2 threads\n" in done.err


def test_ranks_that_mpi_does_not_connect_are_refused() -> None:
    configure()
    launched_by_none = environment(SLURM_PROCID="0", SLURM_STEP_NUM_TASKS="2")
    words = command("train", "--config", "small.toml", "--out", "run")
    launch(1, "--version")  # skips without MPI
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=launched_by_none, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: 2 processes were started together (SLURM_PROCID), but MPI does not connect them\n\nhint: start them "
    )
