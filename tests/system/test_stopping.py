from __future__ import annotations

import numpy as np
import pytest

from n2n_cli import engine
from n2n_cli.nn import Sequential, Sigmoid
from n2n_cli.system.stopping import PATIENCE, StopError, Stopping


def test_work_continues_without_a_request_to_stop() -> None:
    stopping = Stopping(lambda: False)
    stopping.after_a_step()
    stopping.within_a_step()


def test_work_stops_after_a_step_or_within_a_slow_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = 10.0, True
    monkeypatch.setattr("time.perf_counter", lambda: now)
    stopping = Stopping(lambda: asked)
    stopping.within_a_step()
    asked = False  # a request to stop is remembered
    now = 10 + 0.9 * PATIENCE
    stopping.within_a_step()
    with pytest.raises(StopError):
        stopping.after_a_step()
    now = 10 + PATIENCE
    with pytest.raises(StopError):
        stopping.within_a_step()


@pytest.mark.parametrize("threads", [1, 3])
def test_replicas_stop_between_two_items(threads: int) -> None:
    replicas, begun = engine.compile(Sequential(Sigmoid()), threads=threads), list[int]()

    def between() -> None:
        if len(begun) >= 4:
            raise StopError

    replicas.between = between
    with pytest.raises(StopError):
        replicas.map(lambda _, item: begun.append(item), range(100))
    assert 4 <= len(begun) < 4 + threads
    replicas.between = lambda: None
    assert np.array_equal(replicas.map(lambda replica, item: replica(np.zeros((1, 1, item, 1))).sum(), [2, 4]), [1, 2])
