"""`check_gradients` rejects wrong gradients."""

from __future__ import annotations

import re

import numpy as np
import pytest

from n2n_cli.nn import Conv2d, ReLU
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.gradient_check import GradientError, check_gradients


class Leaky(ReLU):
    """ReLU with one wrong number in its input gradient."""

    def backward(self, grad_output: Array) -> Array:
        grad = super().backward(grad_output)
        grad[1, 2, 0, 3] += 1
        return grad


class Unbiased(Conv2d):
    """Convolution whose bias gradient omits the last image of the batch."""

    def backward(self, grad_output: Array) -> Array:
        grad = super().backward(grad_output)
        assert self.bias is not None
        self.bias.grad -= grad_output[-1].sum(axis=(1, 2))
        return grad


def test_failure_names_the_worst_entry(rng: np.random.Generator) -> None:
    with pytest.raises(GradientError, match=re.escape("Leaky() input[1, 2, 0, 3]: the gradient is ")):
        check_gradients(Leaky(), rng.normal(size=(2, 3, 4, 5)))


def test_a_wrong_parameter_gradient_is_found(rng: np.random.Generator) -> None:
    with pytest.raises(GradientError, match=r"bias\[\d\]: the gradient is .*, it must be "):
        check_gradients(Unbiased(3, 4, 2, rng=rng, dtype=np.float64), rng.normal(size=(2, 3, 4, 5)))


def test_float32_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(GradientError, match="weight is float32"):
        check_gradients(Conv2d(3, 4, 2, rng=rng), rng.normal(size=(2, 3, 4, 5)))


class Halving(ReLU):
    """ReLU whose `output_shape` is half as high as its output."""

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape[:2], shape[2] // 2, shape[3])


def test_wrong_output_shape_is_found(rng: np.random.Generator) -> None:
    message = "Halving(): `forward` returns (2, 3, 4, 5), `output_shape` (2, 3, 2, 5)"
    with pytest.raises(GradientError, match=f"^{re.escape(message)}$"):
        check_gradients(Halving(), rng.normal(size=(2, 3, 4, 5)))
