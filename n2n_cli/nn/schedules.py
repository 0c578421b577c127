"""The learning rate from step to step: pure functions of the step, so that a resumed training needs nothing but it.

A schedule is written down as a table, `{"name": "cosine", "warmup": 500, "floor": 0.01}`: the form a TOML file holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from n2n_cli.errors import ArgumentError, N2NError, did_you_mean
from n2n_cli.nn import arguments

FROM_0_TO_1 = "a number from 0 to 1"
ABOVE_0_TO_1 = "a number above 0 and at most 1"
UNITS = ("step", "epoch")


class ScheduleError(N2NError):
    """A table does not describe a schedule, or the schedule does not fit the training.

    Attributes
    ----------
    key : str or None
        Which key of the table; None for the table as a whole.
    """

    exit_code = 2

    def __init__(self, message: str, key: str | None, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.key = key


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What part of a training's learning rate each of its steps takes.

    Parameters
    ----------
    warmup : int
        How many steps (or epochs) the learning rate first rises in equal parts; the schedule proper takes the rest.
    by : str
        "step" or "epoch": what is counted, and what the learning rate stays the same for.
    """

    name: ClassVar[str]
    warmup: int = 0
    by: str = "step"

    def __post_init__(self) -> None:
        arguments.integer("warmup", self.warmup, 0)
        if self.by not in UNITS:
            raise ArgumentError("by", self.by, " or ".join(f'"{unit}"' for unit in UNITS))

    def course(self, step: int, total: int) -> float:
        """The part of the learning rate at a step, 0 to total - 1, of a training without warm-up: from 0 to 1."""
        raise NotImplementedError

    def lr(self, peak: float, step: int, total: int, *, epoch_steps: int = 1) -> float:
        """The learning rate of a step.

        Parameters
        ----------
        peak : float
            The training's learning rate, of which the schedule takes parts.
        step : int
            Of the whole training, 0 to total - 1.
        total : int
            Steps of the whole training.
        epoch_steps : int
            Steps of an epoch, for a schedule by epoch.

        Raises
        ------
        ScheduleError
            When the warm-up leaves nothing of the training.
        """
        if not 0 <= step < total:
            raise ArgumentError("step", step, f"a whole number from 0 to {total - 1}")
        if self.by == "epoch":
            step, total = step // epoch_steps, -(-total // epoch_steps)
        if self.warmup >= total:
            raise ScheduleError(
                f"the warm-up takes {self.warmup} {self.by}s, the training has {total}",
                "warmup",
                hint=f"take a warm-up of at most {total - 1}",
            )
        if step < self.warmup:
            return peak * self.course(0, total - self.warmup) * (step + 1) / (self.warmup + 1)
        return peak * self.course(step - self.warmup, total - self.warmup)

    def table(self) -> dict[str, Any]:
        """The table from which `build` makes the same schedule, with every argument."""
        return {"name": self.name, **asdict(self)}


class Constant(Schedule):
    """The learning rate as it is."""

    name = "constant"

    def course(self, step: int, total: int) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """The learning rate times `factor` after every `every` steps (or epochs)."""

    name = "step"
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        arguments.integer("every", self.every, 1)
        arguments.number("factor", self.factor, ABOVE_0_TO_1, lambda value: 0 < value <= 1)

    def course(self, step: int, total: int) -> float:
        return float(self.factor ** (step // self.every))


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Half a cosine from the learning rate down to `floor` times the learning rate.

    References
    ----------
    Loshchilov and Hutter (2017), arXiv:1608.03983, equation 5, without restarts.
    """

    name = "cosine"
    floor: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        arguments.number("floor", self.floor, FROM_0_TO_1, lambda value: 0 <= value <= 1)

    def course(self, step: int, total: int) -> float:
        return _fall(1, self.floor, step / total)


@dataclass(frozen=True, kw_only=True)
class OneCycle(Schedule):
    """Up to the learning rate and down to nearly nothing, by half a cosine each.

    Parameters
    ----------
    pct_start : float
        What part of the training goes up.
    div_factor : float
        It starts at the learning rate over this, at least 1,
    final_div_factor : float
        and ends at that start over this, at least 1.

    References
    ----------
    Smith and Topin (2018), arXiv:1708.07120; `torch.optim.lr_scheduler.OneCycleLR`, whose momentum stays here.
    """

    name = "one-cycle"
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        arguments.number("pct_start", self.pct_start, FROM_0_TO_1, lambda value: 0 <= value <= 1)
        for name in ("div_factor", "final_div_factor"):
            arguments.number(name, getattr(self, name), "a finite number of at least 1", lambda value: value >= 1)

    def course(self, step: int, total: int) -> float:
        first = 1 / self.div_factor
        peak, last = self.pct_start * total - 1, total - 1
        if step <= peak:
            return _fall(first, 1, step / peak if peak > 0 else 1)
        return _fall(1, first / self.final_div_factor, (step - peak) / (last - peak))


@dataclass(frozen=True, kw_only=True)
class RampDown(Schedule):
    """The learning rate as it is, and over the last `part` of the training (0.5 + cos(pi t)/2)^2 of it, 0 <= t < 1.

    References
    ----------
    Lehtinen et al. (2018), arXiv:1803.04189; `compute_ramped_down_lrate` of its code, NVlabs/noise2noise, train.py.
    """

    name = "ramp-down"
    part: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        arguments.number("part", self.part, ABOVE_0_TO_1, lambda value: 0 < value <= 1)

    def course(self, step: int, total: int) -> float:
        start = (1 - self.part) * total
        return _fall(1, 0, max(step - start, 0) / (total - start)) ** 2


SCHEDULES: dict[str, type[Schedule]] = {kind.name: kind for kind in (Constant, Step, Cosine, OneCycle, RampDown)}


def build(table: Mapping[str, Any]) -> Schedule:
    """The schedule that a table describes: its `name`, one of `SCHEDULES`, and that schedule's arguments.

    Raises
    ------
    ScheduleError
        For an unknown name or argument (with the nearest known one), a missing or an impossible argument.
    """
    name = table.get("name")
    if name is None:
        raise ScheduleError("the schedule has no `name`", None, hint=f"known names: {', '.join(SCHEDULES)}")
    kind = SCHEDULES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ScheduleError(f"there is no schedule {name!r}", "name", hint=did_you_mean(str(name), list(SCHEDULES)))
    given = {key: value for key, value in table.items() if key != "name"}
    known = [argument.name for argument in fields(kind)]
    for key in given:
        if key not in known:
            raise ScheduleError(f'"{name}" has no argument `{key}`', str(key), hint=did_you_mean(str(key), known))
    if kind is Step and "every" not in given:
        raise ScheduleError(f'"{name}" needs the argument `every`', "every", hint="for example `every = 100_000`")
    try:
        return kind(**given)
    except ArgumentError as error:
        raise ScheduleError(f"{error.value!r} is not {error.needed}", error.name) from None


def _fall(start: float, end: float, way: float) -> float:
    """From `start` to `end` by half a cosine, after a part `way` of it."""
    # cos(x/2)^2 is (1 + cos x)/2, and not zero before the end, however many steps there are.
    return end + (start - end) * math.cos(math.pi / 2 * way) ** 2
