"""Fused convolutions: their common base, and matrices made of the parameters.

Arrays are channels-last inside, memory comes from the thread's pool, a bias is a product with a column of ones, and a
ReLU is computed in place where its input was just made.
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
    """Matrices, and the values of the parameters that they were made from. The threads' copies of a kernel share it."""

    def __init__(self) -> None:
        self.matrices: tuple[Array, ...] = ()
        self.made_from: list[Array] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Derived:
        return self


class Shared:
    """The derived matrices of a network that is compiled, by the kind of kernel and its parameters."""

    def __init__(self) -> None:
        self._derived: dict[tuple[object, ...], Derived] = {}

    def derived(self, kind: tuple[object, ...], parameters: Sequence[Parameter]) -> Derived:
        return self._derived.setdefault((kind, *map(id, parameters)), Derived())


class FusedConv(TrainableKernel):
    """Base of the fast convolutions: the parameters as matrices, an optional ReLU, gradients of the parameters.

    Parameters
    ----------
    geometry : Geometry
        Shapes of the modules that it computes.
    conv : Conv2d
        Holds the parameters.
    relu : ReLU, optional
        Computed in place behind the convolution.
    shared : Shared
        Matrices of the parameters, which kernels of the same kind and parameters share.

    Attributes
    ----------
    last : Module
        The module whose output is the kernel's: the ReLU, or the convolution where there is none.
    taps : (rows, columns)
        Size of the kernel that the input's patches are multiplied with.
    gradient_order : tuple of int
        Axes of the weight, (C_out, C_in, K_h, K_w), in the order that its gradient lies in.
    """

    tapes = learns = True
    gradient_order: tuple[int, ...] = (0, 1, 2, 3)

    def __init__(self, geometry: Geometry, conv: Conv2d, relu: ReLU | None, shared: Shared) -> None:
        super().__init__(geometry)
        self.conv = conv
        self.last: Module = relu or conv
        self.has_relu = relu is not None
        self.taps: Pair = conv.kernel_size
        self._derived = shared.derived(self._kind, [parameter for _, parameter in conv.named_parameters()])

    def gradient_orders(self) -> Iterator[tuple[Parameter, tuple[int, ...]]]:
        yield self.conv.weight, self.gradient_order

    @property
    def _width(self) -> int:
        """Columns of the matrix without the bias."""
        return self.conv.in_channels * self.taps[0] * self.taps[1]

    @property
    def _kind(self) -> tuple[object, ...]:
        """Equal for kernels that make the same matrices of the same parameters."""
        return (type(self),)

    def _matrices(self) -> tuple[Array, ...]:
        """The parameters as the products need them: always the same arrays, whose values follow theirs."""
        derived, now = self._derived, [parameter.data for _, parameter in self.conv.named_parameters()]
        if not derived.matrices or derived.matrices[0].dtype != now[0].dtype:
            # Copies, though some are only views of the weight: they are written to when the weights change.
            made = (np.array(matrix, now[0].dtype, order="C") for matrix in self._make_matrices())
            derived.matrices = tuple(made)
        elif all(map(np.array_equal, derived.made_from, now)):
            return derived.matrices
        else:
            self._make_again(derived.matrices)
        derived.made_from = [data.copy() for data in now]
        return derived.matrices

    def _make_again(self, matrices: tuple[Array, ...]) -> None:
        """Write what `_make_matrices` gives to the arrays that it gave before."""
        for matrix, made in zip(matrices, self._make_matrices(), strict=True):
            matrix[...] = made

    def prepare(self) -> None:
        self._matrices()

    def in_bands(self, x: Array, bands: Bands) -> Array:
        return bands.of(self, self.geometry, x, width=self.conv.weight.data[0].size)  # values of a patch

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.conv})"

    def _make_matrices(self) -> tuple[Array, ...]:
        raise NotImplementedError

    def _there_and_back(self, filters: Array) -> tuple[Array, ...]:
        """From (rows, K): (K (+ 1), rows), the bias, repeated as often as it takes, below it; and `filters`."""
        if self.conv.bias is None:
            return filters.T, filters
        bias = np.resize(self.conv.bias.data, (1, len(filters)))
        return np.concatenate([filters.T, bias]), filters

    def _add_gradient(self, parameter: Parameter | None, grad: Array) -> None:
        if parameter is not None:
            do(np.add, parameter.grad, grad, out=parameter.grad)

    def backward(self, grad_output: Array) -> Array:
        """Gradient with respect to the input; the convolution's own is added to its `grad`."""
        grads, x_shape = self._accumulate(grad_output)
        return self._input_gradient(grads, x_shape)

    def accumulate(self, grad_output: Array) -> None:
        """What `backward` does, but for the input's gradient."""
        self._accumulate(grad_output)

    def _accumulate(self, grad_output: Array) -> tuple[tuple[Array, ...], Shape]:
        """Add the parameters' gradients; gives the gradients of the products, and the input's shape."""
        raise NotImplementedError

    def _input_gradient(self, grads: tuple[Array, ...], x_shape: Shape) -> Array:
        """The input's gradient, from what `_accumulate` gave."""
        raise NotImplementedError


def masked(grad: Array, above: Array | None) -> Array:
    """The gradient before a ReLU, in a new array; `grad` itself where there was none."""
    if above is None:
        return grad
    passed = empty(grad.shape, grad.dtype)
    do(np.multiply, grad, above, out=passed)
    return passed
