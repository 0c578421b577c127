"""Per-thread copies of a compiled network, with taped passes of small shapes."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np

from n2n_cli.engine.channels_last import channels_first
from n2n_cli.engine.gradients import GradientLayout
from n2n_cli.engine.kernel import Kernel, TrainableKernel
from n2n_cli.engine.pool import PackedPool, Pool, empty_like, using
from n2n_cli.engine.tape import Tape
from n2n_cli.nn.functional import Array
from n2n_cli.nn.losses import Loss
from n2n_cli.nn.module import Parameter

TAPES, TAPED_PIXELS = 8, 24 * 1024
"""Maximum number of tapes per thread, and maximum pixels of a taped batch: a tape never frees its memory."""


class Replica:
    """Copy of a kernel that shares parameter values, with its own gradients.

    Parameters
    ----------
    kernel : Kernel
    parameters : sequence of Parameter
    taped_pixels : int
        Maximum pixels of a batch whose passes are taped.

    Attributes
    ----------
    pool : PackedPool
        Working memory of its thread.
    grads : array
        Gradients of all parameters, as one flat array.
    """

    def __init__(self, kernel: Kernel, parameters: Sequence[Parameter], *, taped_pixels: int = TAPED_PIXELS) -> None:
        self.taped_pixels = taped_pixels
        self.kernel, self._parameters = copy.deepcopy((kernel, list(parameters)))
        self.kernel.train(self.kernel.training)  # modules without a kernel may be in the other mode
        self.pool = PackedPool()
        layout = GradientLayout(self._parameters, self.kernel)
        self.grads = layout.zeros()
        for parameter, part in zip(self._parameters, layout.split(self.grads), strict=True):
            parameter.grad = part
        self.tapes: dict[tuple[object, ...], _TapedPasses | None] = {}

    def __call__(self, x: Array) -> Array:
        """Output for a batch `x`; the next call may overwrite it."""
        taped = self.taped(x)
        return self.kernel(x) if taped is None else taped.forward(x)

    def accumulate(self, x: Array, target: Array, loss: Loss, share: float) -> float:
        """Add the gradients of `share` times a micro-batch's loss to `grads`.

        Returns the loss.
        """
        assert isinstance(self.kernel, TrainableKernel)
        taped = self.taped(x)
        y = self.kernel(x) if taped is None else taped.forward(x)
        value = loss(y, target)
        grad = loss.backward()
        np.multiply(grad, share, out=grad)
        if taped is None:
            self.kernel.accumulate(grad)
        else:
            taped.accumulate(grad)
        return value

    def follow(self, parameters: Sequence[Parameter], *, training: bool) -> None:
        """Switch to training or eval mode and use the values of `parameters`.

        The arrays are shared, not copied.
        """
        if self.kernel.training != training:
            self.kernel.train(training)
        for own, parameter in zip(self._parameters, parameters, strict=True):
            if own.data is not parameter.data:
                own.data = parameter.data
                self.tapes.clear()
        self.kernel.prepare()

    def taped(self, x: Array) -> _TapedPasses | None:
        """Taped passes for x's shape, or None if they are not taped.

        Passes are taped from the second batch of a shape on.
        """
        if x.ndim != 4 or not 0 < len(x) * math.prod(x.shape[2:]) <= self.taped_pixels or not self.kernel.tapes:
            return None
        key = (x.shape, x.dtype, self.kernel.training)
        if key not in self.tapes:
            if len(self.tapes) == TAPES:
                del self.tapes[next(iter(self.tapes))]
            self.tapes[key] = None
        elif self.tapes[key] is None:
            self.tapes[key] = _TapedPasses(self.kernel, [parameter.grad for parameter in self._parameters], x)
        return self.tapes[key]


class _TapedPasses:
    """Taped forward and backward passes of a network for one input shape.

    Both tapes use the same pool, so the backward pass finds the values that the forward pass stores.
    """

    def __init__(self, kernel: Kernel, grads: Sequence[Array], x: Array) -> None:
        pool = Pool()
        n, c, h, w = x.shape
        self._forward, self._backward = Tape(pool), Tape(pool)
        self._x = channels_first(pool.empty((n, h, w, c), x.dtype))
        np.copyto(self._x, x)
        with self._forward.recording():
            self._y = kernel(self._x)
        if kernel.training and isinstance(kernel, TrainableKernel):
            with using(pool):
                self._grad = empty_like(self._y)
            self._grad.fill(0)
            before = [grad.copy() for grad in grads]
            with self._backward.recording():
                kernel.accumulate(self._grad)
            for grad, values in zip(grads, before, strict=True):
                grad[...] = values  # recording must not change them; it may have added NaN, as 0 * inf

    def forward(self, x: Array) -> Array:
        np.copyto(self._x, x)
        self._forward.run()
        return self._y

    def accumulate(self, grad: Array) -> None:
        np.copyto(self._grad, grad)
        self._backward.run()
