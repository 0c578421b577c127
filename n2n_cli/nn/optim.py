"""Optimisers.

Formulas, argument order and defaults are PyTorch's. Parameters are updated in place, one array at a time: copying them
to one flat array and back takes longer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from n2n_cli.errors import ArgumentError, DivergenceError
from n2n_cli.nn import arguments
from n2n_cli.nn.adam import Adam, AdamW
from n2n_cli.nn.functional import Array
from n2n_cli.nn.muon import Muon
from n2n_cli.nn.optimizer import Optimizer

__all__ = ["OPTIMIZERS", "SGD", "Adam", "AdamW", "Muon", "clip_gradient_norm"]


class SGD(Optimizer):
    """Stochastic gradient descent: parameter -= lr * gradient.

    With momentum, a buffer starts as the first gradient and is updated by
    buffer = momentum * buffer + (1 - dampening) * gradient; then parameter -= lr * buffer or, with `nesterov`,
    parameter -= lr * (gradient + momentum * buffer).

    Parameters
    ----------
    momentum : float
        At least 0 and below 1.
    weight_decay : float
        At least 0. weight_decay * parameter is added to the gradient.
    nesterov : bool
        Use Nesterov momentum; requires a momentum and no dampening.
    dampening : float
        At least 0 and below 1.

    References
    ----------
    Sutskever et al. (2013), "On the importance of initialization and momentum in deep learning"; `torch.optim.SGD`.
    """

    def __init__(
        self,
        params: Iterable[tuple[Array, Array]],
        lr: float = 0.1,
        momentum: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        dampening: float = 0,
    ) -> None:
        self.momentum = arguments.below_1("momentum", momentum)
        self.dampening = arguments.below_1("dampening", dampening)
        self.nesterov = arguments.flag("nesterov", nesterov)
        if self.nesterov and (not self.momentum or self.dampening):
            raise ArgumentError("nesterov", nesterov, "false without momentum or with dampening")
        super().__init__(params, lr, weight_decay, keeps=("momentum_buffer",) if self.momentum else ())

    def step(self) -> None:
        self.steps += 1
        buffers = self.kept.get("momentum_buffer", self._change)
        for (parameter, grad), buffer, spare, change in zip(
            self.params, buffers, self._spare, self._change, strict=True
        ):
            grad = self._decayed(parameter, grad, spare)
            if self.momentum:
                if self.steps == 1:
                    buffer[...] = grad
                else:
                    buffer *= self.momentum
                    buffer += np.multiply(grad, 1 - self.dampening, out=change)
                if self.nesterov:
                    np.multiply(buffer, self.momentum, out=change)
                    change += grad
                    grad = change
                else:
                    grad = buffer
            parameter -= np.multiply(grad, float(self.lr), out=change)


OPTIMIZERS: dict[str, type[Optimizer]] = {"SGD": SGD, "Adam": Adam, "AdamW": AdamW, "Muon": Muon}


def clip_gradient_norm(params: Iterable[tuple[Array, Array]], max_norm: float) -> float:
    """Scale all gradients in place if their total norm exceeds `max_norm`.

    The factor is max_norm / (norm + 1e-6), as in `torch.nn.utils.clip_grad_norm_`.

    Parameters
    ----------
    params : iterable of (parameter, gradient)
        As returned by `Module.param()`.
    max_norm : float
        Above 0.

    Returns
    -------
    float
        Total 2-norm of the gradients before clipping.

    Raises
    ------
    DivergenceError
        If the norm is not finite; the gradients are then unchanged.
    """
    max_norm = arguments.positive("max_norm", max_norm)
    grads = [grad for _, grad in params]
    # In float64, where the square of a float32 is finite; without BLAS, whose sums depend on its number of threads.
    with np.errstate(over="ignore"):
        norm = math.sqrt(sum(float(np.square(grad, dtype=np.float64).sum()) for grad in grads))
    if not math.isfinite(norm):
        raise DivergenceError(f"the norm of the gradients is {norm}", hint="try a smaller learning rate")
    factor = max_norm / (norm + 1e-6)
    if factor < 1:
        for grad in grads:
            grad *= factor
    return norm
