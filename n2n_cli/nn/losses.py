"""What training makes small."""

from __future__ import annotations

import numpy as np

from n2n_cli.errors import ShapeError
from n2n_cli.nn.functional import Array


class Loss:
    """A number that says how far a prediction is from its target, and its gradient."""

    def forward(self, prediction: Array, target: Array) -> float:
        """The loss of a batch; both arrays have the same shape."""
        raise NotImplementedError

    def backward(self) -> Array:
        """Gradient of the last `forward` with respect to `prediction`."""
        raise NotImplementedError

    def __call__(self, prediction: Array, target: Array) -> float:
        return self.forward(prediction, target)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class MSE(Loss):
    """Mean squared error over every element, as `torch.nn.MSELoss`."""

    def __init__(self) -> None:
        self._error: Array | None = None

    def forward(self, prediction: Array, target: Array) -> float:
        """mean((prediction - target)^2)."""
        if prediction.shape != target.shape:
            raise ShapeError(f"MSE() got a prediction of shape {prediction.shape} and a target of shape {target.shape}")
        if prediction.size == 0:
            raise ShapeError(f"MSE() got an empty prediction of shape {prediction.shape}")
        self._error = prediction - target
        return float(np.mean(np.square(self._error), dtype=np.float64))

    def backward(self) -> Array:
        """2/n (prediction - target), n being the number of elements."""
        error, self._error = self._error, None
        if error is None:
            raise RuntimeError("MSE().backward() needs a forward() before it")
        grad: Array = error * (2 / error.size)
        return grad


LOSSES: dict[str, type[Loss]] = {"MSE": MSE}
