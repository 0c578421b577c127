"""Trials: batch scripts of docs/CLUSTER.md, with tiny pictures and networks."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from n2n_cli.checkpoints.file import read_checkpoint
from tests.cluster import EVERYTHING, PICTURES, outputs, script, write_photos, write_program
from tests.cluster.slurm import (
    has_ended,
    job_state,
    processes_of,
    run_array,
    submit,
    wait_for_end,
    wait_for_restart,
    wait_until,
)
from tests.trainings import small_config, write_leaves

FEW_RANKS = "--ntasks-per-node=1"
_N2N = f"""
case "$*" in
  *train*--data*) set -- "$@" --config small.toml ;;
  *train*--resume*) [ -e epochs ] && set -- "$@" --epochs "$(cat epochs)" ;;
esac
exec {sys.executable} -m n2n_cli "$@"
"""
"""Stand-in for `n2n` that trains a tiny network, and after a restart only up to the epoch in the file `epochs`."""


def _begin_training(*options: str) -> str:
    """Submit the training script, wait for its second epoch and return the job's id."""
    write_leaves(Path("photos"))
    Path("small.toml").write_text(small_config(Path("photos"), epochs=1_000_000).to_toml())
    write_program("n2n", _N2N)
    job = submit(script("srun"), *options)
    wait_until("the second epoch", lambda: "\nepoch 2/" in _output(job) or has_ended(job), 600)
    assert "\nepoch 2/" in _output(job), _output(job)
    return job


def _output(job: str) -> str:
    path = Path(f"slurm-{job}.out")
    return path.read_text() if path.exists() else ""


def _check_resumed(job: str) -> None:
    """Check that a job goes back into the queue, resumes from its checkpoint and ends."""
    wait_for_restart(job)
    before = read_checkpoint("runs/photos/last.pth")["progress"]["history"]
    epochs = len(before) + 2
    Path("epochs").write_text(str(epochs))
    state = wait_for_end(job)
    text = _output(job)
    assert (state["JobState"], state["ExitCode"], state["Restarts"]) == ("COMPLETED", "0:0", "1"), (state, text)
    assert re.search(r"^continues after ", text, re.MULTILINE), text
    after = read_checkpoint("runs/photos/last.pth")["progress"]["history"]
    assert (after[: len(before)], len(after)) == (before, epochs), text


def training_requeues_before_its_time_limit() -> None:
    """Train on eight ranks, until Slurm sends SIGTERM two minutes before the limit."""
    job = _begin_training()
    state = job_state(job)
    assert (state["NumNodes"], state["NumTasks"], state["CPUs/Task"]) == ("2", "8", "8")
    assert "8 ranks share each batch" in _output(job)
    hours, minutes, _ = map(int, state["RunTime"].split(":"))
    limit = 60 * hours + minutes + 3
    subprocess.run(["scontrol", "update", f"JobId={job}", f"TimeLimit={limit}"], check=True)
    _check_resumed(job)


def training_requeues_when_preempted() -> None:
    """Train until a job of a partition of higher priority needs the nodes."""
    job = _begin_training(FEW_RANKS)
    urgent = submit("#!/bin/bash\ntrue\n", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null")
    _check_resumed(job)
    assert job_state(urgent)["JobState"] == "COMPLETED"


def training_ends_when_a_rank_is_killed() -> None:
    """Kill a rank on the second node; the job fails and is not requeued."""
    job = _begin_training(FEW_RANKS)
    ranks = [pid for pid in processes_of(f"{job}.0", "node2") if b"n2n_cli" in _command_line(pid)]
    os.kill(ranks[0], signal.SIGKILL)
    state = wait_for_end(job, 90)
    assert (state["JobState"], state["Restarts"]) == ("FAILED", "0"), state
    subprocess.run(["bin/n2n", "-q", "train", "--resume", "runs/photos", "--epochs", "3"], check=True)


def _command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def evaluation_by_srun_equals_that_of_one_process() -> None:
    """Measure a model on four ranks."""
    write_leaves(Path("test"))
    Path("small.toml").write_text(small_config(Path("test"), epochs=1).to_toml())
    write_program("n2n", _N2N)
    subprocess.run(["bin/n2n", "-q", "train", "--config", "small.toml", "--out", "run"], check=True)
    words = ["n2n", "-q", "eval", "run/best.pth", "--data", "test", "--noise", "gaussian:25", "--threads", "1"]
    alone = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    options = ["--mpi=pmi2", "--nodes=2", "--ntasks=4"]
    done = subprocess.run(["srun", *options, *words], capture_output=True, text=True, check=True)
    assert done.stdout == alone, done
    done = subprocess.run(["srun", "--mpi=none", "--ntasks=2", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    assert done.stderr.count("error: 2 processes were started together (SLURM_PROCID), but MPI does not") == 1, done


def _denoise(*options: str, text: str | None = None) -> tuple[int, str]:
    """Run the denoising script on new pictures; return its exit code and its outputs."""
    write_photos()
    write_program("n2n", _N2N)
    for path in (*Path().glob("denoised-*.jsonl"), *Path().glob("denoised/*/*.png")):
        path.unlink()
    return run_array(text or script("--array"), *options)


def _records(pattern: str = "denoised-*.jsonl") -> list[dict[str, str]]:
    return [json.loads(line) for path in Path().glob(pattern) for line in path.read_text().splitlines()]


def _check_each_picture_once(answer: tuple[int, str], tasks: int) -> None:
    code, text = answer
    assert code == 0, text
    assert outputs() == EVERYTHING
    assert sorted(record["output"] for record in _records()) == sorted(f"denoised/{name}" for name in EVERYTHING)
    assert {record["status"] for record in _records()} == {"done"}
    shards = re.findall(rf"shard (\d+)/{tasks} \(by SLURM_ARRAY_TASK_ID", text)
    assert sorted(map(int, shards)) == list(range(1, tasks + 1)), text


def denoising_by_a_job_array() -> None:
    """Run the script as it is written, then a task again that lost its outputs."""
    write_photos()
    write_program("n2n", _N2N)
    job = submit(script("--array"))
    ids = [f"{job}_{task}" for task in range(1, 5)]
    assert [wait_for_end(task)["JobState"] for task in ids] == ["COMPLETED"] * 4
    text = "".join(_output(task) for task in ids)
    _check_each_picture_once((0, text), 4)
    for record in _records("denoised-3.jsonl"):
        Path(record["output"]).unlink()
    subprocess.run(["scontrol", "requeue", f"{job}_3"], check=True)
    wait_for_restart(f"{job}_3")
    assert wait_for_end(f"{job}_3")["JobState"] == "COMPLETED"
    assert outputs() == EVERYTHING
    assert _output(f"{job}_3").count("shard 3/4 (by SLURM_ARRAY_TASK_ID)") >= 1


def denoising_by_other_job_arrays() -> None:
    """Number the array from 0, from 1, with a step and with a limit of running tasks."""
    for ids, tasks in (("0-7", 8), ("1-8", 8), ("0-15:2", 8), ("0-7%2", 8)):
        _check_each_picture_once(_denoise(f"--array={ids}"), tasks)


def denoising_by_a_job_array_of_one_task() -> None:
    """Refuse `--array=3`; let `--array=1` take all pictures and say so."""
    code, text = _denoise("--array=3")
    assert (code, outputs(), text.count("\n")) == (2, set(), 3), text
    assert "task 3 of this Slurm job array takes is unknown: the array has no other task" in text, text
    code, text = _denoise("--array=3", text=script("--array").replace("--recursive", "--recursive --shard 3/4"))
    assert (code, len(outputs())) == (0, 3), text
    answer = _denoise("--array=1")
    _check_each_picture_once(answer, 1)
    assert f"{PICTURES} of {PICTURES} pictures; `--shard I/N` takes a part" in answer[1]


def denoising_by_a_job_array_with_gaps_is_refused() -> None:
    """Refuse ids between which some are missing."""
    code, text = _denoise("--array=1,3,7")
    assert (code, outputs(), text.count("do not follow one another")) == (2, set(), 3), text


def denoising_by_srun_inside_a_job_array() -> None:
    """Divide the part of each task among two processes."""
    text = script("--array").replace("n2n denoise", "srun --ntasks=2 n2n denoise")
    _check_each_picture_once(_denoise("--array=0-1", "--ntasks=2", text=text), 4)


TRIALS: tuple[Callable[[], None], ...] = (
    denoising_by_a_job_array,
    denoising_by_other_job_arrays,
    denoising_by_a_job_array_of_one_task,
    denoising_by_a_job_array_with_gaps_is_refused,
    denoising_by_srun_inside_a_job_array,
    evaluation_by_srun_equals_that_of_one_process,
    training_ends_when_a_rank_is_killed,
    training_requeues_when_preempted,
    training_requeues_before_its_time_limit,
)
