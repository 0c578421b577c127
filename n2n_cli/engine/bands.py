"""A network on a large picture, one layer after the other, each in bands of rows that threads share.

Tiles that go through the whole network see, around what comes out of them, all that it depends on: of a network that
sees far, several times what they give. A band of one layer sees a row or two. What is kept between layers is whole; all
else is as small as a band, and stays in a cache.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.engine.pool import Pool
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.geometry import Geometry

VALUES, LEAST_ROWS = 2**20, 16
"""Values that are made for a band, about, and rows, at least: a row or two more go in on either side."""
_TIMES = 3
"""A band takes the memory of so many such arrays, at most."""


class Bands:
    """How layers make their outputs.

    Parameters
    ----------
    share : function
        share(task, items) does task(item) for every item, on all threads, each with a pool of its own.
    pool : Pool
        Where the outputs lie.
    threads : int
        That share.
    dtype : dtype
        Of all outputs.
    advance : function
        Told, by any thread, how many values were filled.
    """

    def __init__(
        self,
        share: Callable[[Callable[[slice], None], Sequence[slice]], object],
        pool: Pool,
        threads: int,
        dtype: DTypeLike,
        advance: Callable[[int], None],
    ) -> None:
        self._share, self._pool, self._threads, self._dtype, self._advance = share, pool, threads, dtype, advance

    def empty(self, shape: Shape) -> Array:
        """An array (N, C, H, W) for an output, channels-last in memory."""
        n, c, h, w = shape
        return self._pool.empty((n, h, w, c), self._dtype).transpose(0, 3, 1, 2)

    def fill(
        self,
        y: Array,
        task: Callable[[slice], None],
        *,
        period: int = 1,
        width: int = 0,
        halo: int = 0,
        beside: int = 0,
    ) -> Array:
        """Let task(rows) fill y[:, :, rows], (N, C, H, W), band by band, each but the last of whole periods.

        Parameters
        ----------
        width : int
            Values that the task makes for a pixel of y, where they are more than C.
        halo : int
            Rows that it makes and that are not wanted.
        beside : int
            Values that it makes for a band of any height.
        """
        n, c, h, w = y.shape
        by_row, fair = n * w * max(c, width), -(-h // (2 * self._threads))
        rows = max(min(LEAST_ROWS + 2 * halo, fair), min(VALUES // max(1, by_row), fair), 1)
        rows += -rows % period
        self._fill(y, task, rows, _TIMES * min(h, rows + halo) * by_row + beside)
        return y

    def _fill(self, y: Array, task: Callable[[slice], None], rows: int, values: int) -> None:
        """Fill y in bands of so many rows, each of which takes the memory of so many values."""
        n, c, h, w = y.shape

        def one(part: slice) -> None:
            task(part)
            self._advance(n * c * w * (part.stop - part.start))

        self._share(one, [slice(start, min(start + rows, h)) for start in range(0, h, rows)])

    def of(self, layer: Callable[[Array], Array], geometry: Geometry, x: Array, *, width: int = 0) -> Array:
        """The output of a layer, of which `geometry` knows what it does to shapes; `width` is as in `fill`."""
        y, h = self.empty(geometry.output_shape(x.shape)), x.shape[2]
        period, step = geometry.period(0), geometry.step(0)
        start, stop = geometry.input_span(0, 1, 0)
        room = stop - start  # what the layer needs to work at all, also where it sees little but padding

        def one(rows: slice) -> None:
            first, last = geometry.input_span(rows.start, rows.stop, 0)
            # In whole periods, so that strides fall on the same rows as in the whole picture.
            first = max(0, min(first, h - room) // period * period)
            last = min(h, max(last + -last % period, first + room))
            part = layer(x[:, :, first:last])
            before = rows.start - int(first / step)
            np.copyto(y[:, :, rows], part[:, :, before : before + rows.stop - rows.start])

        return self.fill(
            y,
            one,
            period=math.ceil(period / step),
            width=max(width, math.ceil(x.shape[1] * step**2)),
            halo=math.ceil((room + period) / step),
        )


class Counting(Bands):
    """Nothing is filled, but what it would take is counted.

    Parameters
    ----------
    threads : int
    itemsize : int
        Bytes of a value.

    Attributes
    ----------
    values : int
        That would have been filled.
    memory : int
        Bytes that would have been in use at a time, at most.
    """

    def __init__(self, threads: int = 1, itemsize: int = 4) -> None:
        super().__init__(lambda task, rows: None, Pool(), threads, np.uint8, lambda values: None)
        self._itemsize = itemsize
        self.values = self.memory = self._live = 0

    def empty(self, shape: Shape) -> Array:
        size = math.prod(shape) * self._itemsize
        base = np.zeros(1, np.uint8)  # which all views of the array keep
        self._live += size
        weakref.finalize(base, self._gone, size).atexit = False
        return np.ndarray(shape, np.uint8, base, 0, (0,) * len(shape))

    def _gone(self, size: int) -> None:
        self._live -= size

    def _fill(self, y: Array, task: Callable[[slice], None], rows: int, values: int) -> None:
        self.values += y.size
        self.memory = max(self.memory, self._live + self._threads * values * self._itemsize)
