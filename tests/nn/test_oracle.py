"""The same networks in PyTorch: output, gradients, steps, names and start."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from n2n_cli.nn import MSE, SGD, Conv2d, Module, NearestUpsampling, ReLU, Sequential, Sigmoid
from n2n_cli.nn.functional import Array, Pair
from tests.nn.cases import pairs, some_examples
from tests.nn.founding import founding

pytestmark = pytest.mark.torch


def twin(torch: Any, module: Module) -> Any:
    """The same module in PyTorch, with the same weights."""
    match module:
        case Sequential():
            return torch.nn.Sequential(*(twin(torch, child) for child in module))
        case Conv2d():
            sizes = module.kernel_size, module.stride, module.padding, module.dilation
            other = torch.nn.Conv2d(
                module.in_channels, module.out_channels, *sizes, bias=module.bias is not None, dtype=torch.float64
            )
        case NearestUpsampling():
            other = torch.nn.Upsample(scale_factor=tuple(map(float, module.scale_factor)), mode="nearest")
        case ReLU() | Sigmoid():
            other = getattr(torch.nn, type(module).__name__)()
        case _:
            raise AssertionError(f"{module} has no twin")
    other.load_state_dict({name: torch.from_numpy(value) for name, value in module.state_dict().items()})
    return other.to(getattr(torch, str(next(iter(module.param()))[0].dtype)) if module.param() else torch.float64)


def check_twin(torch: Any, module: Module, x: Array, rng: np.random.Generator) -> None:
    """Compare output, input gradient and parameter gradients in float64."""
    other, other_x = twin(torch, module), torch.from_numpy(x.copy()).requires_grad_()
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
def test_conv2d(torch: Any, kernel_size: Any, arguments: Any, size: Pair, rng: np.random.Generator) -> None:
    layer = Conv2d(3, 4, kernel_size, **arguments, rng=rng, dtype=np.float64)
    check_twin(torch, layer, rng.normal(size=(2, 3, *size)), rng)


@some_examples
@given(pairs(1, 4), pairs(1, 4), pairs(1, 3), pairs(0, 3), pairs(1, 3), pairs(1, 6), st.booleans(), st.integers(0, 99))
def test_conv2d_of_any_arguments(
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
    "layer", [NearestUpsampling(2), NearestUpsampling((3, 1)), NearestUpsampling((2, 5)), ReLU(), Sigmoid()], ids=repr
)
def test_layers_without_parameters(torch: Any, layer: Module, rng: np.random.Generator) -> None:
    x = 20 * rng.normal(size=(2, 3, 4, 5))
    x[0, 0, 0] = 0  # where ReLU has its kink
    check_twin(torch, layer, x, rng)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_far_out(torch: Any, dtype: DTypeLike) -> None:
    x = np.linspace(-1000, 1000, 4001, dtype=dtype).reshape(1, 1, 1, -1)
    ours, theirs = Sigmoid()(x), torch.sigmoid(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=8 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)


def test_mse(torch: Any, rng: np.random.Generator) -> None:
    prediction, target = rng.normal(size=(2, 2, 3, 4, 5))
    loss, other_prediction = MSE(), torch.from_numpy(prediction).requires_grad_()
    other = torch.nn.MSELoss()(other_prediction, torch.from_numpy(target))
    other.backward()
    assert loss(prediction, target) == pytest.approx(other.item(), rel=1e-12)
    close(loss.backward(), other_prediction.grad)


def test_the_founding_network(torch: Any, rng: np.random.Generator) -> None:
    check_twin(torch, founding(rng), rng.uniform(size=(2, 3, 12, 20)), rng)


def test_names_order_and_shapes_of_the_state_dict(torch: Any, rng: np.random.Generator) -> None:
    net = Sequential(founding(rng), ReLU(), Conv2d(3, 4, (5, 6), bias=False, rng=rng, dtype=np.float64))
    ours = [(name, value.shape) for name, value in net.state_dict().items()]
    assert ours == [(name, tuple(value.shape)) for name, value in twin(torch, net).state_dict().items()]
    assert len(ours) == 11


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-8), (np.float32, 1e-3)])
def test_ten_steps_of_the_founding_network(torch: Any, dtype: DTypeLike, rtol: float, rng: np.random.Generator) -> None:
    net = founding(rng, dtype)
    other, start = twin(torch, net), net.state_dict()
    loss, sgd = MSE(), SGD(net.param(), lr=1)
    other_sgd = torch.optim.SGD(other.parameters(), lr=1)
    for x, target in rng.uniform(size=(10, 2, 2, 3, 12, 20)).astype(dtype):
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


def test_weights_start_as_in_pytorch(torch: Any) -> None:
    torch.manual_seed(0)
    ours = Conv2d(2, 4000, (3, 5), rng=np.random.default_rng(0))
    theirs = torch.nn.Conv2d(2, 4000, (3, 5))
    bound = 1 / math.sqrt(2 * 3 * 5)
    for name, parameter in ours.named_parameters():
        a, b = parameter.data.ravel(), getattr(theirs, name).detach().numpy().ravel()
        for values in (a, b):
            assert 0.995 * bound < np.abs(values).max() <= bound * (1 + 1e-6)
        places = np.linspace(0.05, 0.95, 19)
        np.testing.assert_allclose(np.quantile(a, places), np.quantile(b, places), atol=0.06 * bound)
