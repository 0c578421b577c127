"""Kernels: the steps of a compiled network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from n2n_cli.engine.bands import Bands
from n2n_cli.engine.sizes import most_values
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.geometry import Geometry
from n2n_cli.nn.module import Differentiable, Module, Parameter


class Kernel(Differentiable):
    """One step of a compiled network, which computes what one or several neighbouring modules compute.

    A kernel by itself predicts; a `TrainableKernel` also has a backward pass. Its parameters are those of the modules.

    Parameters
    ----------
    geometry : Geometry
        The shapes of what it computes.

    Attributes
    ----------
    tapes : bool
        True where its passes can be recorded on a tape: see `tape`.
    learns : bool
        True where it has parameters.
    """

    tapes: bool = False
    learns: bool = False

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry

    def forward(self, x: Array) -> Array:
        """The output for a batch `x` of shape (N, C, H, W)."""
        raise NotImplementedError

    def __call__(self, x: Array) -> Array:
        return self.forward(x)

    def in_bands(self, x: Array, bands: Bands) -> Array:
        """The same in eval mode, for a large `x`: see `bands`."""
        return bands.of(self, self.geometry, x)

    def children(self) -> Iterator[Kernel]:
        """The kernels directly inside this one."""
        return (value for value in vars(self).values() if isinstance(value, Kernel) and value is not self)

    def train(self, mode: bool) -> None:
        """Switch to training mode, or to eval mode; values that were kept are dropped."""
        self.training, self._kept = mode, None
        for child in self.children():
            child.train(mode)

    def prepare(self) -> None:
        """Bring up to date what is derived from the parameters, before passes that are run from a tape."""
        for child in self.children():
            child.prepare()

    def most_values(self, shape: Shape) -> int:
        """Values in the largest array made of one image, for batches of `shape`."""
        return most_values(self.geometry, shape)

    def gradient_orders(self) -> Iterator[tuple[Parameter, tuple[int, ...]]]:
        """The axes of parameters in the order that their gradients are made in, the outermost first.

        What adds gradients up lays them out so. Parameters that are left out have the order of their own axes.
        """
        for child in self.children():
            yield from child.gradient_orders()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()" if isinstance(self, Geometry) else repr(self.geometry)


class TrainableKernel(Kernel):
    """A kernel with a backward pass. In training mode `forward` keeps what that needs."""

    def backward(self, grad_output: Array) -> Array:
        """The gradient with respect to the last `forward`'s input; parameters' gradients are added to their `grad`."""
        raise NotImplementedError

    def forward_inside(self, x: Any) -> Any:
        """`forward` inside a chain, where neighbouring kernels may hand over arrays in a form of their own."""
        return self.forward(x)

    def backward_inside(self, grad_output: Any) -> Any:
        """`backward` inside a chain."""
        return self.backward(grad_output)

    def accumulate(self, grad_output: Array) -> None:
        """`backward` without the input's gradient, for the first layer of a network."""
        self.backward(grad_output)


class PlainKernel(TrainableKernel):
    """A module that the engine has no kernel for: it runs as it is written."""

    def __init__(self, module: Module) -> None:
        super().__init__(module)
        self.module, self.learns = module, bool(module.param())
        self.train(module.training)

    def forward(self, x: Array) -> Array:
        return self.module.forward(x)

    def backward(self, grad_output: Array) -> Array:
        return self.module.backward(grad_output)

    def train(self, mode: bool) -> None:
        super().train(mode)
        self.module.train(mode)
