"""Gradients of all parameters in one flat array.

One array is faster to clear, copy and sum than many.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from n2n_cli.engine.kernel import Kernel
from n2n_cli.nn.functional import Array
from n2n_cli.nn.module import Parameter


class GradientLayout:
    """Layout of the gradients of all parameters in one flat array.

    Parameters
    ----------
    parameters : sequence of Parameter
        In the order of their gradients in the array.
    kernel : Kernel
        Defines the memory order of the axes of each gradient.
    """

    def __init__(self, parameters: Sequence[Parameter], kernel: Kernel) -> None:
        orders = {id(parameter): order for parameter, order in kernel.gradient_orders()}
        own = [orders.get(id(parameter), tuple(range(parameter.data.ndim))) for parameter in parameters]
        self._axes = [(order, np.argsort(order).tolist()) for order in own]
        self._shapes = [parameter.data.shape for parameter in parameters]
        self._ends = [0, *itertools.accumulate(parameter.data.size for parameter in parameters)]
        self._dtype = np.result_type(np.float32, *(parameter.grad for parameter in parameters))

    def zeros(self) -> Array:
        """New flat array of zeros."""
        return np.zeros(self._ends[-1], self._dtype)

    def split(self, flat: Array) -> list[Array]:
        """Views of the flat array, one per parameter, in the parameter's shape."""
        parts = zip(self._axes, self._shapes, itertools.pairwise(self._ends), strict=True)
        return [
            flat[start:stop].reshape([shape[axis] for axis in order]).transpose(back)
            for (order, back), shape, (start, stop) in parts
        ]
