"""Base class of the fused convolutions, and their parameter matrices.

Arrays are channels-last internally, memory comes from the thread's pool, the bias is multiplied with a column of ones,
and a ReLU is applied in place to the output of the convolution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from n2n_cli.engine.bands import Bands
from n2n_cli.engine.kernel import TrainableKernel
from n2n_cli.engine.pool import empty
from n2n_cli.engine.tape import do
from n2n_cli.nn.activations import ReLU
from n2n_cli.nn.conv import Conv2d
from n2n_cli.nn.functional import Array, Pair, Shape
from n2n_cli.nn.geometry import Geometry
from n2n_cli.nn.module import Module, Parameter


class Derived:
    """Matrices derived from parameters, and the values they were derived from.

    Shared by the copies of a kernel on all threads.
    """

    def __init__(self) -> None:
        self.matrices: tuple[Array, ...] = ()
        self.made_from: list[Array] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Derived:
        return self


class Shared:
    """Derived matrices of a compiled network, by type of kernel and parameters."""

    def __init__(self) -> None:
        self._derived: dict[tuple[object, ...], Derived] = {}

    def derived(self, kind: tuple[object, ...], parameters: Sequence[Parameter]) -> Derived:
        return self._derived.setdefault((kind, *map(id, parameters)), Derived())


class FusedConv(TrainableKernel):
    """Base class of the convolutions with an optional ReLU.

    Parameters
    ----------
    geometry : Geometry
        Geometry of the modules that the kernel replaces.
    conv : Conv2d
        Holds the parameters.
    relu : ReLU, optional
        Applied in place after the convolution.
    shared : Shared
        Derived matrices, shared by kernels of the same type with the same parameters.

    Attributes
    ----------
    last : Module
        Module whose output is the kernel's output: the ReLU, or the convolution if there is none.
    taps : (rows, columns)
        Size of the kernel that is multiplied with the patches of the input.
    gradient_order : tuple of int
        Memory order of the axes of the weight's gradient, (C_out, C_in, K_h, K_w), outermost first.
    """

    tapes = learns = True
    gradient_order: tuple[int, ...] = (0, 1, 2, 3)

    def __init__(self, geometry: Geometry, conv: Conv2d, relu: ReLU | None, shared: Shared) -> None:
        super().__init__(geometry)
        self.conv = conv
        self.last: Module = relu or conv
        self.has_relu = relu is not None
        self.taps: Pair = conv.kernel_size
        self._derived = shared.derived(self._kind, conv.parameters())

    def gradient_orders(self) -> Iterator[tuple[Parameter, tuple[int, ...]]]:
        yield self.conv.weight, self.gradient_order

    @property
    def _width(self) -> int:
        """Number of columns of the matrix, without the bias."""
        return self.conv.in_channels * self.taps[0] * self.taps[1]

    @property
    def _kind(self) -> tuple[object, ...]:
        """Key that is equal for kernels which derive the same matrices."""
        return (type(self),)

    def _matrices(self) -> tuple[Array, ...]:
        """Derived matrices, up to date with the parameters.

        Always the same arrays, updated in place.
        """
        derived, now = self._derived, [parameter.data for _, parameter in self.conv.named_parameters()]
        if not derived.matrices or derived.matrices[0].dtype != now[0].dtype:
            # Copies, because some are views of the weight: they are overwritten when the weights change.
            made = (np.array(matrix, now[0].dtype, order="C") for matrix in self._make_matrices())
            derived.matrices = tuple(made)
        elif all(map(np.array_equal, derived.made_from, now)):
            return derived.matrices
        else:
            self._update_matrices(derived.matrices)
        derived.made_from = [data.copy() for data in now]
        return derived.matrices

    def _update_matrices(self, matrices: tuple[Array, ...]) -> None:
        """Update the arrays of an earlier `_make_matrices` in place."""
        for matrix, made in zip(matrices, self._make_matrices(), strict=True):
            matrix[...] = made

    def prepare(self) -> None:
        self._matrices()

    def in_bands(self, x: Array, bands: Bands) -> Array:
        return bands.of(self, self.geometry, x, width=self.conv.weight.data[0].size)  # values per patch

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.conv})"

    def _make_matrices(self) -> tuple[Array, ...]:
        raise NotImplementedError

    def _forward_and_backward(self, filters: Array) -> tuple[Array, ...]:
        """Forward and backward matrices from filters of shape (rows, K).

        Forward (K (+ 1), rows), the last row being the bias, repeated to fill it; backward the filters themselves.
        """
        if self.conv.bias is None:
            return filters.T, filters
        bias = np.resize(self.conv.bias.data, (1, len(filters)))
        return np.concatenate([filters.T, bias]), filters

    def _add_gradient(self, parameter: Parameter | None, grad: Array) -> None:
        if parameter is not None:
            do(np.add, parameter.grad, grad, out=parameter.grad)

    def backward(self, grad_output: Array) -> Array:
        """Gradient with respect to the input; adds the parameter gradients."""
        grads, x_shape = self._accumulate(grad_output)
        return self._input_gradient(grads, x_shape)

    def accumulate(self, grad_output: Array) -> None:
        """Add the parameter gradients, without computing the input gradient."""
        self._accumulate(grad_output)

    def _accumulate(self, grad_output: Array) -> tuple[tuple[Array, ...], Shape]:
        """Add the parameter gradients.

        Returns the gradients with respect to the products, and the input shape.
        """
        raise NotImplementedError

    def _input_gradient(self, grads: tuple[Array, ...], x_shape: Shape) -> Array:
        """Input gradient, from the results of `_accumulate`."""
        raise NotImplementedError


def masked(grad: Array, above: Array | None) -> Array:
    """Gradient before a ReLU, in a new array; `grad` itself if `above` is None."""
    if above is None:
        return grad
    passed = empty(grad.shape, grad.dtype)
    do(np.multiply, grad, above, out=passed)
    return passed
