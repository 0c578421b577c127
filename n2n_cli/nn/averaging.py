"""Exponential moving average of the weights.

Averaged weights denoise better than those of the last step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from n2n_cli.errors import ArgumentError, CheckpointError, listed
from n2n_cli.nn import arguments
from n2n_cli.nn.functional import Array
from n2n_cli.nn.module import Parameter
from n2n_cli.nn.state import fit


class MovingAverage:
    """Exponential moving average of parameters.

    After every step, average = d * average + (1 - d) * parameter. At step t = 0, 1, ... d is
    min(decay, (1 + t) / (10 + t)), so that the initial weights lose their influence quickly.

    Parameters
    ----------
    params : iterable of (name, Parameter)
        As returned by `Module.named_parameters()`. The average starts with their current values.
    decay : float
        At least 0 and below 1; 0.999 averages over about the last thousand steps.

    Attributes
    ----------
    updates : int
        Number of calls of `update`.
    weights : dict of arrays
        Averaged parameters by name: a state dict of the network.

    References
    ----------
    Polyak and Juditsky (1992), "Acceleration of stochastic approximation by averaging"; the smaller decay of the first
    steps follows `tf.train.ExponentialMovingAverage`.
    """

    def __init__(self, params: Iterable[tuple[str, Parameter]], decay: float = 0.999) -> None:
        self.decay = arguments.below_1("decay", decay)
        self.updates = 0
        self._parameters = dict(params)
        self.weights = {name: parameter.data.copy() for name, parameter in self._parameters.items()}
        self._applied = False

    def update(self) -> None:
        """Update the average with the current parameters."""
        if self._applied:
            raise RuntimeError("inside `applied` the parameters hold the average; call `update` outside")
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, parameter in self._parameters.items():
            # Not decay * average + ...: the rounding error of decay would accumulate over the steps.
            change = parameter.data - self.weights[name]
            change *= 1 - decay
            self.weights[name] += change

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Context that sets the parameters to the average and then restores them.

        The values are written in place, so everything that shares the arrays sees the average.
        """
        if self._applied:
            raise RuntimeError("the average is already applied")
        own = {name: parameter.data.copy() for name, parameter in self._parameters.items()}
        self._applied = True
        try:
            self._put(self.weights)
            yield
        finally:
            self._put(own)
            self._applied = False

    def state_dict(self) -> dict[str, Any]:
        """State needed to continue the average: plain values and array copies."""
        return {"updates": self.updates, "weights": {name: values.copy() for name, values in self.weights.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a `state_dict`; nothing is changed unless every entry fits.

        Raises
        ------
        CheckpointError
            Lists missing, unexpected, misshapen and out-of-range entries, up to eight of them.
        """
        problems = [f"`{name}` is missing" for name in ("updates", "weights") if name not in state]
        problems += [f"`{name}` is unexpected" for name in state if name not in ("updates", "weights")]
        updates = self.updates
        try:
            updates = arguments.integer("updates", state.get("updates", updates), 0)
        except ArgumentError as error:
            problems.append(error.message)
        found = state.get("weights", self.weights)
        if not isinstance(found, Mapping):
            problems.append("`weights` is not a table of arrays")
            found = self.weights
        fitting, misfits = fit(
            {f"weights.{name}": values for name, values in self.weights.items()},
            {f"weights.{name}": values for name, values in found.items()},
        )
        if problems or misfits:
            raise CheckpointError(
                f"the averaged weights do not fit the network: {listed(problems + misfits)}",
                hint="resume with the configuration that the training was started with",
            )
        self.updates = updates
        for name, values in self.weights.items():
            values[...] = fitting[f"weights.{name}"]

    def _put(self, values: Mapping[str, Array]) -> None:
        for name, parameter in self._parameters.items():
            parameter.data[...] = values[name]
