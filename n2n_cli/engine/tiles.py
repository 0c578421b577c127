"""Tiles of images: output pixels, and the input pixels they depend on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from n2n_cli.engine.sizes import micro_batches
from n2n_cli.errors import MemoryLimitError, ShapeError
from n2n_cli.nn.functional import Pair, Shape
from n2n_cli.nn.geometry import Geometry

TILE = 128
"""Side of a tile's output, in pixels, for networks with a small receptive field: layer outputs then fit into the
cache."""
SMALL_SURROUNDINGS = TILE // 6
"""Maximum surroundings, in pixels, both sides together, for which tiles of side `TILE` are used."""


class Tile(NamedTuple):
    """Tile: some images of a batch, with output and input rows and columns.

    `seen_rows` and `seen_columns` are the input pixels.
    """

    images: slice
    rows: slice
    columns: slice
    seen_rows: slice
    seen_columns: slice

    @property
    def seen_shape(self) -> tuple[int, ...]:
        """Numbers of images, input rows and input columns."""
        return tuple(part.stop - part.start for part in (self.images, self.seen_rows, self.seen_columns))


class Plan(NamedTuple):
    """Tiles of a batch of images, and the way to process them.

    Attributes
    ----------
    tiles : list of Tile
    memory : int
        Maximum memory for processing the largest tile, in bytes.
    together : bool
        If True, all threads share one tile at a time, layer by layer (see `bands`); otherwise each has its own.
    """

    tiles: list[Tile]
    memory: int
    together: bool


def tile_sides(
    network: Geometry, shape: Shape, whole: tuple[slice, slice], memory: int, workers: int, bytes_a_pixel: float
) -> Pair:
    """Choose the sides of a tile's output, (rows, columns) in pixels.

    For a network with a small receptive field both are `TILE`, or less if memory is short. Otherwise the cost of a tile
    is its input area, and the sides are those that minimise the cost for the busiest worker.

    Parameters
    ----------
    network : Geometry
    shape : (N, C, H, W)
        Shape of the images.
    whole : (slice, slice)
        Rows and columns of the padded images: see `seen_area`.
    memory : int
        Maximum memory of all tiles that are processed at a time, in bytes.
    workers : int
        Number of tiles that are processed at a time.
    bytes_a_pixel : float
        Memory of a tile per input pixel, in bytes.

    Raises
    ------
    MemoryLimitError
        If there is too little memory for a tile of one period.
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
    """Extra input pixels along an axis for a tile, both sides together."""
    return max(room_of(network, axis) - 1 for axis in (0, 1))


def _cuts(network: Geometry, size: int, whole: slice, square: int, axis: int) -> Iterator[tuple[int, int, int]]:
    """Candidate splits of an axis into equal parts.

    Yields the number of parts, their output size, and the largest input size of any part, in pixels.
    """
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
    """Rows and columns of images of `shape` after padding.

    Coordinates are relative to the image: padding before it is negative. Starts and sizes are multiples of the
    network's period.
    """
    n, channels, h, w = shape
    before = [margin + -margin % network.period(axis) for axis in (0, 1)]
    sizes = kept_size(network, (n, channels, h + 2 * before[0], w + 2 * before[1]))
    rows, columns = (slice(-start, size - start) for start, size in zip(before, sizes, strict=True))
    return rows, columns


def tiles_of(
    network: Geometry, shape: Shape, whole: tuple[slice, slice], sides: Pair, images_at_once: Callable[[Shape], float]
) -> Iterator[Tile]:
    """Tiles of images of `shape`; small images share a tile."""
    n, channels, *sizes = shape
    spans = [list(_spans(network, sizes[axis], whole[axis], sides[axis], axis)) for axis in (0, 1)]
    seen = (1, channels, *(max(part.stop - part.start for _, part in spans[axis]) for axis in (0, 1)))
    for images in micro_batches(n, images_at_once(seen)):
        for rows, seen_rows in spans[0]:
            for columns, seen_columns in spans[1]:
                yield Tile(images, rows, columns, seen_rows, seen_columns)


def kept_size(network: Geometry, shape: Shape) -> Pair:
    """Padded size for images of `shape`, which the network preserves.

    A multiple of the network's period.
    """
    n, c, h, w = shape
    height, width = h + -h % network.period(0), w + -w % network.period(1)
    try:
        kept = network.output_shape((n, c, height, width))
    except ShapeError as error:
        # A network that downsamples before it upsamples may reduce a small image to nothing.
        height, width = max(height, room_of(network, 0)), max(width, room_of(network, 1))
        try:
            kept = network.output_shape((n, c, height, width))
        except ShapeError:  # the size was not the cause
            raise error from None
    if kept != (n, c, height, width):
        raise ShapeError(
            f"the network maps pictures of shape {(c, height, width)} to {kept[1:]}; "
            "a denoiser has to keep channels and size"
        )
    return height, width


def room_of(network: Geometry, axis: int) -> int:
    """Input size that is large enough for every layer, a multiple of the period.

    It contains all pixels that the first output depends on.
    """
    start, stop = network.input_span(0, 1, axis)
    return stop - start + (start - stop) % network.period(axis)


def _spans(network: Geometry, size: int, whole: slice, tile: int, axis: int) -> Iterator[tuple[slice, slice]]:
    """Output pixels of each tile along one axis, and their input pixels.

    Input pixels are within `whole`.
    """
    period, room = network.period(axis), room_of(network, axis)
    tile += -tile % period
    end = size + -size % period
    for start in range(0, end, tile):
        stop = min(start + tile, end)
        first, last = network.input_span(start, stop, axis)
        # Multiples of the period, so that strides fall on the same pixels as in the whole image.
        first, last = max(whole.start, first // period * period), min(whole.stop, last + -last % period)
        if last - first < room:  # at the border, where most of the input is padding: too small for the layers
            first = max(whole.start, min(first, whole.stop - room))
            last = min(whole.stop, first + room)
        yield slice(start, stop), slice(first, last)
