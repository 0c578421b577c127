"""Shards: every item belongs to exactly one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.distributed.shards import Shard, parse_shard, shard_of_process
from n2n_cli.errors import UsageError
from tests.nn.cases import some_examples


@given(st.integers(0, 50), st.integers(1, 12))
@some_examples
def test_shards_are_disjoint_and_even(items: int, count: int) -> None:
    parts = [Shard(number, count).of(range(items)) for number in range(1, count + 1)]
    assert sorted(item for part in parts for item in part) == list(range(items))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_shard_is_parsed() -> None:
    assert parse_shard("2/4") == Shard(2, 4, "--shard")
    assert str(parse_shard("02/4")) == "2/4"
    assert parse_shard("1/1").of("abc") == ("a", "b", "c")


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "1/4/2", "-1/4", "1.0/4", "", "1/4 "])
def test_invalid_shards_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_shard(text)
    assert caught.value.message == f"`--shard` is {text!r}, it must be I/N, the I-th of N parts, I from 1 to N"
    assert caught.value.hint


def array(place: int, count: int, first: int, step: int = 1, last: int | None = None) -> dict[str, str]:
    last = first + step * (count - 1) if last is None else last
    values = {"ID": place, "COUNT": count, "MIN": first, "MAX": last, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("environment", "shard", "reason"),
    [
        ({}, "1/1", ""),
        (array(0, 4, 0), "1/4", "SLURM_ARRAY_TASK_ID"),
        (array(10, 10, 1), "10/10", "SLURM_ARRAY_TASK_ID"),
        (array(9, 3, 1, 4), "3/3", "SLURM_ARRAY_TASK_ID"),
        (array(3, 8, 1), "3/8", "SLURM_ARRAY_TASK_ID"),  # --array=1-8, and with %2, of which a task hears nothing
        (array(14, 8, 0, 2), "8/8", "SLURM_ARRAY_TASK_ID"),  # --array=0-15:2, whose last id is 14
        ({"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "2"}, "2/2", "SLURM_ARRAY_TASK_ID"),
        (array(0, 1, 0), "1/1", "SLURM_ARRAY_TASK_ID"),
        (array(1, 1, 1), "1/1", "SLURM_ARRAY_TASK_ID"),
        ({"JOB_COMPLETION_INDEX": "0", "JOB_COMPLETIONS": "3"}, "1/3", "JOB_COMPLETION_INDEX"),
        ({"JOB_COMPLETION_INDEX": "0", "JOB_COMPLETIONS": "1"}, "1/1", ""),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "3"}, "3/3", "OMPI_COMM_WORLD_RANK"),
        ({"PMI_RANK": "1", "PMI_SIZE": "3"}, "2/3", "PMI_RANK"),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}, "2/2", "SLURM_PROCID"),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, "1/1", ""),  # a batch script runs once for all tasks
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "PMI_RANK": "3", "PMI_SIZE": "4"}, "4/4", "PMI_RANK"),
        (
            {**array(2, 3, 1), "SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4"},
            "8/12",
            "SLURM_ARRAY_TASK_ID and SLURM_PROCID",
        ),
    ],
    ids=str,
)
def test_shard_from_the_environment_of_a_cluster(environment: dict[str, str], shard: str, reason: str) -> None:
    found = shard_of_process(environment)
    assert (str(found), found.reason) == (shard, reason)


@pytest.mark.parametrize("environment", [array(7, 3, 1, 1, 9), array(4, 3, 1, 2), array(9, 3, 1)], ids=str)
def test_job_array_with_gaps_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"^the 3 ids of this Slurm job array do not follow one another") as caught:
        shard_of_process(environment)
    assert "--shard I/N" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        (array(3, 1, 3), "the array has no other task"),
        ({"SLURM_ARRAY_TASK_ID": "3"}, "SLURM_ARRAY_TASK_COUNT is not set"),
    ],
    ids=str,
)
def test_the_only_task_of_an_array_is_refused_unless_it_is_the_first(environment: dict[str, str], reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        shard_of_process(environment | {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"})
    assert caught.value.message.endswith(f"task 3 of this Slurm job array takes is unknown: {reason}")
    assert str(caught.value.hint).startswith("to repeat one of N tasks: `--shard 3/N` where ids begin at 1")


@pytest.mark.parametrize(("count", "value"), [(None, "is not set"), ("2", "is 2"), ("x", "is not set")])
def test_pod_without_the_number_of_pods_is_refused(count: str | None, value: str) -> None:
    environment = {"JOB_COMPLETION_INDEX": "2"} | ({} if count is None else {"JOB_COMPLETIONS": count})
    with pytest.raises(UsageError) as caught:
        shard_of_process(environment)
    assert caught.value.message == f"JOB_COMPLETION_INDEX is 2, but JOB_COMPLETIONS, the number of pods, {value}"
    assert "`--shard 1/1` takes all" in str(caught.value.hint)
