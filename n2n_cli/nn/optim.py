"""How parameters follow their gradients. An optimiser reads like its formula.

The formulas, their order and their defaults are PyTorch's. Parameters are changed in place, each array by itself: laid
out in one flat array a step takes longer, for the copies there and back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from n2n_cli.errors import ArgumentError, TrainingError
from n2n_cli.nn import arguments
from n2n_cli.nn.functional import Array
from n2n_cli.nn.optimizer import Optimizer

BELOW_1 = "a number of at least 0 and below 1"


class SGD(Optimizer):
    """Stochastic gradient descent: parameter -= lr * gradient.

    With momentum the gradient is followed by way of a buffer, which starts as the first gradient:
    buffer = momentum * buffer + (1 - dampening) * gradient; parameter -= lr * buffer; or, with `nesterov`,
    parameter -= lr * (gradient + momentum * buffer).

    Parameters
    ----------
    momentum : float
        At least 0 and below 1.
    weight_decay : float
        At least 0. Its product with the parameter is added to the gradient.
    nesterov : bool
        Needs a momentum, and no dampening.
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
        self.momentum = arguments.number("momentum", momentum, BELOW_1, lambda value: 0 <= value < 1)
        self.dampening = arguments.number("dampening", dampening, BELOW_1, lambda value: 0 <= value < 1)
        self.nesterov = arguments.flag("nesterov", nesterov)
        if self.nesterov and (not self.momentum or self.dampening):
            raise ArgumentError("nesterov", nesterov, "false where there is no momentum, or a dampening")
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


class Adam(Optimizer):
    """Steps of a size that does not depend on the gradient's: its mean over the root of its mean square.

    At step t = 1, 2, ...: m = beta1 * m + (1 - beta1) * gradient; v = beta2 * v + (1 - beta2) * gradient^2;
    parameter -= lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps).

    Parameters
    ----------
    betas : (float, float)
        How much of m and of v stays at a step, each at least 0 and below 1.
    eps : float
        Above 0: it bounds the step where gradients vanish.
    weight_decay : float
        At least 0. Its product with the parameter is added to the gradient.

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
        two = f"two numbers, each {BELOW_1}"
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise ArgumentError("betas", betas, two)
        try:
            beta1, beta2 = (arguments.number("betas", beta, two, lambda value: 0 <= value < 1) for beta in betas)
        except ArgumentError:
            raise ArgumentError("betas", betas, two) from None
        self.betas = beta1, beta2
        self.eps = arguments.positive("eps", eps)

    def step(self) -> None:
        self.steps += 1
        beta1, beta2 = self.betas
        # Both corrections in two numbers, as at the end of the paper's section 2: fewer passes over the arrays.
        root = math.sqrt(1 - beta2**self.steps)
        lr, eps = float(self.lr) * root / (1 - beta1**self.steps), self.eps * root
        for (parameter, grad), m, v, spare, change in zip(
            self.params, self.kept["exp_avg"], self.kept["exp_avg_sq"], self._spare, self._change, strict=True
        ):
            grad = self._decayed(parameter, grad, spare)

            m *= beta1
            m += np.multiply(grad, 1 - beta1, out=change)

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
    """Adam, whose weight decay makes the parameters smaller by themselves: parameter *= 1 - lr * weight_decay.

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


OPTIMIZERS: dict[str, type[Optimizer]] = {"SGD": SGD, "Adam": Adam, "AdamW": AdamW}


def clip_gradient_norm(params: Iterable[tuple[Array, Array]], max_norm: float) -> float:
    """Make all gradients smaller by one factor, in place, where their common norm is above `max_norm`.

    The factor is max_norm / (norm + 1e-6), as in `torch.nn.utils.clip_grad_norm_`.

    Parameters
    ----------
    params : iterable of (parameter, gradient)
        As `Module.param()` gives them.
    max_norm : float
        Above 0.

    Returns
    -------
    float
        The root of the sum of all gradients' squares, before.

    Raises
    ------
    TrainingError
        When that is not finite; the gradients are then as they were.
    """
    max_norm = arguments.positive("max_norm", max_norm)
    grads = [grad for _, grad in params]
    # In float64, where a float32's square is finite; and not by BLAS, whose sums depend on its number of threads.
    with np.errstate(over="ignore"):
        norm = math.sqrt(sum(float(np.square(grad, dtype=np.float64).sum()) for grad in grads))
    if not math.isfinite(norm):
        raise TrainingError(f"the norm of the gradients is {norm}", hint="try a smaller learning rate")
    factor = max_norm / (norm + 1e-6)
    if factor < 1:
        for grad in grads:
            grad *= factor
    return norm
