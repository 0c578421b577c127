"""Tiles of images: the pixels that come out of each, and the pixels that these depend on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from n2n_cli.engine.sizes import micro_batches
from n2n_cli.errors import MemoryLimitError, ShapeError
from n2n_cli.nn.functional import Pair, Shape
from n2n_cli.nn.geometry import Geometry

TILE = 128
"""Side of the output of a tile, in pixels, that is large enough where a network sees little around a pixel: the
outputs of its layers stay in a cache."""
SMALL_SURROUNDINGS = TILE // 6
"""Pixels that a network may see beyond a tile, both sides together, so that `TILE` is large enough."""


class Tile(NamedTuple):
    """Some images of a batch, the pixels that come out of them, and the pixels that go in."""

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
        Whether all threads work on one tile at a time, layer by layer: see `bands`.
    """

    tiles: list[Tile]
    memory: int
    together: bool


def tile_sides(
    network: Geometry, shape: Shape, whole: tuple[slice, slice], memory: int, workers: int, bytes_a_pixel: float
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
    beyond = surroundings(network)
    period = math.lcm(network.period(0), network.period(1))
    pixels = int(memory // workers / bytes_a_pixel)
    square = math.isqrt(pixels) - beyond
    if square < period:
        needed = math.ceil(workers * (beyond + period) ** 2 * bytes_a_pixel / 1e6)
        raise MemoryLimitError(f"{memory / 1e6:.0f} MB are too little for a tile of this network", needed)
    square = square // period * period
    if beyond <= SMALL_SURROUNDINGS:
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


def surroundings(network: Geometry) -> int:
    """Pixels that a network sees along an axis around one, at most."""
    return max(_room(network, axis) - 1 for axis in (0, 1))


def _cuts(network: Geometry, size: int, whole: slice, square: int, axis: int) -> Iterator[tuple[int, int, int]]:
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


def seen_area(network: Geometry, shape: Shape, margin: int) -> tuple[slice, slice]:
    """The rows and columns that the network sees of pictures of `shape`: 0 is their own first; all in whole periods."""
    n, channels, h, w = shape
    before = [margin + -margin % network.period(axis) for axis in (0, 1)]
    sizes = _kept_size(network, (n, channels, h + 2 * before[0], w + 2 * before[1]))
    rows, columns = (slice(-start, size - start) for start, size in zip(before, sizes, strict=True))
    return rows, columns


def tiles_of(
    network: Geometry, shape: Shape, whole: tuple[slice, slice], sides: Pair, images_at_once: Callable[[Shape], float]
) -> Iterator[Tile]:
    """The tiles of pictures of `shape`; small pictures are taken several together."""
    n, channels, *sizes = shape
    spans = [list(_spans(network, sizes[axis], whole[axis], sides[axis], axis)) for axis in (0, 1)]
    seen = (1, channels, *(max(part.stop - part.start for _, part in spans[axis]) for axis in (0, 1)))
    for images in micro_batches(n, images_at_once(seen)):
        for rows, seen_rows in spans[0]:
            for columns, seen_columns in spans[1]:
                yield Tile(images, rows, columns, seen_rows, seen_columns)


def _kept_size(network: Geometry, shape: Shape) -> Pair:
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


def _room(network: Geometry, axis: int) -> int:
    """A size in whole periods that leaves no layer without work: it holds all that the first output depends on."""
    start, stop = network.input_span(0, 1, axis)
    return stop - start + (start - stop) % network.period(axis)


def _spans(network: Geometry, size: int, whole: slice, tile: int, axis: int) -> Iterator[tuple[slice, slice]]:
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
