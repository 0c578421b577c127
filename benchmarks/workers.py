"""Worker processes, so that alternatives share no threads, memory or libraries."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any


@contextmanager
def workers(
    make: Callable[..., Callable[[], object]], ways: Mapping[str, tuple[Any, ...]]
) -> Iterator[dict[str, Callable[[], object]]]:
    """Start a process for each way, and provide functions that run it once.

    The process of a way calls `make(*arguments)` at its start, and the result at each run.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    try:
        for name, arguments in ways.items():
            pipes[name], theirs = context.Pipe()
            processes.append(context.Process(target=_serve, args=(theirs, make, arguments), daemon=True))
            processes[-1].start()
            theirs.close()
            pipes[name].recv()  # ready
        yield {name: _ask(pipe) for name, pipe in pipes.items()}
    finally:
        for pipe in pipes.values():
            pipe.close()
        for process in processes:
            process.join(10)
            process.terminate()


def _ask(pipe: Connection) -> Callable[[], object]:
    def run() -> object:
        pipe.send(True)
        return pipe.recv()

    return run


def _serve(pipe: Connection, make: Callable[..., Callable[[], object]], arguments: tuple[Any, ...]) -> None:
    run = make(*arguments)
    pipe.send(True)
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        run()
        pipe.send(True)
