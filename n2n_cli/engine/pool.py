"""Memory pools: blocks of memory that arrays are allocated from and reuse.

Allocating a large array costs more than filling it, because of the page faults at the first access to each page. A
network needs arrays of the same sizes at every step, so the kernels allocate them here.
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
"""Alignment of arrays, in bytes: a cache line, and the widest vector load of current processors."""

_LARGE = 2**18
"""Minimum size, in bytes, of arrays that a `PackedPool` packs."""

_local = threading.local()


class Pool:
    """Pool of memory blocks; a block is free once no array uses it.

    Memory in use is never reused. A pool belongs to one thread at a time; its arrays may be used by any.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, list[Block]] = {}  # by size, in bytes

    def empty(self, shape: Shape, dtype: DTypeLike) -> Array:
        """Uninitialised array, as `numpy.empty`."""
        kind = np.dtype(dtype)
        size = _rounded(math.prod(shape) * kind.itemsize)
        block = self._free(size)
        if block is None:
            block = _new_block(size)
            self._blocks.setdefault(size, []).append(block)
        return np.ndarray(shape, kind, block.whole, block.start)

    def _free(self, size: int) -> Block | None:
        """Free block of the size, or else the smallest less than twice as large."""
        for block in self._blocks.get(size, ()):
            if _users(block) == _NONE:
                return block
        for larger in sorted(other for other in self._blocks if size < other < 2 * size):
            for block in self._blocks[larger]:
                if _users(block) == _NONE:
                    return block
        return None

    def trim(self) -> None:
        """Return the memory of free blocks to the system."""
        for size, blocks in self._blocks.items():
            self._blocks[size] = [block for block in blocks if _users(block) != _NONE]

    def find(self, array: Array) -> Block | None:
        """Block that an array is allocated from; None if it is not of this pool."""
        return next((block for blocks in self._blocks.values() for block in blocks if array.base is block.whole), None)

    @property
    def held(self) -> int:
        """Memory that the pool holds, in bytes."""
        return sum(len(block.whole) for blocks in self._blocks.values() for block in blocks)


class PackedPool(Pool):
    """Pool that packs large arrays into slabs, each into the first gap that fits.

    The arrays of a network on a large image have many sizes, and few of them are in use at a time. Blocks of fixed
    sizes would take more than twice the memory; and as much again would be lost to fragmentation of the allocator when
    the next image has another shape.

    Not suitable for a tape, whose calls use the memory of arrays that were garbage-collected.
    """

    def __init__(self) -> None:
        super().__init__()
        self._slabs: list[_Slab] = []
        self._expected = 0

    def expect(self, size: int) -> None:
        """Announce the peak memory, in bytes, so that it is allocated as one slab."""
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
            # Larger than requested, so that few slabs are needed; pages that no array uses cost nothing.
            self._slabs.append(_Slab(max(size, sum(slab.size for slab in self._slabs) // 2)))
            block = self._slabs[-1].take(size)
            assert block is not None
        return np.ndarray(shape, kind, block.whole, block.start)

    def _tidy(self) -> None:
        """Remove free blocks; if no block is left, replace several slabs by one.

        One slab has fewer gaps than several.
        """
        for slab in self._slabs:
            slab.tidy()
        size = sum(slab.size for slab in self._slabs)
        if (len(self._slabs) > 1 or size < self._expected) and not any(slab.blocks for slab in self._slabs):
            self._slabs.clear()  # before more memory is requested
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
    """Contiguous memory to allocate blocks from.

    Attributes
    ----------
    size, reach : int
        Size in bytes, and the highest end of any block so far: the system has allocated pages only up to there.
    blocks : list of (int, Block)
        Blocks in use with their offsets in the slab, in order.
    """

    def __init__(self, size: int) -> None:
        self.size, self.reach = size, 0
        self.blocks: list[tuple[int, Block]] = []
        # Allocators map memory of this size separately and return it to the system once it is freed.
        self._memory = np.empty(size + _ALIGNMENT, np.uint8)
        self._start = -self._memory.ctypes.data % _ALIGNMENT

    def take(self, size: int) -> Block | None:
        """Allocate a block in the first gap that is large enough."""
        start = 0
        for i, (place, block) in enumerate([*self.blocks, (self.size, None)]):
            if place - start >= size:
                # A buffer of its own: arrays based on a slice would refer to the whole memory, not to the block.
                taken = Block(np.frombuffer(self._memory.data, np.uint8, size, self._start + start), 0)
                self.blocks.insert(i, (start, taken))
                self.reach = max(self.reach, start + size)
                return taken
            start = place + (len(block.whole) if block else 0)
        return None

    def tidy(self) -> None:
        """Remove the blocks that no array uses."""
        self.blocks = [(place, block) for place, block in self.blocks if _users(block) != _NONE]


class Block(NamedTuple):
    """Block of memory, and the aligned offset in it at which arrays start.

    Arrays keep a reference to `whole`, which marks the block as in use; a reference to the `Block` does not.
    """

    whole: NDArray[np.uint8]
    start: int


def _new_block(size: int) -> Block:
    whole = np.empty(size + _ALIGNMENT, np.uint8)
    return Block(whole, -whole.ctypes.data % _ALIGNMENT)


def _rounded(size: int) -> int:
    """`size` rounded up by at most an eighth, so that similar arrays share blocks."""
    step = (1 << size.bit_length() >> 4) or 1
    return -(-size // step) * step


def _users(block: Block) -> int:
    """Number of references to a block's memory, including internal ones."""
    return sys.getrefcount(block.whole)


_NONE = _users(_new_block(0))
"""`_users` of a block that no array uses. It depends on the Python version, so it is measured by the same code."""


@contextmanager
def using(pool: Pool) -> Iterator[None]:
    """Let this thread's kernels allocate from `pool` inside the block."""
    before = getattr(_local, "pool", None)
    _local.pool = pool
    try:
        yield
    finally:
        _local.pool = before


def empty(shape: Shape, dtype: DTypeLike) -> Array:
    """Uninitialised C-contiguous array, from this thread's pool if it has one."""
    pool: Pool | None = getattr(_local, "pool", None)
    return np.empty(shape, dtype) if pool is None else pool.empty(shape, dtype)


def empty_like(x: Array) -> Array:
    """Uninitialised array of x's shape and dtype; channels-last in memory if x is."""
    if x.ndim == 4 and not x.flags.c_contiguous and x.transpose(0, 2, 3, 1).flags.c_contiguous:
        n, c, h, w = x.shape
        return empty((n, h, w, c), x.dtype).transpose(0, 3, 1, 2)
    return empty(x.shape, x.dtype)
