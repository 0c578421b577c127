"""Prefetching: batches made in threads before a training step needs them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def prefetch(make: Callable[[Item], Made], items: Iterable[Item], *, threads: int = 1) -> Generator[Made]:
    """Yield make(item) for every item; each thread computes one of the next results.

    The threads end with the generator. An error of `make` is raised when its item is due.
    """
    coming: deque[Future[Made]] = deque()
    loaders = ThreadPoolExecutor(threads, "n2n-loader")
    try:
        for item in items:
            coming.append(loaders.submit(make, item))
            if len(coming) > threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        loaders.shutdown(cancel_futures=True)
