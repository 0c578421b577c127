"""Memory that is used again: a pool of blocks that arrays are cut from.

A fresh large array costs more than filling it: the system hands out its pages one by one, at the first touch of each. A
network needs arrays of the same sizes at every step, so the fast kernels ask for them here.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from n2n_cli.nn.functional import Array, Shape

_ALIGNMENT = 64
"""Bytes: a cache line, and the widest load of the processors of today."""

_LARGE = 2**18
"""Bytes from which on a `PackedPool` packs an array."""

_local = threading.local()


class Pool:
    """Blocks of memory. One is free when no array uses it any more, so that nothing in use is ever written over.

    A pool belongs to one thread at a time; its arrays may go anywhere.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, list[Block]] = {}  # by size, in bytes

    def empty(self, shape: Shape, dtype: DTypeLike) -> Array:
        """An array whose values are arbitrary, as `numpy.empty`."""
        kind = np.dtype(dtype)
        size = _rounded(math.prod(shape) * kind.itemsize)
        block = self._free(size)
        if block is None:
            block = _new_block(size)
            self._blocks.setdefault(size, []).append(block)
        return np.ndarray(shape, kind, block.whole, block.start)

    def _free(self, size: int) -> Block | None:
        """A free block of the size, or else the smallest one that is not twice as large."""
        for block in self._blocks.get(size, ()):
            if _users(block) == _NONE:
                return block
        for larger in sorted(other for other in self._blocks if size < other < 2 * size):
            for block in self._blocks[larger]:
                if _users(block) == _NONE:
                    return block
        return None

    def trim(self) -> None:
        """Give the memory of free blocks back to the system."""
        for size, blocks in self._blocks.items():
            self._blocks[size] = [block for block in blocks if _users(block) != _NONE]

    def find(self, array: Array) -> Block | None:
        """The block that an array is cut from; None for an array of other memory."""
        return next((block for blocks in self._blocks.values() for block in blocks if array.base is block.whole), None)

    @property
    def held(self) -> int:
        """Bytes of the system's memory that it has used and not given back."""
        return sum(len(block.whole) for blocks in self._blocks.values() for block in blocks)


class PackedPool(Pool):
    """A pool where large arrays lie close together: each in the first gap that has room, whatever was there before.

    What a network makes of a large picture comes in many sizes, of which few are in use at a time. Blocks that keep
    their size take more than twice as much as lies here; and so much again is lost, block by block, in the memory of an
    allocator when the next picture is of another shape.

    It is not for a tape, whose arrays keep their places when they are gone.
    """

    def __init__(self) -> None:
        super().__init__()
        self._slabs: list[_Slab] = []
        self._expected = 0

    def expect(self, size: int) -> None:
        """Say how many bytes will be in use at a time, at most: then they are one slab from the start."""
        self._expected = size

    def empty(self, shape: Shape, dtype: DTypeLike) -> Array:
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        if size < _LARGE:
            return super().empty(shape, dtype)
        size += -size % _ALIGNMENT
        self._tidy()
        block = next((found for slab in self._slabs if (found := slab.take(size))), None)
        if block is None:
            # More than is asked for, so that soon it is enough for all; what no array reaches costs nothing.
            self._slabs.append(_Slab(max(size, sum(slab.size for slab in self._slabs) // 2)))
            block = self._slabs[-1].take(size)
            assert block is not None
        return np.ndarray(shape, kind, block.whole, block.start)

    def _tidy(self) -> None:
        """See which blocks are free; where all are, one slab takes the place of several, which have more gaps."""
        for slab in self._slabs:
            slab.tidy()
        size = sum(slab.size for slab in self._slabs)
        if (len(self._slabs) > 1 or size < self._expected) and not any(slab.blocks for slab in self._slabs):
            self._slabs.clear()  # before more is asked for
            self._slabs.append(_Slab(max(size, self._expected)))

    def trim(self) -> None:
        super().trim()
        for slab in self._slabs:
            slab.tidy()
        self._slabs = [slab for slab in self._slabs if slab.blocks]

    def find(self, array: Array) -> Block | None:
        packed = (block for slab in self._slabs for _, block in slab.blocks)
        return super().find(array) or next((block for block in packed if array.base is block.whole), None)

    @property
    def held(self) -> int:
        return super().held + sum(slab.reach for slab in self._slabs)


class _Slab:
    """A stretch of memory, that goes back to the system with the last array.

    Attributes
    ----------
    size, reach : int
        Bytes, and the end of those that some block had: the system has given no more than these.
    blocks : list of (int, Block)
        In use, with their places in the slab, in order.
    """

    def __init__(self, size: int) -> None:
        self.size, self.reach = size, 0
        self.blocks: list[tuple[int, Block]] = []
        # Large as it is, allocators take it from the system by itself, which has it back when it is free.
        self._memory = np.empty(size + _ALIGNMENT, np.uint8)
        self._start = -self._memory.ctypes.data % _ALIGNMENT

    def take(self, size: int) -> Block | None:
        """A block in the first gap of such a size."""
        start = 0
        for i, (place, block) in enumerate([*self.blocks, (self.size, None)]):
            if place - start >= size:
                # By way of a view: arrays cut from a slice would refer to all the memory, and keep no block from reuse.
                taken = Block(np.frombuffer(self._memory.data, np.uint8, size, self._start + start), 0)
                self.blocks.insert(i, (start, taken))
                self.reach = max(self.reach, start + size)
                return taken
            start = place + (len(block.whole) if block else 0)
        return None

    def tidy(self) -> None:
        """Forget the blocks that no array uses."""
        self.blocks = [(place, block) for place, block in self.blocks if _users(block) != _NONE]


class Block(NamedTuple):
    """Memory, and the byte of it that arrays start at, a multiple of `_ALIGNMENT`.

    An array cut from it refers to `whole`. Who refers to the block instead does not keep it from being used again.
    """

    whole: NDArray[np.uint8]
    start: int


def _new_block(size: int) -> Block:
    whole = np.empty(size + _ALIGNMENT, np.uint8)
    return Block(whole, -whole.ctypes.data % _ALIGNMENT)


def _rounded(size: int) -> int:
    """`size` in bytes, or up to an eighth more, so that arrays of nearly one size share blocks."""
    step = (1 << size.bit_length() >> 4) or 1
    return -(-size // step) * step


def _users(block: Block) -> int:
    """References to a block's memory, with those that the block and this function hold."""
    return sys.getrefcount(block.whole)


_NONE = _users(_new_block(0))
"""`_users` of a block that no array uses. It depends on the version of Python, so it is counted by the same code."""


@contextmanager
def using(pool: Pool) -> Iterator[None]:
    """Let this thread's kernels take their memory from `pool` inside the block."""
    before = getattr(_local, "pool", None)
    _local.pool = pool
    try:
        yield
    finally:
        _local.pool = before


def empty(shape: Shape, dtype: DTypeLike) -> Array:
    """An array whose values are arbitrary, C-contiguous, from this thread's pool if it uses one."""
    pool: Pool | None = getattr(_local, "pool", None)
    return np.empty(shape, dtype) if pool is None else pool.empty(shape, dtype)


def empty_like(x: Array) -> Array:
    """An array of x's shape and dtype whose values are arbitrary; channels-last in memory if x is."""
    if x.ndim == 4 and not x.flags.c_contiguous and x.transpose(0, 2, 3, 1).flags.c_contiguous:
        n, c, h, w = x.shape
        return empty((n, h, w, c), x.dtype).transpose(0, 3, 1, 2)
    return empty(x.shape, x.dtype)
