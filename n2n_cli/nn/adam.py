"""Adam and AdamW optimisers."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from n2n_cli.errors import ArgumentError
from n2n_cli.nn import arguments
from n2n_cli.nn.functional import Array
from n2n_cli.nn.optimizer import Optimizer


class Adam(Optimizer):
    """Adam: the mean gradient divided by the root of the mean squared gradient.

    At step t = 1, 2, ...: m = beta1 * m + (1 - beta1) * gradient; v = beta2 * v + (1 - beta2) * gradient^2;
    parameter -= lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps).

    Parameters
    ----------
    betas : (float, float)
        Decay rates of m and v, each at least 0 and below 1.
    eps : float
        Above 0. Bounds the step where gradients vanish.
    weight_decay : float
        At least 0. weight_decay * parameter is added to the gradient.

    References
    ----------
    Kingma and Ba (2015), arXiv:1412.6980, algorithm 1; `torch.optim.Adam`.
    """

    def __init__(
        self,
        params: Iterable[tuple[Array, Array]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
    ) -> None:
        super().__init__(params, lr, weight_decay, keeps=("exp_avg", "exp_avg_sq"))
        two = "two numbers, each a number of at least 0 and below 1"
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise ArgumentError("betas", betas, two)
        try:
            beta1, beta2 = (arguments.below_1("betas", beta) for beta in betas)
        except ArgumentError:
            raise ArgumentError("betas", betas, two) from None
        self.betas = beta1, beta2
        self.eps = arguments.positive("eps", eps)

    def step(self) -> None:
        self.steps += 1
        beta1 = self.betas[0]
        for (parameter, grad), m, v, spare, change in zip(
            self.params, self.kept["exp_avg"], self.kept["exp_avg_sq"], self._spare, self._change, strict=True
        ):
            grad = self._decayed(parameter, grad, spare)
            m *= beta1
            m += np.multiply(grad, 1 - beta1, out=change)
            self._follow(parameter, grad, m, v, change, float(self.lr))

    def _follow(self, parameter: Array, grad: Array, m: Array, v: Array, change: Array, lr: float) -> None:
        """Update a parameter in place.

        Parameters
        ----------
        parameter, grad : array
        m, v : array
            The parameter's entries of `exp_avg` (already updated) and `exp_avg_sq`.
        change : array
            Scratch memory.
        lr : float
            Learning rate.
        """
        beta1, beta2 = self.betas
        # Bias corrections as two scalars, as at the end of the paper's section 2: fewer passes over the arrays.
        root = math.sqrt(1 - beta2**self.steps)
        lr, eps = lr * root / (1 - beta1**self.steps), self.eps * root

        np.square(grad, out=change)
        change *= 1 - beta2
        v *= beta2
        v += change

        np.sqrt(v, out=change)
        change += eps
        np.divide(m, change, out=change)
        change *= lr
        parameter -= change


class AdamW(Adam):
    """Adam with decoupled weight decay: parameter *= 1 - lr * weight_decay.

    References
    ----------
    Loshchilov and Hutter (2019), arXiv:1711.05101, algorithm 2; `torch.optim.AdamW`.
    """

    def __init__(
        self,
        params: Iterable[tuple[Array, Array]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _decayed(self, parameter: Array, grad: Array, spare: Array) -> Array:
        parameter *= 1 - float(self.lr) * self.weight_decay
        return grad
