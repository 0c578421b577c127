"""Parameter and Module: what every layer and every container is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Self

import numpy as np

from n2n_cli.engine.bands import Bands
from n2n_cli.errors import CheckpointError, ShapeError, listed
from n2n_cli.nn.functional import Array, Shape


class Parameter:
    """An array that training changes, and the gradient of the loss with respect to it (same shape and dtype).

    Attributes
    ----------
    order : tuple of int
        The axes in the order that gradients are made in, the outermost first: what adds them up lays them out so.
    derived : dict
        What layers have made of the values, by the kind of layer: see `FusedConv`. Parameters with the same values may
        share it; a copy has none.
    """

    def __init__(self, data: Array) -> None:
        self.data = data
        self.grad = np.zeros(data.shape, data.dtype)  # unlike `zeros_like` it costs nothing until it is used
        self.order = tuple(range(data.ndim))
        self.derived: dict[Any, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "derived": {}}


class Module:
    """A differentiable step of a network: arrays of shape (N, C, H, W) in, arrays of shape (N, C', H', W') out.

    In training mode `forward` keeps what `backward` needs, and `backward` uses it up; in eval mode nothing is kept.
    A subclass gives `forward` and `backward` and, where they differ from the identity, the four methods on shapes:
    `output_shape`, `step`, `period` and `input_span`.
    """

    tapes = False
    """Whether its passes can be put on a tape: see `tape`."""

    def __init__(self) -> None:
        self.training = True
        self._kept: tuple[Any, ...] | None = None

    def forward(self, x: Array) -> Array:
        """The output for a batch `x` of shape (N, C, H, W)."""
        raise NotImplementedError

    def backward(self, grad_output: Array) -> Array:
        """The gradient with respect to the last `forward`'s input; parameters' gradients are added to their `grad`.

        Parameters
        ----------
        grad_output : array
            Gradient of the loss with respect to the output, of the output's shape.
        """
        raise NotImplementedError

    def accumulate(self, grad_output: Array) -> None:
        """What `backward` does, for the first layer of a training: nobody needs the gradient of the pictures."""
        self.backward(grad_output)

    def prepare(self) -> None:
        """Bring up to date what is derived from the parameters, before passes that are run from a tape."""
        for _, child in self.children():
            child.prepare()

    def __call__(self, x: Array) -> Array:
        return self.forward(x)

    def in_bands(self, x: Array, bands: Bands) -> Array:
        """What `forward` gives in eval mode, for a large `x`: see `bands`."""
        return bands.of(self, self, x)

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
        own = dict(self.named_parameters())
        problems = [f"`{name}` is missing" for name in own if name not in state]
        problems += [f"`{name}` is unexpected" for name in state if name not in own]
        fitting: dict[str, Array] = {}
        for name, parameter in own.items():
            if name not in state:
                continue
            if state[name].shape != parameter.data.shape:
                problems.append(f"`{name}` has shape {state[name].shape}, the network needs {parameter.data.shape}")
                continue
            if state[name].dtype.kind not in "fiub":
                problems.append(f"`{name}` holds {state[name].dtype} values, the network needs {parameter.data.dtype}")
                continue
            with np.errstate(over="ignore"):  # what is too large for the parameter's dtype is no longer finite
                fitting[name] = state[name].astype(parameter.data.dtype)
            if not np.isfinite(fitting[name]).all():
                problems.append(f"`{name}` holds values that are not finite")
        if problems:
            raise CheckpointError(f"the weights do not fit the network: {listed(problems)}")
        for name, values in fitting.items():
            own[name].data[...] = values

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

    def _keep(self, *values: Any) -> None:
        if self.training:
            self._kept = values

    def _use_up(self) -> tuple[Any, ...]:
        kept, self._kept = self._kept, None
        if kept is None:
            raise RuntimeError(f"{self}.backward() needs a forward() in training mode before it")
        return kept

    # Shapes. Axis 0 is rows (H), axis 1 is columns (W).

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of `shape` (N, C, H, W).

        Raises
        ------
        ShapeError
            Names this layer, the shape it got and the shape it needs.
        """
        self._check_shape(shape)
        return shape

    def most_values(self, shape: Shape) -> int:
        """Of one picture (`shape` is that of a batch): how many values the largest array that is made of it holds."""
        return math.prod(self.output_shape(shape)[1:])

    def step(self, axis: int) -> Fraction:
        """Input pixels per output pixel along an axis: 2 for a stride of 2, 1/2 for upsampling by 2."""
        return Fraction(1)

    def period(self, axis: int) -> int:
        """The smallest shift of the input, in pixels, that only shifts the output."""
        return 1

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        """First and last-plus-one input row (or column) that the outputs `start` to `stop - 1` depend on.

        It may reach beyond the picture on either side, into the padding.
        """
        return start, stop

    def _check_shape(self, shape: Shape, channels: int | None = None) -> None:
        if len(shape) != 4 or (channels is not None and shape[1] != channels) or 0 in shape[1:]:
            needed = "C" if channels is None else channels
            raise ShapeError(f"{self} got an input of shape {shape}, it needs (N, {needed}, H, W)")

    def _check_gradient(self, shape: Shape, needed: Shape) -> None:
        if shape != needed:
            raise ShapeError(f"{self} got an output gradient of shape {shape}, it needs {needed}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
