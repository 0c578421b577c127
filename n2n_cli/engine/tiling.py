"""Tiled inference on images of any size, on several threads."""

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
    """Apply a network to images of any size, from 1x1 on.

    Images are padded by reflection: at the bottom and the right to a size that the network preserves, and on all sides
    by a margin. The input of a tile contains all pixels that its output depends on, so there are no seams: the result
    is that of the whole image.

    Parameters
    ----------
    executor : Executor
        Its network has to preserve the shape of sufficiently large images whose sides are multiples of its period.
    x : (N, C, H, W) array
    tile : int, optional
        Side of a tile's output, in pixels; rounded up to the network's period. By default chosen by `tile_sides`.
    memory : int, optional
        Maximum memory for the tiles of all threads, in bytes. By default `MEMORY_A_THREAD` for each thread or
        `MEMORY_TOGETHER`, less for a large image, but at most half of the available memory.
    margin : int
        Minimum reflection padding on each side, in pixels, which keeps the zero padding of layers away from the image.
    before, after : function
        Applied to the input and the output of each tile, so that large images need not be converted as a whole.
    out : (N, C, H, W) array, optional
        Receives the results of `after`. By default a new array of the network's dtype.

    Returns
    -------
    (N, C, H, W) array
        `out`.

    Raises
    ------
    ShapeError
        If the network does not accept such images, or does not preserve their channels and size.
    MemoryLimitError
        If there is too little memory for the smallest tile.
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
        target = out[part.images, :, part.rows, part.columns]  # the last tiles end where the image ends
        target[...] = after(inner[:, :, : target.shape[2], : target.shape[3]])

    def one_alone(replica: Replica, part: Tile) -> None:
        replica.pool.expect(most)
        one_tile(replica, part)
        advance(share(part))

    with executor.lock:
        if together:
            for part in tiles:
                with part_of_work(share(part)):
                    one_tile(executor.in_bands, part)
        else:
            executor.map(one_alone, tiles)
        if h * w > LARGE:  # writing the image takes as much memory
            executor.release()
    if h * w > LARGE:
        give_memory_back()
    return out


def _seen(x: Array, rows: slice, columns: slice) -> Array:
    """x[:, :, rows, columns], with x extended by reflection at its edges."""
    h, w = x.shape[2:]
    if min(rows.start, columns.start) >= 0 and rows.stop <= h and columns.stop <= w:
        return x[:, :, rows, columns]
    places = _mirrored(h, rows), _mirrored(w, columns)
    # `take` first copies an array that is not C-contiguous, so pass it only the pixels that are needed.
    near = [slice(int(part.min()), int(part.max()) + 1) for part in places]
    seen: Array = x[:, :, near[0], near[1]]
    for axis, part in enumerate(places):
        seen = np.take(seen, part - part.min(), axis=2 + axis)
    return seen


def _mirrored(size: int, span: slice) -> Array:
    """Indices along an axis of `size` pixels for a span, reflected at both ends."""
    places = np.arange(span.start, span.stop) % (2 * size)
    nearest: Array = np.minimum(places, 2 * size - 1 - places)
    return nearest


def _within(part: slice, whole: slice) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)
