"""Time several ways to do one thing, taking turns, so that a busy moment of the machine meets all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Seconds of one way, in the order they were taken."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @property
    def spread(self) -> float:
        """Distance of the quartiles, as a share of the median."""
        low, high = np.quantile(self.seconds, (0.25, 0.75))
        return float((high - low) / self.median)


def take_turns(
    ways: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 3, settle: bool = True
) -> dict[str, Timing]:
    """Time each of `ways` once a round, each round starting with another one; the warm-up does not count.

    Before a way is timed it runs once for nothing: by then the caches are its own, and the threads of the one before
    it, which wait for more work for some milliseconds without letting go of their cores, are asleep.
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
