"""Choice of the tiles that an image is cut into: the fastest that fit into the memory."""

from __future__ import annotations

import math
from collections.abc import Callable

from n2n_cli.engine.bands import Counting
from n2n_cli.engine.executor import Executor
from n2n_cli.engine.kernel import Kernel
from n2n_cli.engine.replica import TAPED_PIXELS
from n2n_cli.engine.tiles import SMALL_SURROUNDINGS, Plan, seen_area, surroundings, tile_sides, tiles_of
from n2n_cli.errors import MemoryLimitError
from n2n_cli.nn.functional import Shape
from n2n_cli.system.memory import available_memory

LARGE = 20_000_000
"""Pixels of a picture that takes as much memory as its tiles."""
MEMORY_A_THREAD, MEMORY_BESIDE_LARGE = 500_000_000, 250_000_000
"""Bytes that a tile may take while it goes through the network by itself; and beside a large picture."""
MEMORY_TOGETHER, MEMORY_TOGETHER_BESIDE_LARGE = 1_000_000_000, 500_000_000
"""The same for a tile that all threads work on."""
VALUES_AT_ONCE = 10 * 48 * 32 * 32
"""Values in the largest array of small pictures that go forward together: nothing is kept for a way back, so a cache
has room for more than in training."""
_LEAST_MEMORY = 100_000_000
"""Bytes for a tile where nothing was said."""
_TRIES = 8
"""Sizes of tiles that are tried, each smaller than the one before, until the memory is enough."""
_MOST_WORK = 12
"""Times that tiles may make a pixel, on average."""
_BYTES_A_VALUE = 9 * 4
"""The memory in use at a time is that of nine arrays as large as the largest, at most (measured: three to eight)."""


def plan(
    executor: Executor, shape: Shape, tile: int | None, memory: int | None, margin: int, itemsize: int = 4
) -> Plan:
    """The tiles of pictures of `shape`, as `tiling.apply` says; `itemsize` is the bytes of a value.

    That of the last shape are kept: for small pictures, to plan takes as long as to compute.
    """
    geometry = executor.kernel.geometry
    key = (shape, tile, memory, margin, itemsize, executor.threads)
    if executor.last_plan is None or executor.last_plan[0] != key:
        whole = seen_area(geometry, shape, margin)
        pixels = math.prod(part.stop - part.start for part in whole)
        found = None
        if tile is None and pixels > TAPED_PIXELS and surroundings(geometry) > SMALL_SURROUNDINGS:
            found = _together(executor, shape, whole, memory, itemsize)
        executor.last_plan = key, found or _one_by_one(executor, shape, whole, tile, memory)
    return executor.last_plan[1]


def _one_by_one(
    executor: Executor, shape: Shape, whole: tuple[slice, slice], tile: int | None, memory: int | None
) -> Plan:
    """Tiles that go through the network each by itself."""
    kernel, geometry = executor.kernel, executor.kernel.geometry
    if tile is not None:
        sides = (tile, tile)
    else:
        if memory is None:
            memory = _memory(shape, executor.threads, together=False)
        side = math.lcm(64, geometry.period(0), geometry.period(1))
        bytes_a_pixel = kernel.most_values((1, shape[1], side, side)) / side**2 * _BYTES_A_VALUE
        sides = tile_sides(geometry, shape, whole, memory, executor.threads, bytes_a_pixel)
    tiles = list(tiles_of(geometry, shape, whole, sides, _images_at_once(kernel)))
    seen = {part.seen_shape for part in tiles}
    most = max(n * kernel.most_values((n, shape[1], h, w)) for n, h, w in seen)
    return Plan(tiles, most * _BYTES_A_VALUE, False)


def _together(
    executor: Executor, shape: Shape, whole: tuple[slice, slice], memory: int | None, itemsize: int
) -> Plan | None:
    """Tiles that all threads work on together; None where the memory is too little for it."""
    kernel, geometry = executor.kernel, executor.kernel.geometry

    def taken(n: int, h: int, w: int) -> int:
        counting = Counting(executor.threads, itemsize)
        x = counting.empty((n, shape[1], h, w))
        kernel.in_bands(x, counting)
        return counting.memory

    if memory is None:
        memory = _memory(shape, executor.threads, together=True)
    side = math.lcm(64, geometry.period(0), geometry.period(1)) * 4
    bytes_a_pixel, budget = taken(1, side, side) / side**2, memory
    for _ in range(_TRIES):
        try:
            sides = tile_sides(geometry, shape, whole, budget, 1, bytes_a_pixel)
        except MemoryLimitError:
            return None
        tiles = list(tiles_of(geometry, shape, whole, sides, _images_at_once(kernel)))
        if sum(math.prod(part.seen_shape) for part in tiles) > _MOST_WORK * math.prod(shape[2:]) * shape[0]:
            return None  # smaller ones would take forever
        most = max(taken(*seen) for seen in {part.seen_shape for part in tiles})
        if most <= memory:
            return Plan(tiles, most, True)
        budget = int(budget * min(0.9, memory / most))
    return None


def _images_at_once(kernel: Kernel) -> Callable[[Shape], float]:
    """Images of a shape (N, C, H, W) that go forward together."""
    return lambda seen: VALUES_AT_ONCE / kernel.most_values(seen)


def _memory(shape: Shape, threads: int, *, together: bool) -> int:
    """Bytes that the tiles at work may take, where nobody said how many."""
    large = shape[2] * shape[3] > LARGE
    if together:
        wanted = MEMORY_TOGETHER_BESIDE_LARGE if large else MEMORY_TOGETHER
    else:
        wanted = (MEMORY_BESIDE_LARGE if large else MEMORY_A_THREAD) * threads
    # Half of what is free at this moment may be too little, and no reason to give up: it changes.
    return max(_LEAST_MEMORY * threads, min(wanted, available_memory() // 2))
