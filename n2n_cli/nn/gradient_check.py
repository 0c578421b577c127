"""Check of a `backward` against central differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from n2n_cli.errors import N2NError
from n2n_cli.nn.functional import Array
from n2n_cli.nn.module import Module


class GradientError(N2NError, AssertionError):
    """A backward pass does not compute the gradient of its forward pass."""


def check_gradients(layer: Module, x: Array) -> None:
    """Compare `backward` with central differences, in float64.

    Every entry of the input and of each parameter is compared. The function to differentiate is <weights, layer(x)>,
    with weights drawn from a fixed seed.

    Parameters
    ----------
    layer : Module
        Has float64 parameters. It is left in training mode.
    x : (N, C, H, W) array
        A small input, with a different size on each axis. Entries should be at least 1e-5 away from points where
        `layer` is not smooth, such as 0 for a ReLU.

    Raises
    ------
    GradientError
        If a gradient is wrong; names the entry with the largest error, its gradient and the correct one. Also if a
        gradient or the output has the wrong shape, or a parameter the wrong dtype.
    """
    x = x.astype(np.float64)
    y = layer.train()(x)
    if y.shape != layer.output_shape(x.shape):
        raise GradientError(f"{layer}: `forward` returns {y.shape}, `output_shape` {layer.output_shape(x.shape)}")
    weights = np.random.default_rng(1).normal(size=y.shape)
    layer.zero_grad()
    got = {"input": (x, layer.backward(weights))}
    for name, parameter in layer.named_parameters():
        if parameter.data.dtype != np.float64:
            raise GradientError(f"{name} is {parameter.data.dtype}: check gradients in float64")
        got[name] = parameter.data, parameter.grad
    layer.eval()
    for name, (array, gradient) in got.items():
        wanted = numeric_gradient(lambda: float(np.vdot(weights, layer(x))), array)
        check_same_gradient(f"{layer} {name}", gradient, wanted)
    layer.train()


def numeric_gradient(value: Callable[[], float], array: Array, step: float = 1e-5) -> Array:
    """Gradient of `value()` with respect to `array`, by central differences.

    (value(+step) - value(-step)) / (2 * step) for every entry. `value` reads `array`, which is changed in place and
    restored.
    """
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        middle = array[index]
        array[index] = middle + step
        above = value()
        array[index] = middle - step
        gradient[index] = (above - value()) / (2 * step)
        array[index] = middle
    return gradient


def check_same_gradient(name: str, got: Array, wanted: Array, tolerance: float = 1e-7) -> None:
    """Raise `GradientError` unless two gradients agree in every entry.

    They may differ by at most `tolerance` times the largest entry of `wanted`.
    """
    if got.shape != wanted.shape:
        raise GradientError(f"{name}: the gradient has shape {got.shape}, it needs {wanted.shape}")
    error = np.abs(got - wanted)
    worst = tuple(int(i) for i in np.unravel_index(error.argmax(), error.shape))
    if not error[worst] <= tolerance * np.abs(wanted).max():  # also for nan
        raise GradientError(f"{name}{list(worst)}: the gradient is {got[worst]:.9g}, it must be {wanted[worst]:.9g}")
