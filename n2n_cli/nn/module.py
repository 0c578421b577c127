"""Parameter and Module, the base of layers and containers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self, TypeVar

import numpy as np

from n2n_cli.errors import CheckpointError, ShapeError, TrainingError, listed
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.geometry import Geometry
from n2n_cli.nn.state import LARGEST_WEIGHT, fit

Kept = TypeVar("Kept")


class Parameter:
    """A trainable array and its gradient, of the same shape and dtype."""

    def __init__(self, data: Array) -> None:
        self.data = data
        self.grad = np.zeros(data.shape, data.dtype)  # unlike `zeros_like`, allocates no pages until it is used


class Differentiable:
    """Storage of the values that a backward pass needs from its forward pass.

    In training mode `forward` stores what `backward` needs, and `backward` removes it, so that no stale values can be
    read; in eval mode nothing is stored.
    """

    def __init__(self) -> None:
        self.training = True
        self._kept: tuple[Any, ...] | None = None

    def keep(self, first: Kept, *others: Any) -> Kept:
        """Store values for `backward` in training mode; return `first`.

        So a layer can store and return its output in one statement.
        """
        if self.training:
            self._kept = (first, *others)
        return first

    def use_up(self) -> tuple[Any, ...]:
        """Return the stored values and remove them.

        Raises
        ------
        RuntimeError
            If there was no `forward` in training mode before.
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
    """Base class of layers and containers: (N, C, H, W) -> (N, C', H', W').

    A subclass defines `forward` and `backward` and, unless it is element-wise, the four methods of its geometry:
    `output_shape`, `step`, `period` and `input_span`.
    """

    def __call__(self, x: Array) -> Array:
        """`forward`, after a check of the shape.

        Raises
        ------
        ShapeError
            If the module does not accept the shape of `x`.
        """
        self.output_shape(x.shape)
        return self.forward(x)

    def forward(self, x: Array) -> Array:
        """Output for a batch `x` of shape (N, C, H, W)."""
        raise NotImplementedError(f"{type(self).__name__} has no `forward`")

    def backward(self, grad_output: Array) -> Array:
        """Gradient with respect to the input of the last `forward`.

        Adds the gradient of every parameter to its `grad`.

        Parameters
        ----------
        grad_output : array
            Gradient of the loss with respect to the output, in the output's shape.
        """
        raise TrainingError(
            f"{type(self).__name__} cannot be trained: it has no `backward`",
            hint="define `backward(self, grad_output)`; it returns the gradient with respect to the input",
        )

    # Parameters

    def children(self) -> Iterator[tuple[str, Module]]:
        """Direct submodules, by name."""
        yield from ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """All parameters, named as in the same `torch.nn` network ("0.weight")."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield prefix + name, value
        for name, child in self.children():
            yield from child.named_parameters(f"{prefix}{name}.")

    def parameters(self) -> list[Parameter]:
        """All parameters, in the order of `named_parameters`."""
        return [parameter for _, parameter in self.named_parameters()]

    def param(self) -> list[tuple[Array, Array]]:
        """(parameter, gradient) of every parameter.

        The arrays themselves, not copies: an optimiser changes them in place.
        """
        return [(parameter.data, parameter.grad) for _, parameter in self.named_parameters()]

    def zero_grad(self) -> None:
        """Set every gradient to zero; `backward` accumulates."""
        for _, grad in self.param():
            grad.fill(0)

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters, by name."""
        return {name: parameter.data.copy() for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Load a `state_dict`; nothing is changed unless every entry fits.

        Raises
        ------
        CheckpointError
            Lists missing, unexpected, misshapen, non-finite and too large entries, up to eight of them.
        """
        own = {name: parameter.data for name, parameter in self.named_parameters()}
        fitting, problems = fit(own, state, largest=LARGEST_WEIGHT)
        if problems:
            raise CheckpointError(f"the weights do not fit the network: {listed(problems)}")
        for name, values in fitting.items():
            own[name][...] = values

    # Modes

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, or to eval mode if `mode` is False.

        Returns the module.
        """
        self.training = mode
        self._kept = None
        for _, child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Switch to eval mode: nothing is stored, `backward` is not possible."""
        return self.train(False)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
