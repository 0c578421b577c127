"""Learning-rate schedules.

A schedule is a pure function of the step, so a resumed training needs no other state. It is described by a table, as in
a TOML file: `{"name": "cosine", "warmup": 500, "floor": 0.01}`.
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
    """Invalid schedule table, or a schedule that does not fit the training.

    Attributes
    ----------
    key : str or None
        Invalid key of the table; None for the table as a whole.
    """

    exit_code = 2

    def __init__(self, message: str, key: str | None, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.key = key


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Base class of the schedules: a factor of the learning rate at every step.

    Parameters
    ----------
    warmup : int
        Steps (or epochs) of linear warm-up; the schedule proper covers the rest of the training.
    by : str
        "step" or "epoch": unit of time, within which the learning rate is constant.
    """

    name: ClassVar[str]
    warmup: int = 0
    by: str = "step"

    def __post_init__(self) -> None:
        arguments.integer("warmup", self.warmup, 0)
        if self.by not in UNITS:
            raise ArgumentError("by", self.by, " or ".join(f'"{unit}"' for unit in UNITS))

    def course(self, step: int, total: int) -> float:
        """Factor of the learning rate, 0 to 1, at a step of 0 to total - 1.

        The steps of the warm-up are not counted.
        """
        raise NotImplementedError

    def lr(self, peak: float, step: int, total: int, *, epoch_steps: int = 1) -> float:
        """Learning rate at a step.

        Parameters
        ----------
        peak : float
            Configured learning rate, which the schedule multiplies by its factor.
        step : int
            Step of the whole training, 0 to total - 1.
        total : int
            Number of steps of the whole training.
        epoch_steps : int
            Steps per epoch, for a schedule by epoch.

        Raises
        ------
        ScheduleError
            If the warm-up is as long as the training or longer.
        """
        if not 0 <= step < total:
            raise ArgumentError("step", step, f"a whole number from 0 to {total - 1}")
        if self.by == "epoch":
            step, total = step // epoch_steps, -(-total // epoch_steps)
        if self.warmup >= total:
            raise ScheduleError(
                f"the warm-up takes {self.warmup} {self.by}s, the training has {total}",
                "warmup",
                hint=f"use a warm-up of at most {total - 1}",
            )
        if step < self.warmup:
            return peak * self.course(0, total - self.warmup) * (step + 1) / (self.warmup + 1)
        return peak * self.course(step - self.warmup, total - self.warmup)

    def table(self) -> dict[str, Any]:
        """Table of all arguments, from which `build` makes the same schedule."""
        return {"name": self.name, **asdict(self)}


class Constant(Schedule):
    """Constant learning rate."""

    name = "constant"

    def course(self, step: int, total: int) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """Learning rate multiplied by `factor` every `every` steps (or epochs)."""

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
    """Half a cosine from the learning rate down to `floor` times that.

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
    """Rise to the learning rate, then fall to nearly 0, half a cosine each.

    Parameters
    ----------
    pct_start : float
        Fraction of the training in which the learning rate rises.
    div_factor : float
        At least 1. The schedule starts at the learning rate divided by this.
    final_div_factor : float
        At least 1. The schedule ends at its starting value divided by this.

    References
    ----------
    Smith and Topin (2018), arXiv:1708.07120; `torch.optim.lr_scheduler.OneCycleLR` without its momentum cycle.
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
    """Constant learning rate with a cosine ramp-down at the end.

    Over the last fraction `part` of the training the factor is (0.5 + cos(pi t)/2)^2, 0 <= t < 1.

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
    """Build a schedule from its table.

    The table has a `name`, one of `SCHEDULES`, and the arguments of that schedule.

    Raises
    ------
    ScheduleError
        For an unknown name or argument (suggests the nearest known one), or a missing or invalid argument.
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


def _fall(start: float, end: float, fraction: float) -> float:
    """Half a cosine from `start` to `end`, at a fraction 0 to 1 of its length."""
    # cos(x/2)^2 equals (1 + cos x)/2, but does not round to zero before the end, however many steps there are.
    return end + (start - end) * math.cos(math.pi / 2 * fraction) ** 2
