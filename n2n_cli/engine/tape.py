"""Recording and replay of NumPy calls.

For a given input shape, a pass through a network is always the same list of calls on the same memory. Python's work
between them (checks, shapes, views) takes as long as the smallest calls and blocks the other threads; replaying a tape
skips it. (CUDA graphs do the same for a GPU.)

Only calls made through `do` are recorded, so a kernel that can be taped (`Kernel.tapes`) makes all its computations
through it, on memory from `pool.empty`. Other arrays, such as parameters and their gradients, are recorded by
reference: a tape is valid as long as they remain the same arrays; their values may change.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from n2n_cli.engine.pool import Block, Pool, using

_local = threading.local()


def do(function: Callable[..., object], *arguments: Any, **named: Any) -> None:
    """Call a NumPy function and record the call on this thread's tape, if any.

    The function has to write its result to one of the arguments.
    """
    function(*arguments, **named)
    tape: Tape | None = getattr(_local, "tape", None)
    if tape is not None:
        tape.add(function, arguments, named)


class Tape:
    """Recorded calls, in order.

    Parameters
    ----------
    pool : Pool
        Memory of the arrays that are created while recording. Calls reuse it as they do in a pass that is not taped;
        afterwards it belongs to the tape.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._noted: list[tuple[Callable[..., object], list[Any], dict[str, Any]]] = []
        self._calls: list[tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]] = []

    def add(self, function: Callable[..., object], arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Record a call.

        Arrays of the pool are recorded by position: a reference would prevent the reuse of their memory.
        """
        noted = [self._place(value) for value in arguments]
        self._noted.append((function, noted, {name: self._place(value) for name, value in named.items()}))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record every `do` of this thread inside the block."""
        _local.tape = self
        try:
            with using(self._pool):
                yield
            for function, arguments, named in self._noted:
                arrays = tuple(self._array(value) for value in arguments)
                self._calls.append((function, arrays, {name: self._array(value) for name, value in named.items()}))
        finally:
            _local.tape = None
            self._noted.clear()

    def run(self) -> None:
        """Replay all calls."""
        for function, arguments, named in self._calls:
            function(*arguments, **named)

    def _place(self, value: Any) -> Any:
        block = self._pool.find(value) if isinstance(value, np.ndarray) else None
        if block is None:
            return value
        start = value.ctypes.data - block.whole.ctypes.data
        return _Place(block, start, value.shape, value.strides, value.dtype)

    def _array(self, value: Any) -> Any:
        if not isinstance(value, _Place):
            return value
        return np.ndarray(value.shape, value.dtype, value.block.whole, value.start, value.strides)


class _Place(NamedTuple):
    """Position of an array in a block of the pool.

    `start` is the offset of its first byte in `block.whole`.
    """

    block: Block
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
