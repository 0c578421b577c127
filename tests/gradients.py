"""Gradients by central differences, the judge of every `backward`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from n2n_cli.nn import Module
from n2n_cli.nn.functional import Array


def numeric_gradient(value: Callable[[], float], array: Array, step: float = 1e-5) -> Array:
    """(value(+step) - value(-step)) / (2 step) for every entry of `array`, which `value` reads and this changes."""
    gradient = np.empty_like(array)
    for index in np.ndindex(array.shape):
        middle = array[index]
        array[index] = middle + step
        above = value()
        array[index] = middle - step
        gradient[index] = (above - value()) / (2 * step)
        array[index] = middle
    return gradient


def assert_same_gradient(name: str, got: Array, wanted: Array, tolerance: float = 1e-7) -> None:
    """Every entry agrees within `tolerance` times the largest one wanted; a failure names the worst entry."""
    assert got.shape == wanted.shape, f"{name}: the gradient has shape {got.shape}, it needs {wanted.shape}"
    error = np.abs(got - wanted)
    worst = tuple(int(i) for i in np.unravel_index(error.argmax(), error.shape))
    within = error[worst] <= tolerance * np.abs(wanted).max()  # False for nan
    assert within, f"{name}{list(worst)}: the gradient is {got[worst]:.9g}, it must be {wanted[worst]:.9g}"


def check_gradients(layer: Module, x: Array) -> None:
    """Compare `backward` with central differences: every entry of the input and of each parameter, in float64.

    The function differentiated is <weights, layer(x)>, the weights drawn from a fixed seed.
    """
    x = x.astype(np.float64)
    y = layer.train()(x)
    weights = np.random.default_rng(1).normal(size=y.shape)
    layer.zero_grad()
    got = {"input": (x, layer.backward(weights))}
    for name, parameter in layer.named_parameters():
        assert parameter.data.dtype == np.float64, f"{name} is {parameter.data.dtype}: check gradients in float64"
        got[name] = parameter.data, parameter.grad
    layer.eval()
    for name, (array, gradient) in got.items():
        wanted = numeric_gradient(lambda: float(np.vdot(weights, layer(x))), array)
        assert_same_gradient(f"{layer} {name}", gradient, wanted)
    layer.train()
