"""A network on pictures of any size: padded to a size it keeps, and in tiles that all threads share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from n2n_cli.errors import MemoryLimitError, ShapeError
from n2n_cli.machine import available_memory
from n2n_cli.nn import Module
from n2n_cli.nn.functional import Array, Pair, Shape
from n2n_cli.nn.parallel import Member, Team, passes

TILE = 128
"""Side of the output of a tile, in pixels, that is large enough where a network sees little around a pixel: what its
layers make of it stays in a cache."""
MEMORY_A_THREAD = 300_000_000
"""Bytes that a tile may take while it goes through the network."""
_LARGE = 20_000_000  # pixels of a picture that takes as much memory as its tiles
VALUES_A_PASS = 10 * 48 * 32 * 32
"""Values in the largest array of small pictures that go forward together: nothing is kept for a way back, so a cache
has room for more than in training."""


class Tile(NamedTuple):
    """Some images of a batch, the pixels that come out of them, and those that go in."""

    images: slice
    rows: slice
    columns: slice
    seen_rows: slice
    seen_columns: slice


def apply(
    team: Team,
    x: Array,
    *,
    tile: int | None = None,
    memory: int | None = None,
    margin: int = 0,
    before: Callable[[Array], Array] = lambda part: part,
    after: Callable[[Array], Array] = lambda part: part,
    out: Array | None = None,
) -> Array:
    """The network's output for pictures of any size, from 1x1 on.

    Pictures are padded at the bottom and the right, by their mirror image, to a size that the network keeps, and on all
    sides by a margin. A tile sees all the pixels that its outputs depend on: there are no seams, the result is that of
    the whole picture.

    Parameters
    ----------
    team : Team
        Its network keeps the shape of pictures whose sides are multiples of its period, from some size on.
    x : (N, C, H, W) array
    tile : int, optional
        Side of a tile's output, in pixels; rounded up to the network's period. By default as `tile_side` says.
    memory : int, optional
        Bytes that the tiles of all threads may take. By default `MEMORY_A_THREAD` for each, but at most half of what
        the system can give.
    margin : int
        Pixels of the mirror image on each side, at least: the zeros that layers pad with stay away from the picture.
    before, after : function
        What is done to the input and to the output of each tile, so that large pictures need not be converted whole.
    out : (N, C, H, W) array, optional
        Takes what `after` gives. By default of the network's dtype.

    Returns
    -------
    (N, C, H, W) array
        `out`.

    Raises
    ------
    ShapeError
        When the network does not take such pictures, or does not keep their channels and size.
    MemoryLimitError
        When the memory is too little for the smallest tile.
    """
    network = team.network
    n, _, h, w = x.shape
    if out is None:
        out = np.empty(x.shape, np.result_type(x, *(parameter for parameter, _ in network.param())))
    if out.size == 0:
        return out
    channels = before(x[:1, :, :1, :1]).shape[1]

    def one_tile(member: Member, part: Tile) -> None:
        seen = _mirrored(_mirrored(x[part.images], part.seen_rows, axis=2), part.seen_columns, axis=3)
        y = member(before(seen))
        inner = y[:, :, _within(part.rows, part.seen_rows), _within(part.columns, part.seen_columns)]
        target = out[part.images, :, part.rows, part.columns]  # ends where the picture ends
        target[...] = after(inner[:, :, : target.shape[2], : target.shape[3]])

    tiles = _plan(team, (n, channels, h, w), tile, memory, margin)
    if h * w <= _LARGE:
        team.map(one_tile, tiles)
    else:  # memory for tiles of one shape is little use for those of another, or to write the picture
        for _, alike in itertools.groupby(sorted(tiles, key=_seen_shape), key=_seen_shape):
            team.map(one_tile, list(alike))
            team.release()
    return out


def tile_side(network: Module, channels: int, memory: int) -> int:
    """Side of the output of tiles, in pixels: what a tile sees beyond it should be little, and its memory limited.

    Parameters
    ----------
    network : Module
    channels : int
        Of the pictures.
    memory : int
        Bytes that one tile may take while it goes through the network.

    Raises
    ------
    MemoryLimitError
        When that is too little for a tile of one period.
    """
    side = math.lcm(64, network.period(0), network.period(1))
    most = network.most_values((1, channels, side, side)) / side**2  # a pixel
    beyond = max(_room(network, axis) - 1 for axis in (0, 1))
    wanted = max(TILE, _TIMES_BEYOND * beyond)
    affordable = math.isqrt(int(memory / (most * _BYTES_A_VALUE))) - beyond
    period = math.lcm(network.period(0), network.period(1))
    if affordable < period:
        needed = math.ceil((beyond + period) ** 2 * most * _BYTES_A_VALUE / 1e6)
        raise MemoryLimitError(
            f"{memory / 1e6:.0f} MB are too little for a tile of this network",
            needed,
        )
    return min(wanted, affordable // period * period)


_LEAST_MEMORY = 100_000_000
"""Bytes for a tile where nothing was said."""
_TIMES_BEYOND = 6
_BYTES_A_VALUE = 10 * 4
"""The memory in use at a time is that of ten arrays as large as the largest, at most (measured: three to eight)."""


def _plan(team: Team, shape: Shape, tile: int | None, memory: int | None, margin: int) -> list[Tile]:
    """The tiles of pictures of `shape`; those of the last shape are kept, for small pictures take as long to plan."""
    network = team.network
    key = (shape, tile, memory, margin, team.threads)
    last = _plans.get(network)
    if last is None or last[0] != key:
        whole = _whole(network, shape, margin)
        if tile is None:
            if memory is None:
                # Half of what is free at this moment may be too little, and no reason to give up: it changes.
                share = min(MEMORY_A_THREAD, available_memory() // 2 // team.threads)
                tile = tile_side(network, shape[1], max(share, _LEAST_MEMORY))
            else:
                tile = tile_side(network, shape[1], memory // team.threads)
        last = _plans[network] = key, list(_tiles(network, shape, whole, tile))
    return last[1]


_plans: WeakKeyDictionary[Module, tuple[tuple[object, ...], list[Tile]]] = WeakKeyDictionary()


def _whole(network: Module, shape: Shape, margin: int) -> tuple[slice, slice]:
    """The rows and columns that the network sees of pictures of `shape`: 0 is their own first; all in whole periods."""
    n, channels, h, w = shape
    before = [margin + -margin % network.period(axis) for axis in (0, 1)]
    sizes = _kept_size(network, (n, channels, h + 2 * before[0], w + 2 * before[1]))
    rows, columns = (slice(-start, size - start) for start, size in zip(before, sizes, strict=True))
    return rows, columns


def _tiles(network: Module, shape: Shape, whole: tuple[slice, slice], tile: int) -> Iterator[Tile]:
    """The tiles of pictures of `shape`; small pictures are taken several together."""
    n, channels, *sides = shape
    spans = [list(_spans(network, sides[axis], whole[axis], tile, axis)) for axis in (0, 1)]
    seen = (1, channels, *(max(part.stop - part.start for _, part in spans[axis]) for axis in (0, 1)))
    for images in passes(n, VALUES_A_PASS / network.most_values(seen)):
        for rows, seen_rows in spans[0]:
            for columns, seen_columns in spans[1]:
                yield Tile(images, rows, columns, seen_rows, seen_columns)


def _seen_shape(tile: Tile) -> tuple[int, ...]:
    parts = tile.images, tile.seen_rows, tile.seen_columns
    return tuple(part.stop - part.start for part in parts)


def _mirrored(x: Array, span: slice, *, axis: int) -> Array:
    """x[span] along an axis, x going on before its start and behind its end as in a mirror."""
    size = x.shape[axis]
    if span.start >= 0 and span.stop <= size:
        return x[(slice(None),) * axis + (span,)]
    places = np.arange(span.start, span.stop) % (2 * size)
    longer: Array = np.take(x, np.minimum(places, 2 * size - 1 - places), axis=axis)
    return longer


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


def _within(part: slice, whole: slice) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)
