"""Detection of overflow in eval mode; in training, the loss shows it."""

from __future__ import annotations

import numpy as np

from n2n_cli.errors import DivergenceError
from n2n_cli.nn.functional import Array


def check_finite(values: Array) -> None:
    """Check that the output of a network is finite, or its input to a Sigmoid.

    A Sigmoid maps infinity to a finite value.

    Raises
    ------
    DivergenceError
    """
    if values.size and not (values.min() > -np.inf and values.max() < np.inf):  # false for NaN
        raise DivergenceError(
            "the network's output is not finite: its weights are too large, or damaged",
            hint="use another checkpoint, such as one of an earlier epoch",
        )
