"""Layer-by-layer execution on a large image, in bands of rows.

The threads share the bands of each layer. A tile that passes through the whole network needs the receptive field around
its output as input; for a network with a large receptive field that is several times the size of the output. A band of
a single layer needs only a row or two more. Only the outputs of layers are stored for the whole image; all temporaries
have the size of a band and stay in the cache.
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
"""Approximate number of values per band, and minimum number of rows, which keeps the share of halo rows small."""
_ARRAYS = 3
"""Maximum memory of a band, in arrays of the band's size."""


class Bands:
    """Computes the outputs of layers band by band, on several threads.

    Parameters
    ----------
    share : function
        share(task, items) calls task(item) for every item, on all threads, each with its own pool.
    pool : Pool
        Memory of the outputs.
    threads : int
        Number of threads.
    dtype : dtype
        Dtype of all outputs.
    advance : function
        Progress callback: receives the number of values filled; called from any thread.
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
        """Uninitialised output array (N, C, H, W), channels-last in memory."""
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
        extra: int = 0,
    ) -> Array:
        """Fill y, (N, C, H, W), band by band; return y.

        Parameters
        ----------
        y : (N, C, H, W) array
        task : function
            task(rows) fills y[:, :, rows].
        period : int
            The height of every band but the last is a multiple of this.
        width : int
            Values that the task computes per pixel of y, if more than C.
        halo : int
            Extra rows that the task computes for a band.
        extra : int
            Additional values that the task needs, whatever the band's height.
        """
        n, c, h, w = y.shape
        by_row, fair = n * w * max(c, width), -(-h // (2 * self._threads))
        rows = max(min(LEAST_ROWS + 2 * halo, fair), min(VALUES // max(1, by_row), fair), 1)
        rows += -rows % period
        self._fill(y, task, rows, _ARRAYS * min(h, rows + halo) * by_row + extra)
        return y

    def _fill(self, y: Array, task: Callable[[slice], None], rows: int, values: int) -> None:
        """Fill y in bands of `rows` rows, each with memory for `values` values."""
        n, c, h, w = y.shape

        def one(part: slice) -> None:
            task(part)
            self._advance(n * c * w * (part.stop - part.start))

        self._share(one, [slice(start, min(start + rows, h)) for start in range(0, h, rows)])

    def of(self, layer: Callable[[Array], Array], geometry: Geometry, x: Array, *, width: int = 0) -> Array:
        """Output of a layer for x.

        Parameters
        ----------
        layer : function
        geometry : Geometry
            Geometry of the layer.
        x : (N, C, H, W) array
        width : int
            As in `fill`.
        """
        y, h = self.empty(geometry.output_shape(x.shape)), x.shape[2]
        period, step = geometry.period(0), geometry.step(0)
        start, stop = geometry.input_span(0, 1, 0)
        room = stop - start  # minimum input height of the layer, also where it covers mostly padding

        def one(rows: slice) -> None:
            first, last = geometry.input_span(rows.start, rows.stop, 0)
            # Multiples of the period, so that strides fall on the same rows as in the whole image.
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
    """Dry run that fills nothing and measures work and peak memory.

    Parameters
    ----------
    threads : int
    itemsize : int
        Bytes per value.

    Attributes
    ----------
    values : int
        Number of values that would have been filled.
    memory : int
        Peak memory, in bytes.
    """

    def __init__(self, threads: int = 1, itemsize: int = 4) -> None:
        super().__init__(lambda task, rows: None, Pool(), threads, np.uint8, lambda values: None)
        self._itemsize = itemsize
        self.values = self.memory = self._live = 0

    def empty(self, shape: Shape) -> Array:
        size = math.prod(shape) * self._itemsize
        base = np.zeros(1, np.uint8)  # all views of the array keep a reference to it
        self._live += size
        weakref.finalize(base, self._gone, size).atexit = False
        return np.ndarray(shape, np.uint8, base, 0, (0,) * len(shape))

    def _gone(self, size: int) -> None:
        self._live -= size

    def _fill(self, y: Array, task: Callable[[slice], None], rows: int, values: int) -> None:
        self.values += y.size
        self.memory = max(self.memory, self._live + self._threads * values * self._itemsize)
