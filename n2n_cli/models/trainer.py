"""Trainer: optimiser steps on threads, worker processes or several ranks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from n2n_cli.distributed.ranks import ALONE, Ranks
from n2n_cli.engine.executor import Executor
from n2n_cli.errors import DivergenceError
from n2n_cli.nn import Loss, Module, Optimizer
from n2n_cli.nn.averaging import MovingAverage
from n2n_cli.nn.functional import Array
from n2n_cli.nn.optim import clip_gradient_norm
from n2n_cli.system.blas import one_blas_thread

if TYPE_CHECKING:
    from n2n_cli.engine.workers import Parts


class Trainer:
    """Trains the parameters of a network, one batch per step.

    Parameters
    ----------
    executor : Executor
        The compiled network.
    optimizer : Optimizer
        Optimiser of all or some of the executor's parameters.
    criterion : Loss
        The loss that training minimises.
    average : MovingAverage, optional
        Moving average of the parameters, updated in every step.
    clip_norm : float
        Maximum total norm of the gradients; 0 for no clipping.

    Attributes
    ----------
    ranks : Ranks
        Processes that train together. Default: this process alone.
    """

    def __init__(
        self,
        executor: Executor,
        optimizer: Optimizer,
        criterion: Loss,
        *,
        average: MovingAverage | None = None,
        clip_norm: float = 0.0,
    ) -> None:
        self.executor, self.optimizer, self.criterion = executor, optimizer, criterion
        self.average, self.clip_norm = average, clip_norm
        self.ranks: Ranks = ALONE

    def step(self, noisy: Array, target: Array) -> float:
        """Take one optimiser step on a batch; return the loss before the step.

        Parameters
        ----------
        noisy, target : (N, C, H, W) arrays
            Without noise, their values are in [0, 1]. If several ranks train together, this is the rank's part of the
            batch, which may be empty.

        Raises
        ------
        TrainingError
            If the loss is not finite. The parameters are not changed.
        StopError
            If the executor's `between` raises it on any rank. The parameters are not changed.
        """
        for parameter in self.executor.parameters:  # also the frozen ones, which the optimiser does not hold
            parameter.grad.fill(0)
        loss = 0.0
        if len(noisy) or self.ranks.count == 1:
            with np.errstate(over="ignore", invalid="ignore"), one_blas_thread():  # checked by the loss
                loss = self.executor.accumulate(noisy, target, self.criterion)
        loss = self.ranks.add_up(loss, len(noisy))
        if not math.isfinite(loss):
            raise DivergenceError(f"the loss is {loss}", hint="try a smaller learning rate")
        if self.clip_norm:
            clip_gradient_norm(self.optimizer.params, self.clip_norm)
        with np.errstate(over="ignore", invalid="ignore"), one_blas_thread():  # checked by the next loss
            self.optimizer.step()
            if self.average is not None:
                self.average.update()
        return loss

    @contextmanager
    def in_processes(self, parts: Parts) -> Iterator[None]:
        """Context of training with worker processes instead of threads.

        See `engine.workers`.
        """
        alone = self.executor
        if alone.threads == 1:
            yield
            return
        from n2n_cli.engine.workers import ProcessExecutor  # here, because the import is slow

        self.executor = shared = ProcessExecutor(alone.kernel, alone.parameters, self.criterion, parts, alone.threads)
        shared.between = alone.between
        try:
            yield
        finally:
            self.executor = alone
            shared.close()

    def join(self, ranks: Ranks, network: Module) -> None:
        """Train together with other ranks, which have the same network, from now on.

        All ranks copy the state of the first. The gradients become views of one array, which is summed over the ranks
        at each step.
        """
        self.ranks = ranks
        if ranks.count == 1:
            return
        learned = {id(values) for values, _ in self.optimizer.params}
        own = [parameter for parameter in self.executor.parameters if id(parameter.data) in learned]
        ends = list(itertools.accumulate(parameter.data.size for parameter in own))
        flat = ranks.gradients(ends[-1])
        for parameter, end in zip(own, ends, strict=True):
            parameter.grad = flat[end - parameter.data.size : end].reshape(parameter.data.shape)
        grads = {id(parameter.data): parameter.grad for parameter in own}
        self.optimizer.params = [(values, grads[id(values)]) for values, _ in self.optimizer.params]
        weights, optimizer, average = ranks.from_first(
            lambda: (
                network.state_dict(),
                self.optimizer.state_dict(),
                None if self.average is None else self.average.state_dict(),
            )
        )
        network.load_state_dict(weights)
        self.optimizer.load_state_dict(optimizer)
        if self.average is not None and average is not None:
            self.average.load_state_dict(average)
