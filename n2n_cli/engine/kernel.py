"""Base classes of kernels, the steps of a compiled network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from n2n_cli.engine.bands import Bands
from n2n_cli.engine.sizes import most_values
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.geometry import Geometry
from n2n_cli.nn.module import Differentiable, Module, Parameter


class Kernel(Differentiable):
    """One step of a compiled network, replacing one or several modules.

    A kernel has a forward pass; a `TrainableKernel` also has a backward pass. It uses the parameters of the modules.

    Parameters
    ----------
    geometry : Geometry
        Geometry of the modules that the kernel replaces.

    Attributes
    ----------
    tapes : bool
        True if its passes can be recorded on a tape: see `tape`.
    learns : bool
        True if it has parameters.
    """

    tapes: bool = False
    learns: bool = False

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry

    def forward(self, x: Array) -> Array:
        """Output for a batch `x` of shape (N, C, H, W)."""
        raise NotImplementedError

    def __call__(self, x: Array) -> Array:
        return self.forward(x)

    def in_bands(self, x: Array, bands: Bands) -> Array:
        """Output in eval mode for a large `x`, computed in bands: see `bands`."""
        return bands.of(self, self.geometry, x)

    def children(self) -> Iterator[Kernel]:
        """Direct sub-kernels."""
        return (value for value in vars(self).values() if isinstance(value, Kernel) and value is not self)

    def train(self, mode: bool) -> None:
        """Switch to training or eval mode; discard the stored values."""
        self.training, self._kept = mode, None
        for child in self.children():
            child.train(mode)

    def prepare(self) -> None:
        """Update the matrices derived from the parameters.

        Called before passes, because a taped pass does not do so.
        """
        for child in self.children():
            child.prepare()

    def most_values(self, shape: Shape) -> int:
        """Values per image in the largest array, for batches of `shape`."""
        return most_values(self.geometry, shape)

    def gradient_orders(self) -> Iterator[tuple[Parameter, tuple[int, ...]]]:
        """Memory order of the axes of parameters' gradients, outermost first.

        Gradient buffers use the same order, which makes summing them faster. A parameter that is not listed has the
        order of its own axes.
        """
        for child in self.children():
            yield from child.gradient_orders()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()" if isinstance(self, Geometry) else repr(self.geometry)


class TrainableKernel(Kernel):
    """Kernel with a backward pass.

    In training mode `forward` stores the values that `backward` needs.
    """

    def backward(self, grad_output: Array) -> Array:
        """Gradient with respect to the input of the last `forward`.

        Adds the gradient of every parameter to its `grad`.
        """
        raise NotImplementedError

    def forward_inside(self, x: Any) -> Any:
        """`forward` inside a chain.

        Neighbouring kernels may pass arrays in another layout than (N, C, H, W).
        """
        return self.forward(x)

    def backward_inside(self, grad_output: Any) -> Any:
        """`backward` inside a chain: see `forward_inside`."""
        return self.backward(grad_output)

    def accumulate(self, grad_output: Array) -> None:
        """`backward` without the input gradient, for the first layer of a network."""
        self.backward(grad_output)


class PlainKernel(TrainableKernel):
    """Kernel of a module that has no special kernel: calls the module."""

    def __init__(self, module: Module) -> None:
        super().__init__(module)
        self.module, self.learns = module, bool(module.param())

    def forward(self, x: Array) -> Array:
        return self.module.forward(x)

    def backward(self, grad_output: Array) -> Array:
        return self.module.backward(grad_output)

    def train(self, mode: bool) -> None:
        super().train(mode)
        self.module.train(mode)
