"""Parameter and Module, the base of layers and containers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self, TypeVar

import numpy as np

from n2n_cli.errors import CheckpointError, ShapeError, TrainingError, listed
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.geometry import Geometry
from n2n_cli.nn.state import fit

Kept = TypeVar("Kept")


class Parameter:
    """An array that training changes, and the gradient of the loss with respect to it (same shape and dtype)."""

    def __init__(self, data: Array) -> None:
        self.data = data
        self.grad = np.zeros(data.shape, data.dtype)  # unlike `zeros_like` it costs nothing until it is used


class Differentiable:
    """Values that a forward pass keeps for its backward pass.

    In training mode `forward` keeps what `backward` needs, and `backward` uses it up, so that nothing stale can be
    read; in eval mode nothing is kept.
    """

    def __init__(self) -> None:
        self.training = True
        self._kept: tuple[Any, ...] | None = None

    def keep(self, first: Kept, *others: Any) -> Kept:
        """Keep values for `backward`, in training mode. Returns `first`, so that a layer can return what it keeps."""
        if self.training:
            self._kept = (first, *others)
        return first

    def use_up(self) -> tuple[Any, ...]:
        """The values that `forward` kept; they can be had once.

        Raises
        ------
        RuntimeError
            When there was no `forward` in training mode before it.
        """
        kept, self._kept = self._kept, None
        if kept is None:
            raise RuntimeError(f"{self}.backward() needs a forward() in training mode before it")
        return kept

    def check_gradient(self, shape: Shape, needed: Shape) -> None:
        """Raise `ShapeError` unless an output gradient has the shape of the output."""
        if shape != needed:
            raise ShapeError(f"{self} got an output gradient of shape {shape}, it needs {needed}")


class Module(Differentiable, Geometry):
    """A differentiable step of a network: arrays of shape (N, C, H, W) in, arrays of shape (N, C', H', W') out.

    A subclass gives `forward` and `backward` and, where they differ from the identity, the four methods on shapes:
    `output_shape`, `step`, `period` and `input_span`.
    """

    def __call__(self, x: Array) -> Array:
        """`forward`, after a check of the shape.

        Raises
        ------
        ShapeError
            When the module does not take arrays of the shape of `x`.
        """
        self.output_shape(x.shape)
        return self.forward(x)

    def forward(self, x: Array) -> Array:
        """The output for a batch `x` of shape (N, C, H, W)."""
        raise NotImplementedError(f"{type(self).__name__} has no `forward`")

    def backward(self, grad_output: Array) -> Array:
        """The gradient with respect to the last `forward`'s input; parameters' gradients are added to their `grad`.

        Parameters
        ----------
        grad_output : array
            Gradient of the loss with respect to the output, of the output's shape.
        """
        raise TrainingError(
            f"{type(self).__name__} cannot be trained: it has no `backward`",
            hint="define `backward(self, grad_output)`; it returns the gradient with respect to the input",
        )

    # Parameters

    def children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside this one, by name."""
        yield from ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """All parameters, named as in the same `torch.nn` network ("0.weight")."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield prefix + name, value
        for name, child in self.children():
            yield from child.named_parameters(f"{prefix}{name}.")

    def param(self) -> list[tuple[Array, Array]]:
        """(parameter, gradient) of every parameter: the arrays themselves, which an optimiser changes in place."""
        return [(parameter.data, parameter.grad) for _, parameter in self.named_parameters()]

    def zero_grad(self) -> None:
        """Set every gradient to zero; `backward` adds to what is there."""
        for _, grad in self.param():
            grad.fill(0)

    def state_dict(self) -> dict[str, Array]:
        """A copy of every parameter, by name."""
        return {name: parameter.data.copy() for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy `state` into the parameters; nothing is changed unless everything fits.

        Raises
        ------
        CheckpointError
            Names missing, unexpected, misshapen and non-finite entries: the first eight, if there are more.
        """
        own = {name: parameter.data for name, parameter in self.named_parameters()}
        fitting, problems = fit(own, state)
        if problems:
            raise CheckpointError(f"the weights do not fit the network: {listed(problems)}")
        for name, values in fitting.items():
            own[name][...] = values

    # Modes

    def train(self, mode: bool = True) -> Self:
        """Keep what `backward` needs from now on (or, with `mode=False`, stop keeping it). Returns the module."""
        self.training = mode
        self._kept = None
        for _, child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """The same as `train(False)`: nothing is kept, `backward` is not possible."""
        return self.train(False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
