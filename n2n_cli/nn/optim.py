"""How parameters follow their gradients. An optimiser reads like its formula."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from n2n_cli.nn import arguments
from n2n_cli.nn.functional import Array


class Optimizer:
    """Changes parameters in place.

    Parameters
    ----------
    params : iterable of (parameter, gradient)
        As `Module.param()` gives them: pairs of arrays of the same shape.
    lr : float
        Learning rate, above 0. It may be set between steps.
    """

    def __init__(self, params: Iterable[tuple[Array, Array]], lr: float) -> None:
        self.params = list(params)
        self.lr = arguments.positive("lr", lr)

    def step(self) -> None:
        """Change every parameter once, by the gradient that stands beside it."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        for _, grad in self.params:
            grad.fill(0)

    def state_dict(self) -> dict[str, Any]:
        """What a later optimiser needs in order to go on as this one would."""
        return {"lr": self.lr}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.lr = arguments.positive("lr", state["lr"])


class SGD(Optimizer):
    """Stochastic gradient descent: parameter -= lr * gradient."""

    def __init__(self, params: Iterable[tuple[Array, Array]], lr: float = 0.1) -> None:
        super().__init__(params, lr)

    def step(self) -> None:
        for parameter, grad in self.params:
            parameter -= self.lr * grad


OPTIMIZERS: dict[str, type[Optimizer]] = {"SGD": SGD}
