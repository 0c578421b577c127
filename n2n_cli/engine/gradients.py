"""The gradients of all parameters in one array, which is faster to clear, to copy and to add up."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from n2n_cli.engine.kernel import Kernel
from n2n_cli.nn.functional import Array
from n2n_cli.nn.module import Parameter


class GradientLayout:
    """Where the gradient of each parameter lies in one array: one behind the other, in the order of their axes.

    Parameters
    ----------
    parameters : sequence of Parameter
    kernel : Kernel
        Says in which order of its axes each gradient is made.
    """

    def __init__(self, parameters: Sequence[Parameter], kernel: Kernel) -> None:
        orders = {id(parameter): order for parameter, order in kernel.gradient_orders()}
        own = [orders.get(id(parameter), tuple(range(parameter.data.ndim))) for parameter in parameters]
        self._axes = [(order, np.argsort(order).tolist()) for order in own]
        self._shapes = [parameter.data.shape for parameter in parameters]
        self._ends = [0, *itertools.accumulate(parameter.data.size for parameter in parameters)]
        self._dtype = np.result_type(np.float32, *(parameter.grad for parameter in parameters))

    def zeros(self) -> Array:
        """The array, all zeros."""
        return np.zeros(self._ends[-1], self._dtype)

    def split(self, flat: Array) -> list[Array]:
        """The part of each parameter, as a view of the parameter's shape."""
        parts = zip(self._axes, self._shapes, itertools.pairwise(self._ends), strict=True)
        return [
            flat[start:stop].reshape([shape[axis] for axis in order]).transpose(back)
            for (order, back), shape, (start, stop) in parts
        ]
