"""Detection of overflow in eval mode; in training, the loss tells of it."""

from __future__ import annotations

import numpy as np

from n2n_cli.errors import DivergenceError
from n2n_cli.nn.functional import Array


def check_finite(values: Array) -> None:
    """Check that the values of a network's output, or before a Sigmoid, which hides infinity, are finite.

    Raises
    ------
    DivergenceError
    """
    if values.size and not (values.min() > -np.inf and values.max() < np.inf):  # also if one is not a number
        raise DivergenceError(
            "the network's output is not finite: its weights are too large, or damaged",
            hint="take another checkpoint, as one of an earlier epoch",
        )
