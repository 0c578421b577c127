"""NumPy calls written down once and run again.

A pass of one shape through a network is the same list of calls on the same memory every time. What Python does between
them, checks and shapes and views, costs as much as the smallest of them and holds the other threads up; a tape leaves
it out. (CUDA graphs do the same for a GPU.)

Only calls made through `do` get on a tape, so a layer that can be taped (`Module.tapes`) does all its work with them,
on memory from `memory.empty`. Other arrays, such as parameters and their gradients, are noted as they are: a tape holds
as long as they stay the same arrays, whatever their values.
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
    """Call a NumPy function that writes its result to an argument, and put the call on this thread's tape, if any."""
    function(*arguments, **named)
    tape: Tape | None = getattr(_local, "tape", None)
    if tape is not None:
        tape.add(function, arguments, named)


class Tape:
    """Calls in their order.

    Parameters
    ----------
    pool : Pool
        Where the arrays that are made while recording lie. Its memory is used again within the tape as it is within
        one pass, and stays the tape's afterwards.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._noted: list[tuple[Callable[..., object], list[Any], dict[str, Any]]] = []
        self._calls: list[tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]] = []

    def add(self, function: Callable[..., object], arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Note a call. Arrays of the pool are noted as places in it: a reference would keep their memory from reuse."""
        noted = [self._place(value) for value in arguments]
        self._noted.append((function, noted, {name: self._place(value) for name, value in named.items()}))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Note every `do` of this thread inside the block."""
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
        """Make all calls again."""
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
    """A view of a block of the pool: its first byte in `block.whole`, and how it lies from there."""

    block: Block
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
