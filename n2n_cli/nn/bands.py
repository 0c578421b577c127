"""A network on a large picture, one layer after the other, each in bands of rows that threads share.

Tiles that go through the whole network see, around what comes out of them, all that it depends on: of a network that
sees far, several times what they give. A band of one layer sees a row or two. What is kept between layers is whole; all
else is as small as a band, and stays in a cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.memory import Pool, using

_VALUES, _LEAST_ROWS = 2**20, 16
"""Values that come out of a band, about, and rows, at least: a row or two more go in on either side."""


class Geometry(Protocol):
    """What a module does to shapes; see `Module`."""

    def output_shape(self, shape: Shape) -> Shape: ...

    def step(self, axis: int) -> Fraction: ...

    def period(self, axis: int) -> int: ...

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]: ...


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
        with using(self._pool):
            return self._pool.empty((n, h, w, c), self._dtype).transpose(0, 3, 1, 2)

    def fill(self, y: Array, task: Callable[[slice], None], period: int = 1) -> Array:
        """Let task(rows) fill y[:, :, rows], (N, C, H, W), band by band, each but the last of whole periods."""
        n, c, h, w = y.shape
        rows = max(_LEAST_ROWS, min(_VALUES // (n * c * w), -(-h // (2 * self._threads))))
        rows += -rows % period

        def one(part: slice) -> None:
            task(part)
            self._advance(n * c * w * (part.stop - part.start))

        self._share(one, [slice(start, min(start + rows, h)) for start in range(0, h, rows)])
        return y

    def of(self, layer: Callable[[Array], Array], geometry: Geometry, x: Array) -> Array:
        """The output of a layer, of which `geometry` knows what it does to shapes."""
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

        return self.fill(y, one, math.ceil(period / step))


class Counting(Bands):
    """Nothing is filled, only counted.

    Attributes
    ----------
    values : int
        That would have been filled.
    """

    def __init__(self) -> None:
        self.values = 0

    def empty(self, shape: Shape) -> Array:
        return np.broadcast_to(np.float32(0), shape)

    def fill(self, y: Array, task: Callable[[slice], None], period: int = 1) -> Array:
        self.values += y.size
        return y
