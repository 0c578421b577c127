"""Shards: parts of a list of work for independent processes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from n2n_cli.errors import UsageError

Item = TypeVar("Item")

COMPLETIONS = "JOB_COMPLETIONS"
"""Variable with the number of pods, which the manifest has to set: Kubernetes gives a pod only its index."""

_RANKS = (  # set by mpiexec or srun; Slurm sets those of a step only for processes that srun started
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)


@dataclass(frozen=True)
class Shard:
    """Part `number` of `count`, counted from 1; `reason` is the source of the numbers."""

    number: int = 1
    count: int = 1
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """Every `count`-th item, because neighbouring items are often of similar size."""
        return tuple(items[self.number - 1 :: self.count])


def parse_shard(text: str) -> Shard:
    """Parse the value of `--shard`.

    Raises
    ------
    UsageError
        If it is not I/N with I from 1 to N.
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(
            f"`--shard` is {text!r}, it must be I/N, the I-th of N parts, I from 1 to N",
            hint="for four processes: `--shard 1/4`, `--shard 2/4`, `--shard 3/4`, `--shard 4/4`",
        )
    return Shard(int(match[1]), int(match[2]), "--shard")


def shard_of_process(environment: Mapping[str, str]) -> Shard:
    """Shard of this process among those that a cluster has started; 1/1 if alone.

    Each task of a Slurm job array or of an indexed Kubernetes job is a shard, which is divided again among the
    processes that mpiexec or srun started in it.

    Raises
    ------
    UsageError
        If the variables give an index but not the number of tasks.

    References
    ----------
    Slurm, sbatch(1) and srun(1), output environment variables; Kubernetes, Indexed Job; Open MPI and MPICH (Hydra),
    variables of a process.
    """
    outer = _array_task(environment) or _completion(environment) or Shard()
    inner = _rank(environment) or Shard()
    number = (outer.number - 1) * inner.count + inner.number
    return Shard(number, outer.count * inner.count, " and ".join(filter(None, (outer.reason, inner.reason))))


def _array_task(environment: Mapping[str, str]) -> Shard | None:
    names = (f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "COUNT", "MIN", "MAX", "STEP"))
    task, count, first, last, step = _numbers(environment, *names)
    if task is None:
        return None
    if count is None or (count == 1 and task > 1):  # `--array=3` is often meant to repeat a task of a larger array
        raise UsageError(
            f"which part of the pictures task {task} of this Slurm job array takes is unknown: "
            + ("SLURM_ARRAY_TASK_COUNT is not set" if count is None else "the array has no other task"),
            hint=f"to repeat one of N tasks: `--shard {task}/N` where ids begin at 1, `--shard {task + 1}/N` where "
            "they begin at 0; `--shard 1/1` takes all",
        )
    first, step = first or 0, step or 1
    index, rest = divmod(task - first, step)
    if rest or not 0 <= index < count or (last is not None and last != first + step * (count - 1)):
        raise UsageError(
            f"the {count} ids of this Slurm job array do not follow one another: which part is that of id {task}?",
            hint="say it with `--shard I/N`, or number the array without gaps: `sbatch --array=1-10`",
        )
    return Shard(index + 1, count, "SLURM_ARRAY_TASK_ID")


def _completion(environment: Mapping[str, str]) -> Shard | None:
    index, count = _numbers(environment, "JOB_COMPLETION_INDEX", COMPLETIONS)
    if index is None:
        return None
    if count is None or not 0 <= index < count:
        raise UsageError(
            f"JOB_COMPLETION_INDEX is {index}, but {COMPLETIONS}, the number of pods, "
            + ("is not set" if count is None else f"is {count}"),
            hint=f"set {COMPLETIONS} in the pod's `env` to the job's `completions`, or say `--shard I/N`; "
            "`--shard 1/1` takes all",
        )
    return Shard(index + 1, count, "JOB_COMPLETION_INDEX") if count > 1 else None


def _rank(environment: Mapping[str, str]) -> Shard | None:
    for rank_name, size_name in _RANKS:
        rank, size = _numbers(environment, rank_name, size_name)
        if rank is not None and size is not None and 0 <= rank < size > 1:
            return Shard(rank + 1, size, rank_name)
    return None


def _numbers(environment: Mapping[str, str], *names: str) -> list[int | None]:
    """Whole numbers in environment variables; None for a variable without one."""
    values = (environment.get(name, "") for name in names)
    return [int(value) if re.fullmatch(r"[0-9]{1,9}", value) else None for value in values]
