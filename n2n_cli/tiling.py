"""A network on pictures of any size: padded to a size it keeps, and in tiles that all threads share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from n2n_cli.errors import ShapeError
from n2n_cli.nn import Module
from n2n_cli.nn.functional import Array, Pair, Shape
from n2n_cli.nn.parallel import Member, Team, passes

TILE = 128
"""Side of the output of a tile, in pixels: a compromise between what a cache holds and the work that overlaps."""
PIXELS_A_PASS = 10 * 32 * 32
"""Pixels of small pictures that go forward together: nothing is kept for a way back, so a cache has room for more."""


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
    tile: int = TILE,
    before: Callable[[Array], Array] = lambda part: part,
    after: Callable[[Array], Array] = lambda part: part,
    out: Array | None = None,
) -> Array:
    """The network's output for pictures of any size, from 1x1 on.

    Pictures are padded at the bottom and the right, by their mirror image, to a size that the network keeps. A tile
    sees all the pixels that its outputs depend on: there are no seams, the result is that of the whole picture.

    Parameters
    ----------
    team : Team
        Its network keeps the shape of pictures whose sides are multiples of its period, from some size on.
    x : (N, C, H, W) array
    tile : int
        Side of a tile's output, in pixels; rounded up to the network's period.
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

    team.map(one_tile, _plan(network, (n, channels, h, w), tile))
    return out


def _plan(network: Module, shape: Shape, tile: int) -> list[Tile]:
    """The tiles of pictures of `shape`; those of the last shape are kept, for small pictures take as long to plan."""
    last = _plans.get(network)
    if last is None or last[0] != (shape, tile):
        last = _plans[network] = (shape, tile), list(_tiles(network, shape[0], _kept_size(network, shape), tile))
    return last[1]


_plans: WeakKeyDictionary[Module, tuple[tuple[Shape, int], list[Tile]]] = WeakKeyDictionary()


def _tiles(network: Module, n: int, size: Pair, tile: int) -> Iterator[Tile]:
    """The tiles of `n` pictures; small pictures are taken several together."""
    spans = [list(_spans(network, size[axis], tile, axis)) for axis in (0, 1)]
    for images in passes(n, min(size[0], tile) * min(size[1], tile), PIXELS_A_PASS):
        for rows, seen_rows in spans[0]:
            for columns, seen_columns in spans[1]:
                yield Tile(images, rows, columns, seen_rows, seen_columns)


def _mirrored(x: Array, span: slice, *, axis: int) -> Array:
    """x[span] along an axis, x going on behind its end as in a mirror."""
    size = x.shape[axis]
    if span.stop <= size:
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


def _spans(network: Module, size: int, tile: int, axis: int) -> Iterator[tuple[slice, slice]]:
    """The output pixels of each tile along one axis, and the input pixels that give them."""
    period, room = network.period(axis), _room(network, axis)
    tile += -tile % period
    for start in range(0, size, tile):
        stop = min(start + tile, size)
        first, last = network.input_span(start, stop, axis)
        # In whole periods, so that strides fall on the same pixels as in the whole picture.
        first, last = max(0, first // period * period), min(size, last + -last % period)
        if last - first < room:  # at the border, where little but padding is seen: the layers need more to work at all
            first = max(0, min(first, size - room))
            last = min(size, first + room)
        yield slice(start, stop), slice(first, last)


def _within(part: slice, whole: slice) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)
