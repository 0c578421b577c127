"""Work done ahead of its use, so that a training step finds its batch made."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def prefetch(make: Callable[[Item], Made], items: Iterable[Item], *, threads: int = 1) -> Generator[Made]:
    """make(item) for every item in turn; while one is used, threads make the next, one each.

    They end with the generator. An error of `make` is raised when the turn of its item comes.
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
