"""Networks compared with PyTorch: output, gradients, steps, names, weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from n2n_cli.nn import (
    MSE,
    SGD,
    Conv2d,
    LeakyReLU,
    MaxPool2d,
    Module,
    NearestUpsampling,
    PixelShuffle,
    PixelUnshuffle,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SkipConcat,
    TransposeConv2d,
)
from n2n_cli.nn.functional import Array, Pair, Shape
from tests.nn.cases import pairs, some_examples
from tests.nn.founding import founding
from tests.nn.unet import unet

pytestmark = pytest.mark.torch


def twin(module: Module) -> Any:
    """Return the same module in PyTorch, with the same weights."""
    from benchmarks import twins  # needs PyTorch, which the fixture has found

    return twins.twin(module)


def check_twin(torch: Any, module: Module, x: Array, rng: np.random.Generator) -> None:
    """Compare output, input gradient and parameter gradients in float64."""
    other, other_x = twin(module), torch.from_numpy(x.copy()).requires_grad_()
    y, other_y = module(x), other(other_x)
    close(y, other_y)
    grad_output = rng.normal(size=y.shape)
    grad = module.backward(grad_output)
    other_y.backward(torch.from_numpy(grad_output))
    close(grad, other_x.grad)
    named, other_named = dict(module.named_parameters()), dict(other.named_parameters())
    assert list(named) == list(other_named)
    for name, parameter in named.items():
        close(parameter.grad, other_named[name].grad)


def close(ours: Array, theirs: Any, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=rtol, atol=rtol / 100)


@pytest.mark.parametrize(
    ("kernel_size", "arguments", "size"),
    [
        (3, {}, (5, 7)),
        (3, {"stride": 2, "padding": 1}, (5, 7)),
        (3, {"stride": 2, "padding": 1}, (6, 8)),
        (1, {}, (3, 4)),
        (4, {"stride": 3, "padding": 2}, (9, 8)),
        ((2, 5), {"stride": (3, 1), "padding": (0, 2), "dilation": (2, 1)}, (6, 7)),
        (3, {"dilation": (1, 3), "bias": False}, (4, 9)),
        (2, {"padding": 3}, (1, 2)),
    ],
)
def test_conv2d_matches_pytorch(
    torch: Any, kernel_size: Any, arguments: Any, size: Pair, rng: np.random.Generator
) -> None:
    layer = Conv2d(3, 4, kernel_size, **arguments, rng=rng, dtype=np.float64)
    check_twin(torch, layer, rng.normal(size=(2, 3, *size)), rng)


@some_examples
@given(pairs(1, 4), pairs(1, 4), pairs(1, 3), pairs(0, 3), pairs(1, 3), pairs(1, 6), st.booleans(), st.integers(0, 99))
def test_conv2d_of_random_arguments_matches_pytorch(
    torch: Any,
    channels: Pair,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    extra: Pair,
    bias: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    layer = Conv2d(*channels, kernel_size, stride, padding, dilation, bias, rng=rng, dtype=np.float64)
    size = (max(1, dilation[a] * (kernel_size[a] - 1) - 2 * padding[a] + extra[a]) for a in (0, 1))
    check_twin(torch, layer, rng.normal(size=(2, channels[0], *size)), rng)


@pytest.mark.parametrize(
    ("kernel_size", "arguments", "size"),
    [
        (3, {}, (5, 7)),
        (2, {"stride": 2}, (3, 4)),
        (2, {"stride": 2, "bias": False}, (3, 4)),
        (4, {"stride": 2, "padding": 1}, (5, 7)),
        (3, {"stride": 2, "padding": 1, "output_padding": 1}, (5, 7)),
        (1, {"stride": (1, 3)}, (3, 4)),
        ((2, 5), {"stride": (3, 1), "padding": (0, 2), "output_padding": (2, 0), "dilation": (2, 1)}, (6, 7)),
    ],
)
def test_transpose_conv2d_matches_pytorch(
    torch: Any, kernel_size: Any, arguments: Any, size: Pair, rng: np.random.Generator
) -> None:
    layer = TransposeConv2d(3, 4, kernel_size, **arguments, rng=rng, dtype=np.float64)
    check_twin(torch, layer, rng.normal(size=(2, 3, *size)), rng)


@some_examples
@given(pairs(1, 4), pairs(1, 4), pairs(1, 3), pairs(0, 3), pairs(0, 2), pairs(1, 3), pairs(1, 6), st.integers(0, 99))
def test_transpose_conv2d_of_random_arguments_matches_pytorch(
    torch: Any,
    channels: Pair,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    more: Pair,
    dilation: Pair,
    extra: Pair,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    output_padding = more[0] % max(stride[0], dilation[0]), more[1] % max(stride[1], dilation[1])
    sizes = kernel_size, stride, padding, output_padding
    layer = TransposeConv2d(*channels, *sizes, seed % 2 == 0, dilation, rng=rng, dtype=np.float64)
    size = (extra[a] + 2 * padding[a] for a in (0, 1))
    check_twin(torch, layer, rng.normal(size=(2, channels[0], *size)), rng)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        *((NearestUpsampling(factor), (2, 3, 4, 5)) for factor in (2, (3, 1), (2, 5))),
        *((layer, (2, 3, 4, 5)) for layer in (ReLU(), LeakyReLU(), LeakyReLU(0.3), Sigmoid())),
        *((PixelUnshuffle(2), (2, 3, 4, 6)), (PixelUnshuffle(3), (2, 3, 6, 9))),
        *((PixelShuffle(2), (2, 12, 4, 5)), (PixelShuffle(3), (2, 18, 4, 5))),
        *((MaxPool2d(2), (2, 3, 5, 7)), (MaxPool2d((3, 2), (2, 1)), (2, 3, 8, 6)), (MaxPool2d(2, 3), (2, 3, 6, 9))),
        *((Residual(Sigmoid()), (2, 3, 4, 5)), (SkipConcat(Sigmoid()), (2, 3, 4, 5))),
    ],
    ids=lambda value: repr(value) if isinstance(value, Module) else "",
)
def test_layers_without_parameters_match_pytorch(
    torch: Any, layer: Module, shape: Shape, rng: np.random.Generator
) -> None:
    x = 20 * rng.normal(size=shape)
    x[0, 0, 0] = 0  # the kink of ReLU
    check_twin(torch, layer, x, rng)
    x = np.maximum(rng.integers(-2, 3, size=shape), 0.0)  # as after a ReLU, with many equal values in a window
    check_twin(torch, layer, x, rng)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_of_large_values_matches_pytorch(torch: Any, dtype: DTypeLike) -> None:
    x = np.linspace(-1000, 1000, 4001, dtype=dtype).reshape(1, 1, 1, -1)
    ours, theirs = Sigmoid()(x), torch.sigmoid(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=8 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)


@pytest.mark.parametrize(("make", "size"), [(founding, (12, 20)), (unet, (16, 24))])
def test_whole_networks_match_pytorch(
    make: Callable[..., Sequential], size: Pair, torch: Any, rng: np.random.Generator
) -> None:
    check_twin(torch, make(rng), rng.uniform(size=(2, 3, *size)), rng)


def test_state_dict_has_names_order_and_shapes_of_pytorch(torch: Any, rng: np.random.Generator) -> None:
    last = Residual(SkipConcat(Conv2d(3, 4, (5, 6), bias=False, rng=rng, dtype=np.float64)))
    net = Sequential(founding(rng), ReLU(), last)
    ours = [(name, value.shape) for name, value in net.state_dict().items()]
    assert ours == [(name, tuple(value.shape)) for name, value in twin(net).state_dict().items()]
    assert len(ours) == 11
    assert ours[-1] == ("2.0.0.weight", (4, 3, 5, 6))


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-8), (np.float32, 1e-3)])
@pytest.mark.parametrize(("make", "size", "gain"), [(founding, (12, 20), 1), (unet, (16, 24), 2)])
def test_ten_training_steps_match_pytorch(
    *,
    torch: Any,
    make: Callable[..., Sequential],
    size: Pair,
    gain: float,
    dtype: DTypeLike,
    rtol: float,
    rng: np.random.Generator,
) -> None:
    net = make(rng, dtype)
    for data, _ in net.param():
        data *= gain  # without it the gradients of the first layers would almost vanish
    other, start = twin(net), net.state_dict()
    loss, sgd = MSE(), SGD(net.param(), lr=1)
    other_sgd = torch.optim.SGD(other.parameters(), lr=1)
    for x, target in rng.uniform(size=(10, 2, 2, 3, *size)).astype(dtype):
        value = loss(net(x), target)
        net.zero_grad()
        net.backward(loss.backward())
        sgd.step()
        other_sgd.zero_grad()
        other_value = torch.nn.functional.mse_loss(other(torch.from_numpy(x)), torch.from_numpy(target))
        other_value.backward()
        other_sgd.step()
        assert value == pytest.approx(other_value.item(), rel=rtol)
    state = net.state_dict()
    for name, theirs in other.state_dict().items():
        moved = np.abs(state[name] - start[name]).max()
        assert moved > 1e-4
        assert np.abs(state[name] - theirs.numpy()).max() < rtol * moved, name


@pytest.mark.parametrize(
    ("layer", "other", "channels"),
    [(Conv2d, "Conv2d", (2, 4000)), (TransposeConv2d, "ConvTranspose2d", (4000, 2))],
)
def test_weights_start_as_in_pytorch(torch: Any, layer: type[Conv2d], other: str, channels: Pair) -> None:
    torch.manual_seed(0)
    ours = layer(*channels, (3, 5), rng=np.random.default_rng(0))
    theirs = getattr(torch.nn, other)(*channels, (3, 5))
    bound = 1 / math.sqrt(2 * 3 * 5)
    for name, parameter in ours.named_parameters():
        if parameter.data.size < 100:
            continue  # a transposed convolution's two biases
        a, b = parameter.data.ravel(), getattr(theirs, name).detach().numpy().ravel()
        for values in (a, b):
            assert 0.995 * bound < np.abs(values).max() <= bound * (1 + 1e-6)
        places = np.linspace(0.05, 0.95, 19)
        np.testing.assert_allclose(np.quantile(a, places), np.quantile(b, places), atol=0.06 * bound)
