"""Every optimiser with non-default arguments, and parameters for it to update."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import DTypeLike

from n2n_cli.nn.functional import Array
from n2n_cli.nn.optim import SGD, Adam, AdamW, Muon
from n2n_cli.nn.optimizer import Optimizer

Pairs: TypeAlias = list[tuple[Array, Array]]

SHAPES = ((4, 3, 2, 5), (4,), (2, 0), (3, 4, 1, 2), ())
MAKES: dict[str, Callable[[Pairs], Optimizer]] = {
    "SGD": lambda params: SGD(params, lr=0.1),
    "SGD with decay": lambda params: SGD(params, lr=0.1, weight_decay=0.2),
    "SGD with momentum": lambda params: SGD(params, lr=0.1, momentum=0.9, weight_decay=0.2, dampening=0.5),
    "Nesterov": lambda params: SGD(params, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda params: Adam(params, lr=0.1),
    "Adam with decay": lambda params: Adam(params, lr=0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.2),
    "AdamW": lambda params: AdamW(params, lr=0.1, weight_decay=0.3),
    "Muon": lambda params: Muon(params, lr=0.1),
}
every_optimizer = pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)


def drawn(seed: int = 1, dtype: DTypeLike = np.float64) -> Pairs:
    """Parameters of several shapes, each with a zero gradient."""
    rng = np.random.default_rng(seed)
    return [(np.asarray(rng.normal(size=shape), dtype), np.zeros(shape, dtype)) for shape in SHAPES]


def take_steps(optimizer: Optimizer, params: Pairs, steps: range) -> None:
    """Take steps with gradients that depend on the parameters and the step number."""
    for step in steps:
        for i, (parameter, grad) in enumerate(params):
            grad[...] = np.sin(3 * parameter + step + i)
        optimizer.step()
