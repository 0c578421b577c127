"""Interleaved timing of alternatives, so that a busy machine affects all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Seconds of each run of an alternative, in order."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @property
    def spread(self) -> float:
        """Interquartile range, relative to the median."""
        low, high = np.quantile(self.seconds, (0.25, 0.75))
        return float((high - low) / self.median)


def take_turns(
    ways: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 3, settle: bool = True
) -> dict[str, Timing]:
    """Time each of `ways` once per round, starting each round with another one.

    The first `warm_up` rounds are not counted. With `settle`, a way runs once untimed before each timed run: this fills
    the caches, and lets the threads of the previous way fall asleep, which keep their cores busy for some milliseconds
    while they wait for work.
    """
    names = list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(warm_up + rounds):
        turn = round_ % len(names)
        for name in names[turn:] + names[:turn]:
            if settle:
                ways[name]()
            start = time.perf_counter()
            ways[name]()
            if round_ >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}
