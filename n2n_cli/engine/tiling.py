"""A network on pictures of any size: padded to a size it keeps, and in tiles that all threads share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from n2n_cli.engine.executor import Executor
from n2n_cli.engine.replica import Replica
from n2n_cli.engine.tile_plan import LARGE, plan
from n2n_cli.engine.tiles import Tile
from n2n_cli.nn.functional import Array
from n2n_cli.system.memory import give_memory_back
from n2n_cli.system.progress import advance, part_of_work


def apply(
    executor: Executor,
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
    executor : Executor
        Its network keeps the shape of pictures whose sides are multiples of its period, from some size on.
    x : (N, C, H, W) array
    tile : int, optional
        Side of a tile's output, in pixels; rounded up to the network's period. By default as `tile_sides` says.
    memory : int, optional
        Bytes that the tiles of all threads may take. By default `MEMORY_A_THREAD` for each, or `MEMORY_TOGETHER`, less
        beside a large picture, but at most half of what the system can give.
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
    parameters = [parameter.data for parameter in executor.parameters]
    n, _, h, w = x.shape
    if out is None:
        out = np.empty(x.shape, np.result_type(x, *parameters))
    if out.size == 0:
        return out
    first = before(x[:1, :, :1, :1])
    itemsize = np.result_type(first, *parameters).itemsize
    tiles, most, together = plan(executor, (n, first.shape[1], h, w), tile, memory, margin, itemsize)

    def share(part: Tile) -> float:
        return out[part.images, :, part.rows, part.columns].size / out.size

    def one_tile(through: Callable[[Array], Array], part: Tile) -> None:
        y = through(before(_seen(x[part.images], part.seen_rows, part.seen_columns)))
        inner = y[:, :, _within(part.rows, part.seen_rows), _within(part.columns, part.seen_columns)]
        target = out[part.images, :, part.rows, part.columns]  # ends where the picture ends
        target[...] = after(inner[:, :, : target.shape[2], : target.shape[3]])

    def one_alone(replica: Replica, part: Tile) -> None:
        replica.pool.expect(most)
        one_tile(replica, part)
        advance(share(part))

    if together:
        for part in tiles:
            with part_of_work(share(part)):
                one_tile(executor.in_bands, part)
    else:
        executor.map(one_alone, tiles)
    if h * w > LARGE:  # to write the picture takes as much
        executor.release()
        give_memory_back()
    return out


def _seen(x: Array, rows: slice, columns: slice) -> Array:
    """x[:, :, rows, columns], x going on before its start and behind its end as in a mirror."""
    h, w = x.shape[2:]
    if min(rows.start, columns.start) >= 0 and rows.stop <= h and columns.stop <= w:
        return x[:, :, rows, columns]
    places = _mirrored(h, rows), _mirrored(w, columns)
    # `take` copies all of an array that does not lie in its axes' order, so no more than is seen may reach it.
    near = [slice(int(part.min()), int(part.max()) + 1) for part in places]
    seen: Array = x[:, :, near[0], near[1]]
    for axis, part in enumerate(places):
        seen = np.take(seen, part - part.min(), axis=2 + axis)
    return seen


def _mirrored(size: int, span: slice) -> Array:
    """Where along an axis of such a size lies what a mirror at its ends shows at each of the places in the span."""
    places = np.arange(span.start, span.stop) % (2 * size)
    nearest: Array = np.minimum(places, 2 * size - 1 - places)
    return nearest


def _within(part: slice, whole: slice) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)
