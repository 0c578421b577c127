from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.errors import ArgumentError
from n2n_cli.nn.schedules import SCHEDULES, Constant, Cosine, OneCycle, RampDown, Schedule, ScheduleError, Step, build
from tests.nn.cases import some_examples

EXAMPLES: dict[str, dict[str, Any]] = {
    "constant": {},
    "step": {"every": 3, "factor": 0.5},
    "cosine": {"floor": 0.25},
    "one-cycle": {"pct_start": 0.4, "div_factor": 10, "final_div_factor": 100},
    "ramp-down": {"part": 0.5},
}


def rates(schedule: Schedule, total: int, *, epoch_steps: int = 1) -> list[float]:
    return [schedule.lr(2.0, step, total, epoch_steps=epoch_steps) for step in range(total)]


def test_there_is_an_example_of_every_schedule() -> None:
    assert list(EXAMPLES) == list(SCHEDULES)


def test_constant_keeps_the_rate() -> None:
    assert rates(Constant(), 4) == [2, 2, 2, 2]


def test_step_multiplies_the_rate_at_intervals() -> None:
    assert rates(Step(every=2, factor=0.5), 7) == [2, 2, 1, 1, 0.5, 0.5, 0.25]
    assert rates(Step(every=1), 3) == pytest.approx([2, 0.2, 0.02], rel=1e-14)


def test_cosine_falls_to_its_floor() -> None:
    assert rates(Cosine(), 4) == pytest.approx([2, 1 + math.sqrt(0.5), 1, 1 - math.sqrt(0.5)], rel=1e-14)
    assert rates(Cosine(floor=0.5), 3) == pytest.approx([2, 1.75, 1.25], rel=1e-14)


def test_one_cycle_rises_and_falls() -> None:
    got = rates(OneCycle(pct_start=0.3, div_factor=4, final_div_factor=10), 10)
    assert got == pytest.approx(
        [0.5, 1.25, 2, *(0.05 + 1.95 * (0.5 + math.cos(math.pi * i / 7) / 2) for i in range(1, 8))], rel=1e-14
    )


@pytest.mark.parametrize("pct_start", [0, 0.25, 0.5, 1])
@pytest.mark.parametrize("total", [1, 2, 3, 4, 5])
def test_one_cycle_with_few_steps(pct_start: float, total: int) -> None:
    got = rates(OneCycle(pct_start=pct_start), total)
    assert all(0 < lr <= 2 for lr in got)
    assert got[-1] == pytest.approx(2 if pct_start == 1 else 2 / 25 / 1e4)


def test_ramp_down_matches_noise2noise() -> None:
    got = rates(RampDown(), 10)
    assert got == pytest.approx(
        [2] * 7 + [2 * (0.5 + math.cos(math.pi * t) / 2) ** 2 for t in (0, 1 / 3, 2 / 3)], rel=1e-12
    )
    assert rates(RampDown(part=1), 2) == pytest.approx([2, 0.5], rel=1e-14)


def test_warm_up_rises_to_the_schedule_s_start() -> None:
    assert rates(Constant(warmup=3), 5) == [0.5, 1, 1.5, 2, 2]
    for name, arguments in EXAMPLES.items():
        plain, warm = SCHEDULES[name](**arguments), SCHEDULES[name](**arguments, warmup=3)
        first = plain.lr(2.0, 0, 9)
        assert rates(warm, 12)[:3] == pytest.approx([first / 4, first / 2, first * 3 / 4], rel=1e-14)
        assert rates(warm, 12)[3:] == rates(plain, 9)


def test_by_epoch_keeps_the_learning_rate_within_an_epoch() -> None:
    for name, arguments in EXAMPLES.items():
        by_step, by_epoch = (SCHEDULES[name](**arguments, warmup=1, by=by) for by in ("step", "epoch"))
        wanted = [lr for lr in rates(by_step, 5) for _ in range(3)]
        assert rates(by_epoch, 15, epoch_steps=3) == wanted
        assert rates(by_epoch, 14, epoch_steps=3) == wanted[:14]
        assert rates(by_step, 5, epoch_steps=3) == rates(by_step, 5)


@some_examples
@given(st.sampled_from(list(EXAMPLES)), st.integers(1, 10**12), st.data())
def test_learning_rate_is_positive_and_at_most_the_maximum(name: str, total: int, data: st.DataObject) -> None:
    arguments = {**EXAMPLES[name], "floor": 0.0} if name == "cosine" else EXAMPLES[name]
    if name == "step":
        arguments = {"every": max(1, total // 100)}
    schedule = SCHEDULES[name](**arguments, warmup=data.draw(st.integers(0, total - 1)))
    for step in (0, data.draw(st.integers(0, total - 1)), total - 1):
        assert 0 < schedule.lr(2.0, step, total) <= 2


@some_examples
@given(st.sampled_from([Cosine(), RampDown(), Step(every=4)]), st.integers(2, 300))
def test_falling_schedules_never_rise(schedule: Schedule, total: int) -> None:
    got = rates(schedule, total)
    assert got == sorted(got, reverse=True)


@pytest.mark.parametrize("step", [-1, 5, 6])
def test_step_outside_the_training_is_refused(step: int) -> None:
    with pytest.raises(ArgumentError) as caught:
        Cosine().lr(1, step, 5)
    assert caught.value.message == f"`step` is {step}, it must be a whole number from 0 to 4"


@pytest.mark.parametrize("by", ["step", "epoch"])
def test_warm_up_of_the_whole_training_is_refused(by: str) -> None:
    schedule = Cosine(warmup=4, by=by)
    with pytest.raises(ScheduleError) as caught:
        schedule.lr(1, 0, 4 if by == "step" else 12, epoch_steps=3)
    assert caught.value.message == f"the warm-up takes 4 {by}s, the training has 4"
    assert caught.value.hint == "use a warm-up of at most 3"
    assert caught.value.key == "warmup"
    assert Cosine(warmup=3).lr(1, 0, 4) > 0


# Tables


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_round_trip_through_a_table(name: str) -> None:
    table = {"name": name, "warmup": 2, "by": "epoch", **EXAMPLES[name]}
    schedule = build(table)
    assert type(schedule) is SCHEDULES[name]
    assert schedule.table() == table
    assert schedule == SCHEDULES[name](warmup=2, by="epoch", **EXAMPLES[name])
    assert build(schedule.table()) == schedule
    assert schedule != SCHEDULES[name](warmup=3, by="epoch", **EXAMPLES[name])


def test_table_includes_default_arguments() -> None:
    assert build({"name": "cosine"}).table() == {"name": "cosine", "warmup": 0, "by": "step", "floor": 0.0}


@pytest.mark.parametrize(
    ("table", "key", "message", "hint"),
    [
        ({}, None, "the schedule has no `name`", "known names: constant, step, cosine, one-cycle, ramp-down"),
        ({"name": "cosin"}, "name", "there is no schedule 'cosin'", "did you mean `cosine`?"),
        ({"name": ["cosine"]}, "name", "there is no schedule ['cosine']", None),
        (
            {"name": "constant", "flor": 1},
            "flor",
            '"constant" has no argument `flor`',
            "known: `warmup`, `by`",
        ),
        ({"name": "cosine", "flor": 1}, "flor", '"cosine" has no argument `flor`', "did you mean `floor`?"),
        ({"name": "step"}, "every", '"step" needs the argument `every`', "for example `every = 100_000`"),
        ({"name": "step", "every": 0}, "every", "0 is not a whole number of at least 1", None),
        ({"name": "step", "every": 1, "factor": 0}, "factor", "0 is not a number above 0 and at most 1", None),
        ({"name": "step", "every": 1, "factor": 1.5}, "factor", "1.5 is not a number above 0 and at most 1", None),
        ({"name": "cosine", "floor": -0.1}, "floor", "-0.1 is not a number from 0 to 1", None),
        ({"name": "cosine", "floor": 1.1}, "floor", "1.1 is not a number from 0 to 1", None),
        ({"name": "cosine", "floor": True}, "floor", "True is not a number from 0 to 1", None),
        ({"name": "cosine", "warmup": 1.0}, "warmup", "1.0 is not a whole number of at least 0", None),
        ({"name": "constant", "warmup": -1}, "warmup", "-1 is not a whole number of at least 0", None),
        ({"name": "step", "every": 1, "warmup": -1}, "warmup", "-1 is not a whole number of at least 0", None),
        ({"name": "one-cycle", "warmup": -1}, "warmup", "-1 is not a whole number of at least 0", None),
        ({"name": "ramp-down", "warmup": -1}, "warmup", "-1 is not a whole number of at least 0", None),
        ({"name": "cosine", "by": "steps"}, "by", '\'steps\' is not "step" or "epoch"', None),
        ({"name": "one-cycle", "pct_start": 2}, "pct_start", "2 is not a number from 0 to 1", None),
        ({"name": "one-cycle", "pct_start": -1}, "pct_start", "-1 is not a number from 0 to 1", None),
        ({"name": "one-cycle", "div_factor": 0}, "div_factor", "0 is not a finite number of at least 1", None),
        (
            {"name": "one-cycle", "final_div_factor": 0.5},
            "final_div_factor",
            "0.5 is not a finite number of at least 1",
            None,
        ),
        ({"name": "ramp-down", "part": 0}, "part", "0 is not a number above 0 and at most 1", None),
        ({"name": "ramp-down", "part": 1.01}, "part", "1.01 is not a number above 0 and at most 1", None),
    ],
    ids=str,
)
def test_table_that_is_no_schedule_is_refused(
    table: dict[str, Any], key: str | None, message: str, hint: str | None
) -> None:
    with pytest.raises(ScheduleError) as caught:
        build(table)
    assert caught.value.key == key
    assert caught.value.message == message
    assert hint is None or caught.value.hint == hint
    assert caught.value.exit_code == 2
