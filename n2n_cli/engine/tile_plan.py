"""Which tiles a picture is cut into: each sees all that its outputs depend on, and takes no more memory than it may."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple
from weakref import WeakKeyDictionary

from n2n_cli.engine.bands import Counting
from n2n_cli.engine.replicas import TAPED_PIXELS, Replicas, passes
from n2n_cli.errors import MemoryLimitError, ShapeError
from n2n_cli.nn import Module
from n2n_cli.nn.functional import Pair, Shape
from n2n_cli.system.memory import available_memory

TILE = 128
"""Side of the output of a tile, in pixels, that is large enough where a network sees little around a pixel: what its
layers make of it stays in a cache."""
LARGE = 20_000_000
"""Pixels of a picture that takes as much memory as its tiles."""
MEMORY_A_THREAD, MEMORY_BESIDE_LARGE = 500_000_000, 250_000_000
"""Bytes that a tile may take while it goes through the network by itself; and beside a large picture."""
MEMORY_TOGETHER, MEMORY_TOGETHER_BESIDE_LARGE = 1_000_000_000, 500_000_000
"""The same for a tile that all threads work on."""
VALUES_A_PASS = 10 * 48 * 32 * 32
"""Values in the largest array of small pictures that go forward together: nothing is kept for a way back, so a cache
has room for more than in training."""
_LEAST_MEMORY = 100_000_000
"""Bytes for a tile where nothing was said."""
_TRIES = 8
"""Sizes of tiles that are tried, each smaller than the one before, until the memory is enough."""
_MOST_WORK = 12
"""Times that tiles may make a pixel, on average."""
_LITTLE = TILE // 6
"""Pixels that a network may see beyond a tile, both sides together, so that the tile is large enough."""
_BYTES_A_VALUE = 9 * 4
"""The memory in use at a time is that of nine arrays as large as the largest, at most (measured: three to eight)."""
_plans: WeakKeyDictionary[Module, tuple[tuple[object, ...], Plan]] = WeakKeyDictionary()
"""Of each network, what was asked for last, and the plan for it."""


class Tile(NamedTuple):
    """Some images of a batch, the pixels that come out of them, and those that go in."""

    images: slice
    rows: slice
    columns: slice
    seen_rows: slice
    seen_columns: slice

    @property
    def seen_shape(self) -> tuple[int, ...]:
        """Images, rows and columns that go in."""
        return tuple(part.stop - part.start for part in (self.images, self.seen_rows, self.seen_columns))


class Plan(NamedTuple):
    """How pictures go through a network.

    Attributes
    ----------
    tiles : list of Tile
    memory : int
        Bytes that the largest of them takes while it goes through the network, at most.
    together : bool
        Whether all threads work on one tile at a time, layer by layer: see `nn.bands`.
    """

    tiles: list[Tile]
    memory: int
    together: bool


def plan(
    replicas: Replicas, shape: Shape, tile: int | None, memory: int | None, margin: int, itemsize: int = 4
) -> Plan:
    """The tiles of pictures of `shape`, as `tiling.apply` says; `itemsize` is the bytes of a value.

    That of the last shape are kept: for small pictures, to plan takes as long as to compute.
    """
    network = replicas.network
    key = (shape, tile, memory, margin, itemsize, replicas.threads)
    last = _plans.get(network)
    if last is None or last[0] != key:
        whole = _whole(network, shape, margin)
        pixels = math.prod(part.stop - part.start for part in whole)
        found = None
        if tile is None and pixels > TAPED_PIXELS and _beyond(network) > _LITTLE:
            found = _together(replicas, shape, whole, memory, itemsize)
        last = _plans[network] = key, found or _one_by_one(replicas, shape, whole, tile, memory)
    return last[1]


def _one_by_one(
    replicas: Replicas, shape: Shape, whole: tuple[slice, slice], tile: int | None, memory: int | None
) -> Plan:
    """Tiles that go through the network each by itself."""
    network = replicas.network
    if tile is not None:
        sides = (tile, tile)
    else:
        if memory is None:
            memory = _memory(shape, replicas.threads, together=False)
        side = math.lcm(64, network.period(0), network.period(1))
        bytes_a_pixel = network.most_values((1, shape[1], side, side)) / side**2 * _BYTES_A_VALUE
        sides = tile_sides(network, shape, whole, memory, replicas.threads, bytes_a_pixel)
    tiles = list(_tiles(network, shape, whole, sides))
    seen = {part.seen_shape for part in tiles}
    most = max(n * network.most_values((n, shape[1], h, w)) for n, h, w in seen)
    return Plan(tiles, most * _BYTES_A_VALUE, False)


def _together(
    replicas: Replicas, shape: Shape, whole: tuple[slice, slice], memory: int | None, itemsize: int
) -> Plan | None:
    """Tiles that all threads work on together; None where the memory is too little for it."""
    network = replicas.network

    def taken(n: int, h: int, w: int) -> int:
        counting = Counting(replicas.threads, itemsize)
        x = counting.empty((n, shape[1], h, w))
        network.in_bands(x, counting)
        return counting.memory

    if memory is None:
        memory = _memory(shape, replicas.threads, together=True)
    side = math.lcm(64, network.period(0), network.period(1)) * 4
    bytes_a_pixel, budget = taken(1, side, side) / side**2, memory
    for _ in range(_TRIES):
        try:
            sides = tile_sides(network, shape, whole, budget, 1, bytes_a_pixel)
        except MemoryLimitError:
            return None
        tiles = list(_tiles(network, shape, whole, sides))
        if sum(math.prod(part.seen_shape) for part in tiles) > _MOST_WORK * math.prod(shape[2:]) * shape[0]:
            return None  # smaller ones would take forever
        most = max(taken(*seen) for seen in {part.seen_shape for part in tiles})
        if most <= memory:
            return Plan(tiles, most, True)
        budget = int(budget * min(0.9, memory / most))
    return None


def _memory(shape: Shape, threads: int, *, together: bool) -> int:
    """Bytes that the tiles at work may take, where nobody said how many."""
    large = shape[2] * shape[3] > LARGE
    if together:
        wanted = MEMORY_TOGETHER_BESIDE_LARGE if large else MEMORY_TOGETHER
    else:
        wanted = (MEMORY_BESIDE_LARGE if large else MEMORY_A_THREAD) * threads
    # Half of what is free at this moment may be too little, and no reason to give up: it changes.
    return max(_LEAST_MEMORY * threads, min(wanted, available_memory() // 2))


def tile_sides(
    network: Module, shape: Shape, whole: tuple[slice, slice], memory: int, workers: int, bytes_a_pixel: float
) -> Pair:
    """Sides of the output of tiles, in pixels.

    Where a network sees little beyond a tile, they are `TILE`, as far as the memory goes. Where it sees far, what tiles
    see together is the cost: the sides are those that give the worker with the most to do the least of it.

    Parameters
    ----------
    network : Module
    shape : (N, C, H, W)
        Of the pictures.
    whole : (slice, slice)
        Rows and columns that the network sees of them.
    memory : int
        Bytes that the tiles at work may take.
    workers : int
        Tiles that are at work at a time.
    bytes_a_pixel : float
        That a tile takes, for each pixel that it sees.

    Raises
    ------
    MemoryLimitError
        When the memory is too little for a tile of one period.
    """
    beyond = _beyond(network)
    period = math.lcm(network.period(0), network.period(1))
    pixels = int(memory // workers / bytes_a_pixel)
    square = math.isqrt(pixels) - beyond
    if square < period:
        needed = math.ceil(workers * (beyond + period) ** 2 * bytes_a_pixel / 1e6)
        raise MemoryLimitError(f"{memory / 1e6:.0f} MB are too little for a tile of this network", needed)
    square = square // period * period
    if beyond <= _LITTLE:
        square = min(TILE + -TILE % period, square)
        return square, square
    best, sides = math.inf, (square, square)
    rows, columns = (list(_cuts(network, shape[2 + axis], whole[axis], square, axis)) for axis in (0, 1))
    for down, height, seen_height in rows:
        for across, width, seen_width in columns:
            area = seen_height * seen_width
            cost = math.ceil(shape[0] * down * across / workers) * area
            if area <= pixels and cost < best:
                best, sides = cost, (height, width)
    return sides


def _beyond(network: Module) -> int:
    """Pixels that a network sees along an axis around one, at most."""
    return max(_room(network, axis) - 1 for axis in (0, 1))


def _cuts(network: Module, size: int, whole: slice, square: int, axis: int) -> Iterator[tuple[int, int, int]]:
    """Ways to cut an axis into equal parts: how many, of what size, and what the one that sees most of them sees."""
    period, (first, last) = network.period(axis), network.input_span(0, 1, axis)
    before, after = (max(0, pixels) + -max(0, pixels) % period for pixels in (-first, last - 1))
    before_all, behind_all = -whole.start, whole.stop - size
    for wanted in range(1, max(2, math.ceil(size / max(period, square // 2))) + 1):
        part = math.ceil(size / wanted)
        part += -part % period
        count = math.ceil(size / part)
        if count == 1:
            beyond = before_all + behind_all
        elif count == 2:
            beyond = max(before_all + after, before + behind_all)
        else:
            beyond = before + after
        yield count, part, min(part + beyond, whole.stop - whole.start)


def _whole(network: Module, shape: Shape, margin: int) -> tuple[slice, slice]:
    """The rows and columns that the network sees of pictures of `shape`: 0 is their own first; all in whole periods."""
    n, channels, h, w = shape
    before = [margin + -margin % network.period(axis) for axis in (0, 1)]
    sizes = _kept_size(network, (n, channels, h + 2 * before[0], w + 2 * before[1]))
    rows, columns = (slice(-start, size - start) for start, size in zip(before, sizes, strict=True))
    return rows, columns


def _tiles(network: Module, shape: Shape, whole: tuple[slice, slice], sides: Pair) -> Iterator[Tile]:
    """The tiles of pictures of `shape`; small pictures are taken several together."""
    n, channels, *sizes = shape
    spans = [list(_spans(network, sizes[axis], whole[axis], sides[axis], axis)) for axis in (0, 1)]
    seen = (1, channels, *(max(part.stop - part.start for _, part in spans[axis]) for axis in (0, 1)))
    for images in passes(n, VALUES_A_PASS / network.most_values(seen)):
        for rows, seen_rows in spans[0]:
            for columns, seen_columns in spans[1]:
                yield Tile(images, rows, columns, seen_rows, seen_columns)


def _kept_size(network: Module, shape: Shape) -> Pair:
    """A size in whole periods that has room for pictures of `shape`, and that the network keeps."""
    n, c, h, w = shape
    height, width = h + -h % network.period(0), w + -w % network.period(1)
    try:
        kept = network.output_shape((n, c, height, width))
    except ShapeError as error:
        # Layers that shrink a picture, before others enlarge it, may find nothing left of a small one.
        height, width = max(height, _room(network, 0)), max(width, _room(network, 1))
        try:
            kept = network.output_shape((n, c, height, width))
        except ShapeError:  # the size was not to blame
            raise error from None
    if kept != (n, c, height, width):
        raise ShapeError(
            f"the network turns pictures of shape {(c, height, width)} into {kept[1:]}; "
            "a denoiser has to keep channels and size"
        )
    return height, width


def _room(network: Module, axis: int) -> int:
    """A size in whole periods that leaves no layer without work: it holds all that the first output depends on."""
    start, stop = network.input_span(0, 1, axis)
    return stop - start + (start - stop) % network.period(axis)


def _spans(network: Module, size: int, whole: slice, tile: int, axis: int) -> Iterator[tuple[slice, slice]]:
    """The output pixels of each tile along one axis, and the input pixels, of the `whole`, that give them."""
    period, room = network.period(axis), _room(network, axis)
    tile += -tile % period
    end = size + -size % period
    for start in range(0, end, tile):
        stop = min(start + tile, end)
        first, last = network.input_span(start, stop, axis)
        # In whole periods, so that strides fall on the same pixels as in the whole picture.
        first, last = max(whole.start, first // period * period), min(whole.stop, last + -last % period)
        if last - first < room:  # at the border, where little but padding is seen: the layers need more to work at all
            first = max(whole.start, min(first, whole.stop - room))
            last = min(whole.stop, first + room)
        yield slice(start, stop), slice(first, last)
