"""Choice of the fastest tiles that fit into the memory limit."""

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
"""Pixels above which an image takes about as much memory as its tiles."""
MEMORY_A_THREAD, MEMORY_BESIDE_LARGE = 500_000_000, 250_000_000
"""Maximum default tile memory per thread, in bytes, if each thread has its own tile; the second is for large images."""
MEMORY_TOGETHER, MEMORY_TOGETHER_BESIDE_LARGE = 1_000_000_000, 500_000_000
"""Maximum default tile memory in total, in bytes, if all threads share one tile; the second is for large images."""
VALUES_AT_ONCE = 10 * 48 * 32 * 32
"""Values in the largest array of a micro-batch in inference. More than in training fit into the cache, because nothing
is stored for a backward pass."""
_LEAST_MEMORY = 100_000_000
"""Minimum default tile memory per thread, in bytes."""
_TRIES = 8
"""Maximum number of decreasing tile sizes to try until one fits into the memory."""
_MOST_WORK = 12
"""Maximum average recomputation per pixel."""
_BYTES_A_VALUE = 9 * 4
"""Bytes per value of the largest array: peak memory is at most that of nine such arrays (measured: three to eight)."""


def plan(
    executor: Executor, shape: Shape, tile: int | None, memory: int | None, margin: int, itemsize: int = 4
) -> Plan:
    """Choose the tiles for images of `shape`.

    The last plan is cached: for small images, planning takes as long as computing.

    Parameters
    ----------
    executor, tile, memory, margin
        See `tiling.apply`.
    shape : (N, C, H, W)
    itemsize : int
        Bytes per value.
    """

    def make() -> Plan:
        geometry = executor.kernel.geometry
        whole = seen_area(geometry, shape, margin)
        pixels = math.prod(part.stop - part.start for part in whole)
        found = None
        if tile is None and pixels > TAPED_PIXELS and surroundings(geometry) > SMALL_SURROUNDINGS:
            found = _together(executor, shape, whole, memory, itemsize)
        return found or _one_by_one(executor, shape, whole, tile, memory)

    return executor.planned((shape, tile, memory, margin, itemsize, executor.threads), make)


def _one_by_one(
    executor: Executor, shape: Shape, whole: tuple[slice, slice], tile: int | None, memory: int | None
) -> Plan:
    """Plan with tiles that pass through the network independently."""
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
    """Plan with tiles that all threads share, one at a time.

    None if there is too little memory, or the tiles would be so small that overlaps dominate.
    """
    kernel, geometry = executor.kernel, executor.kernel.geometry

    def memory_of(n: int, h: int, w: int) -> int:
        counting = Counting(executor.threads, itemsize)
        x = counting.empty((n, shape[1], h, w))
        kernel.in_bands(x, counting)
        return counting.memory

    if memory is None:
        memory = _memory(shape, executor.threads, together=True)
    side = math.lcm(64, geometry.period(0), geometry.period(1)) * 4
    bytes_a_pixel, budget = memory_of(1, side, side) / side**2, memory
    for _ in range(_TRIES):
        try:
            sides = tile_sides(geometry, shape, whole, budget, 1, bytes_a_pixel)
        except MemoryLimitError:
            return None
        tiles = list(tiles_of(geometry, shape, whole, sides, _images_at_once(kernel)))
        if sum(math.prod(part.seen_shape) for part in tiles) > _MOST_WORK * math.prod(shape[2:]) * shape[0]:
            return None  # smaller tiles would recompute even more
        most = max(memory_of(*seen) for seen in {part.seen_shape for part in tiles})
        if most <= memory:
            return Plan(tiles, most, True)
        budget = int(budget * min(0.9, memory / most))
    return None


def _images_at_once(kernel: Kernel) -> Callable[[Shape], float]:
    """Function that maps a shape (N, C, H, W) to the images per micro-batch."""
    return lambda seen: VALUES_AT_ONCE / kernel.most_values(seen)


def _memory(shape: Shape, threads: int, *, together: bool) -> int:
    """Default memory limit for all tiles that are processed at a time, in bytes."""
    large = shape[2] * shape[3] > LARGE
    if together:
        wanted = MEMORY_TOGETHER_BESIDE_LARGE if large else MEMORY_TOGETHER
    else:
        wanted = (MEMORY_BESIDE_LARGE if large else MEMORY_A_THREAD) * threads
    # Never below the minimum, even if half of the available memory is less: that may change at any moment.
    return max(_LEAST_MEMORY * threads, min(wanted, available_memory() // 2))
