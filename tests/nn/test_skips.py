"""Residual and SkipConcat, alone and nested."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from n2n_cli.errors import ShapeError
from n2n_cli.nn import (
    Conv2d,
    MaxPool2d,
    Module,
    NearestUpsampling,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SkipConcat,
)
from n2n_cli.nn.gradient_check import check_gradients
from tests.engine.compiled import Compiled
from tests.nn.unet import NAMES, unet


def conv(c_in: int, c_out: int, stride: int = 1) -> Conv2d:
    return Conv2d(c_in, c_out, 3, stride, 1, rng=np.random.default_rng(5), dtype=np.float64)


def test_gradients_through_containers_in_containers(rng: np.random.Generator) -> None:
    pool: list[Module] = [MaxPool2d(2), conv(3, 2), Sigmoid(), NearestUpsampling(2)]
    inner = Residual(SkipConcat(conv(4, 2, 2), Sigmoid(), NearestUpsampling(2), conv(2, 1)), conv(5, 4))
    net = Sequential(SkipConcat(*pool, Residual(conv(2, 2))), conv(5, 4), inner, Residual(), conv(4, 2))
    check_gradients(net, rng.normal(size=(2, 3, 4, 6)))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1)], ids=["channels first", "channels last"])
def test_residual_adds_and_skip_concat_concatenates(order: Any, rng: np.random.Generator) -> None:
    x = np.ascontiguousarray(rng.normal(size=(2, 3, 4, 5)).transpose(order)).transpose(np.argsort(order))
    modules = Sequential(conv(3, 3), Sigmoid())
    np.testing.assert_array_equal(Residual(*modules)(x), modules(x) + x)
    np.testing.assert_array_equal(SkipConcat(*modules)(x), np.concatenate([modules(x), x], axis=1))


def test_without_modules_they_double_the_input(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 4, 5))
    residual, skip = Residual(), SkipConcat()
    np.testing.assert_array_equal(residual(x), 2 * x)
    np.testing.assert_array_equal(residual.backward(x), 2 * x)
    np.testing.assert_array_equal(skip(x), np.concatenate([x, x], axis=1))
    u = rng.normal(size=(2, 6, 4, 5))
    np.testing.assert_array_equal(skip.backward(u), u[:, :3] + u[:, 3:])


def test_integer_input_takes_the_modules_dtype(rng: np.random.Generator) -> None:
    x = rng.integers(0, 200, size=(1, 3, 4, 5), dtype=np.uint8)
    for container in (Residual(conv(3, 3)), SkipConcat(conv(3, 3))):
        y = container(x)
        assert y.dtype == np.float64
        np.testing.assert_allclose(y, container(x.astype(np.float64)), rtol=1e-12)


def test_parameter_names_equal_those_of_nested_sequentials(rng: np.random.Generator) -> None:
    assert list(unet(rng).state_dict()) == [f"{name}.{kind}" for name in NAMES for kind in ("weight", "bias")]


def test_train_is_called_once_per_nested_module() -> None:
    class Counter(ReLU):
        count = 0

        def train(self, mode: bool = True) -> Counter:
            self.count += 1
            return super().train(mode)

    counter = Counter()
    net: Module = counter
    for _ in range(20):
        net = Sequential(Residual(net))
    net.eval()
    assert counter.count == 1


@pytest.mark.parametrize(
    ("net", "shape", "message"),
    [
        (
            Sequential(ReLU(), SkipConcat(ReLU(), conv(2, 3))),
            (1, 3, 4, 5),
            "layer 1: layer 1: Conv2d(2, 3, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))"
            " got an input of shape (1, 3, 4, 5), it needs (N, 2, H, W)",
        ),
        (
            Sequential(Residual(conv(2, 3))),
            (1, 2, 4, 5),
            "layer 0: Residual got an input of shape (1, 2, 4, 5), its modules return (1, 3, 4, 5);"
            " they have to keep the channels",
        ),
        (
            Sequential(Residual(conv(2, 2, 2), NearestUpsampling(2))),
            (1, 2, 4, 5),
            "layer 0: Residual got an input of shape (1, 2, 4, 5), its modules return (1, 2, 4, 6);"
            " it needs H in multiples of 2 and W in multiples of 2",
        ),
        (
            SkipConcat(MaxPool2d((1, 3)), NearestUpsampling((1, 3))),
            (1, 2, 4, 5),
            "SkipConcat got an input of shape (1, 2, 4, 5), its modules return (1, 2, 4, 3);"
            " it needs H in multiples of 1 and W in multiples of 3",
        ),
        (
            SkipConcat(MaxPool2d(2)),
            (1, 2, 4, 6),
            "SkipConcat got an input of shape (1, 2, 4, 6), its modules return (1, 2, 2, 3);"
            " they have to keep height and width",
        ),
        (Residual(), (3, 4, 5), "Residual() got an input of shape (3, 4, 5), it needs (N, C, H, W)"),
    ],
)
def test_shape_that_does_not_fit_is_refused(net: Module, shape: tuple[int, ...], message: str) -> None:
    for use in (lambda: net(np.zeros(shape)), lambda: net.output_shape(shape)):
        with pytest.raises(ShapeError, match="^" + re.escape(message) + "$"):
            use()


def test_gradient_shape_error_names_the_place(rng: np.random.Generator) -> None:
    net = Sequential(ReLU(), Residual(conv(2, 2), Sigmoid()))
    compiled = Compiled(net)
    for run, use in ((net, net.backward), (compiled, compiled.backward), (compiled, compiled.accumulate)):
        run(rng.normal(size=(1, 2, 4, 5)))
        with pytest.raises(
            ShapeError, match=r"^layer 1: Residual\(Conv2d.* got an output gradient of shape \(1, 2, 4, 6"
        ):
            use(np.zeros((1, 2, 4, 6)))
