"""Loss functions."""

from __future__ import annotations

import copy
import inspect
from typing import TypeVar

import numpy as np

from n2n_cli.errors import ShapeError
from n2n_cli.nn.functional import Array
from n2n_cli.nn.module import Differentiable
from n2n_cli.nn.registering import RegistrationError, register

LossKind = TypeVar("LossKind", bound="type[Loss]")


class Loss(Differentiable):
    """Distance of a prediction from its target, and the gradient of that distance.

    A subclass has to be a mean over the images of a batch: a batch is computed in micro-batches, each with a copy of
    the loss.
    """

    def forward(self, prediction: Array, target: Array) -> float:
        """Loss of a batch; both arrays have the same shape."""
        raise NotImplementedError

    def backward(self) -> Array:
        """Gradient of the last `forward` with respect to `prediction`, a new array."""
        raise NotImplementedError

    def __call__(self, prediction: Array, target: Array) -> float:
        return self.forward(prediction, target)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _error(self, prediction: Array, target: Array) -> Array:
        """prediction - target, kept for `backward`."""
        if prediction.shape != target.shape:
            raise ShapeError(
                f"{self} got a prediction of shape {prediction.shape} and a target of shape {target.shape}"
            )
        if prediction.size == 0:
            raise ShapeError(f"{self} got an empty prediction of shape {prediction.shape}")
        return self.keep(prediction - target)


class MSE(Loss):
    """Mean squared error over every element, as `torch.nn.MSELoss`."""

    def forward(self, prediction: Array, target: Array) -> float:
        """mean((prediction - target)^2)."""
        return float(np.mean(np.square(self._error(prediction, target)), dtype=np.float64))

    def backward(self) -> Array:
        """2/n (prediction - target), n being the number of elements."""
        (error,) = self.use_up()
        grad: Array = error * (2 / error.size)
        return grad


class L1(Loss):
    """Mean absolute error over every element, as `torch.nn.L1Loss`.

    From noisy targets the network learns their median, with MSE their mean; the median suits impulse noise, which
    replaces some of the pixels.
    """

    def forward(self, prediction: Array, target: Array) -> float:
        """mean(|prediction - target|)."""
        return float(np.mean(np.abs(self._error(prediction, target)), dtype=np.float64))

    def backward(self) -> Array:
        """sign(prediction - target) / n, n being the number of elements."""
        (error,) = self.use_up()
        grad: Array = np.sign(error) * (1 / error.size)
        return grad


class KnownOnly(Loss):
    """A loss over the elements whose target is known; NaN marks the others.

    An element without a known target adds zero to the loss and to its gradient, but counts in the mean.

    Parameters
    ----------
    loss : Loss
        Has to be zero, with a gradient of zero, where prediction and target are equal.
    """

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, prediction: Array, target: Array) -> float:
        """Loss, with NaN in the target replaced by the prediction."""
        if prediction.shape != target.shape:
            return self.loss.forward(prediction, target)  # raises
        own = copy.copy(self.loss)  # shallow copies of `self`, which share `self.loss`, may run concurrently
        self.keep(own)
        return own.forward(prediction, np.where(np.isnan(target), prediction, target))

    def backward(self) -> Array:
        (own,) = self.use_up()
        grad: Array = own.backward()
        return grad

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.loss!r})"


LOSSES: dict[str, type[Loss]] = {"MSE": MSE, "L1": L1}


def register_loss(cls: LossKind) -> LossKind:
    """Register a loss under the name of its class; usable as a decorator.

    Configurations then find it: `loss = "MyLoss"`.

    Parameters
    ----------
    cls : subclass of Loss
        With `forward` and `backward`, and a constructor that needs no arguments.

    Raises
    ------
    RegistrationError
        If the class is unsuitable or the name is taken.
    """
    if isinstance(cls, type) and any(
        parameter.default is parameter.empty and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        for parameter in inspect.signature(cls).parameters.values()
    ):
        raise RegistrationError(f"the loss `{cls.__name__}` has a constructor that needs arguments: give them defaults")
    register(LOSSES, "loss", getattr(cls, "__name__", ""), cls, Loss, ("forward", "backward"))
    return cls
