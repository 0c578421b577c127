"""Computation of items ahead of their use."""

from __future__ import annotations

import threading
import time

import pytest

from n2n_cli.data.prefetching import prefetch
from tests.trainings import loaders


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_as_many_items_as_threads_are_computed_ahead(threads: int) -> None:
    begun = [threading.Event() for _ in range(7)]
    names = set()

    def make(i: int) -> int:
        begun[i].set()
        names.add(threading.current_thread().name)
        return i

    for wanted, i in enumerate(prefetch(make, range(7), threads=threads)):
        assert i == wanted
        assert all(event.wait(10) for event in begun[: i + threads + 1])
        assert not any(event.is_set() for event in begun[i + threads + 1 :])
    assert wanted == 6
    assert 1 <= len(names) <= threads
    assert loaders() == []


@pytest.mark.parametrize("threads", [1, 3])
def test_results_keep_the_order_of_items(threads: int) -> None:
    def make(i: int) -> int:
        time.sleep(0.003 * (5 - i))
        return i * i

    assert list(prefetch(make, range(5), threads=threads)) == [0, 1, 4, 9, 16]
    assert list(prefetch(make, [], threads=threads)) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_error_is_raised_at_its_item(threads: int) -> None:
    def make(i: int) -> float:
        return 1 / (i - 2)

    made: list[float] = []
    with pytest.raises(ZeroDivisionError):
        made.extend(prefetch(make, range(5), threads=threads))
    assert made == [-0.5, -1]
    assert loaders() == []


def test_closing_ends_the_threads_and_drops_further_items() -> None:
    made, go = [], threading.Event()

    def make(i: int) -> int:
        if i:
            go.wait(10)
        made.append(i)
        return i

    items = prefetch(make, range(9), threads=2)
    threading.Timer(0.05, go.set).start()
    assert next(items) == 0
    items.close()
    assert loaders() == []
    assert set(made) <= {0, 1, 2}
