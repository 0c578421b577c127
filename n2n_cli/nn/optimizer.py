"""Base class of the optimisers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from n2n_cli.errors import ArgumentError, CheckpointError, listed
from n2n_cli.nn import arguments
from n2n_cli.nn.functional import Array
from n2n_cli.nn.state import fit

AT_LEAST_0 = "a finite number of at least 0"


class Optimizer:
    """Base class: parameters that are updated in place, and the optimiser state.

    Parameters
    ----------
    params : iterable of (parameter, gradient)
        As returned by `Module.param()`: pairs of arrays of the same shape.
    lr : float
        Learning rate, above 0. It may be changed between steps, also to 0.
    weight_decay : float
        At least 0. weight_decay * parameter is added to the gradient.
    keeps : sequence of str
        Names of the state arrays. Each holds one array per parameter, of the parameter's shape, initially zero.

    Attributes
    ----------
    steps : int
        Number of steps taken, including those of a loaded state.
    kept : dict of lists of arrays
        State arrays by name, one array per parameter.
    """

    def __init__(
        self, params: Iterable[tuple[Array, Array]], lr: float, weight_decay: float = 0, *, keeps: Sequence[str] = ()
    ) -> None:
        self.params = list(params)
        self.lr = arguments.positive("lr", lr)
        self.weight_decay = arguments.number("weight_decay", weight_decay, AT_LEAST_0, lambda value: value >= 0)
        self.steps = 0
        self.kept = {name: [np.zeros_like(parameter) for parameter, _ in self.params] for name in keeps}
        self._spare, self._change = self._scratch(), self._scratch()

    def step(self) -> None:
        """Update every parameter once by its gradient; gradients are unchanged."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        for _, grad in self.params:
            grad.fill(0)

    def state_dict(self) -> dict[str, Any]:
        """State needed to continue training: plain values and array copies."""
        state: dict[str, Any] = {"lr": float(self.lr)}
        if self.kept:
            state["steps"] = self.steps
        return state | {name: [array.copy() for array in arrays] for name, arrays in self.kept.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a `state_dict`; nothing is changed unless every entry fits.

        Raises
        ------
        CheckpointError
            Lists missing, unexpected, misshapen and out-of-range entries, up to eight of them.
        """
        known = ["lr", "steps", *self.kept] if self.kept else ["lr"]
        problems = [f"`{name}` is missing" for name in known if name not in state]
        problems += [f"`{name}` is unexpected" for name in state if name not in known]
        lr, steps = self.lr, self.steps
        try:
            # A schedule may end with a learning rate of 0.
            lr = arguments.number("lr", state.get("lr", lr), AT_LEAST_0, lambda value: value >= 0)
        except ArgumentError as error:
            problems.append(error.message)
        try:
            steps = arguments.integer("steps", state.get("steps", steps), 0)
        except ArgumentError as error:
            problems.append(error.message)
        own: dict[str, Array] = {}
        found: dict[str, Any] = {}
        for name, arrays in self.kept.items():
            values = state.get(name, arrays)
            if not isinstance(values, list) or len(values) != len(arrays):
                problems.append(f"`{name}` is not a list of {len(arrays)} arrays, one per parameter")
                continue
            own |= {f"{name}[{i}]": array for i, array in enumerate(arrays)}
            found |= {f"{name}[{i}]": array for i, array in enumerate(values)}
        fitting, misfits = fit(own, found)
        if problems or misfits:
            raise CheckpointError(
                f"the optimiser's state does not fit {type(self).__name__}: {listed(problems + misfits)}",
                hint="resume with the configuration that the training was started with",
            )
        self.lr, self.steps = lr, steps
        for name, array in own.items():
            array[...] = fitting[name]

    def _decayed(self, parameter: Array, grad: Array, spare: Array) -> Array:
        """Gradient with weight decay: grad + weight_decay * parameter."""
        if not self.weight_decay:
            return grad
        np.multiply(parameter, self.weight_decay, out=spare)
        spare += grad
        return spare

    def _scratch(self) -> list[Array]:
        """Scratch arrays in the shapes of the parameters.

        All share the same memory, which therefore stays in the processor's cache.
        """
        memory = np.empty(max((parameter.nbytes for parameter, _ in self.params), default=0), np.uint8)
        return [np.ndarray(parameter.shape, parameter.dtype, memory) for parameter, _ in self.params]
