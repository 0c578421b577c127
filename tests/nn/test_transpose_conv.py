"""TransposeConv2d."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.errors import ArgumentError, ShapeError
from n2n_cli.nn import Conv2d, TransposeConv2d
from n2n_cli.nn.functional import Pair
from n2n_cli.nn.gradient_check import check_gradients
from tests.nn.cases import pairs, some_examples

CASES: dict[str, dict[str, Any]] = {
    "plain": {"kernel_size": 3},
    "kernel of one": {"kernel_size": 1},
    "side by side": {"kernel_size": (2, 3), "stride": (2, 3)},
    "side by side along rows": {"kernel_size": 2, "stride": (2, 1)},
    "side by side, cut": {"kernel_size": 2, "stride": 2, "padding": (1, 0)},
    "side by side, and more": {"kernel_size": 2, "stride": 2, "output_padding": (0, 1)},
    "side by side but dilated": {"kernel_size": 2, "stride": 2, "dilation": 2},
    "stride": {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
    "gaps between the kernels": {"kernel_size": 2, "stride": (3, 4), "output_padding": (2, 3)},
    "no bias": {"kernel_size": 4, "stride": 2, "padding": 1, "bias": False},
    "padding beyond the kernel": {"kernel_size": 1, "padding": (2, 1)},
    "all in pairs": {
        "kernel_size": (2, 3),
        "stride": (3, 2),
        "padding": (2, 1),
        "output_padding": (2, 0),
        "dilation": (3, 1),
    },
}


@pytest.mark.parametrize("arguments", CASES.values(), ids=CASES)
def test_gradients(arguments: dict[str, Any], rng: np.random.Generator) -> None:
    check_gradients(TransposeConv2d(3, 4, **arguments, rng=rng, dtype=np.float64), rng.normal(size=(2, 3, 5, 4)))


def test_forward_adds_a_scaled_kernel_per_pixel() -> None:
    layer = TransposeConv2d(1, 1, (1, 3), (1, 2), bias=False, dtype=np.float64)
    layer.weight.data[...] = [1, 10, 100]
    assert layer(np.array([[[[1.0, 2, 3]]]])).ravel().tolist() == [1, 10, 102, 20, 203, 30, 300]
    cut = TransposeConv2d(1, 1, (1, 3), (1, 2), (0, 1), (0, 1), dtype=np.float64)
    cut.load_state_dict(layer.state_dict() | {"bias": np.array([0.5])})
    assert cut(np.array([[[[1.0, 2, 3]]]])).ravel().tolist() == [10.5, 102.5, 20.5, 203.5, 30.5, 300.5]


@given(pairs(1, 4), pairs(1, 4), pairs(1, 4), pairs(0, 3), pairs(1, 3), pairs(0, 3), pairs(1, 5), st.integers(0, 99))
@some_examples
def test_forward_is_the_gradient_of_the_convolution_with_the_same_weight(
    channels: Pair,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    more: Pair,
    size: Pair,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    output_padding = more[0] % max(stride[0], dilation[0]), more[1] % max(stride[1], dilation[1])
    large = tuple(
        (size[a] - 1) * stride[a] - 2 * padding[a] + dilation[a] * (kernel_size[a] - 1) + output_padding[a] + 1
        for a in (0, 1)
    )
    layer = TransposeConv2d(
        *channels, kernel_size, stride, padding, output_padding, False, dilation, rng=rng, dtype=np.float64
    )
    x = rng.normal(size=(2, channels[0], *size))
    if min(large) < 1:
        with pytest.raises(ShapeError, match="it needs H >= "):
            layer(x)
        return
    y = layer(x)
    assert y.shape == (2, channels[1], *large)
    u = rng.normal(size=y.shape)
    assert np.vdot(layer.backward(u), x) == pytest.approx(np.vdot(u, y), abs=1e-10)
    if all(output_padding[a] < stride[a] for a in (0, 1)):  # a convolution of this size exists
        conv = Conv2d(channels[1], channels[0], kernel_size, stride, padding, dilation, bias=False, dtype=np.float64)
        conv.load_state_dict(layer.state_dict())
        grad_x = conv(u)
        np.testing.assert_allclose(conv.backward(x), y, atol=1e-12)
        layer(x)
        np.testing.assert_allclose(layer.backward(u), grad_x, atol=1e-12)
        np.testing.assert_allclose(conv.weight.grad, layer.weight.grad / 2, atol=1e-10)


def test_initial_weights_are_within_pytorch_s_bound() -> None:
    layer = TransposeConv2d(500, 2, (3, 5), rng=np.random.default_rng(0))
    bound = 1 / np.sqrt(2 * 3 * 5)
    assert 0.999 * bound < np.abs(layer.weight.data).max() <= bound * (1 + 1e-6)
    assert layer.bias is not None
    assert 0 < np.abs(layer.bias.data).max() <= bound


def test_repr_shows_arguments_that_differ_from_defaults() -> None:
    assert repr(TransposeConv2d(3, 4, 2, 2)) == "TransposeConv2d(3, 4, kernel_size=(2, 2), stride=(2, 2))"
    assert repr(TransposeConv2d(3, 4, 2, (3, 2), 1, 1, False, 2)) == (
        "TransposeConv2d(3, 4, kernel_size=(2, 2), stride=(3, 2), padding=(1, 1), output_padding=(1, 1),"
        " dilation=(2, 2), bias=False)"
    )


@pytest.mark.parametrize(
    ("arguments", "shape", "needed"),
    [
        ({"kernel_size": 3}, (1, 2, 4, 5), "(N, 3, H, W)"),
        ({"kernel_size": 1, "padding": (2, 1)}, (1, 3, 4, 5), "H >= 5 and W >= 3"),
        ({"kernel_size": 2, "stride": (3, 1), "padding": 3}, (1, 3, 2, 5), "H >= 3 and W >= 6"),
    ],
)
def test_input_of_the_wrong_shape_is_refused(arguments: dict[str, Any], shape: tuple[int, ...], needed: str) -> None:
    layer = TransposeConv2d(3, 4, **arguments)
    with pytest.raises(ShapeError, match="^" + re.escape(f"{layer} got an input of shape {shape}, it needs {needed}")):
        layer(np.zeros(shape))
    if needed.startswith("H"):
        h, w = (int(size) for size in re.findall(r"\d+", needed))
        assert 0 not in layer.output_shape((1, 3, h, w))
        for small in ((h - 1, w), (h, w - 1)):
            with pytest.raises(ShapeError):
                layer.output_shape((1, 3, *small))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("in_channels", 0), ("out_channels", 1.5), ("kernel_size", 0), ("stride", (1, 0)), ("padding", -1)),
        *(("dilation", 0), ("bias", 1), ("output_padding", -1), ("output_padding", 2), ("output_padding", (0, 2))),
    ],
)
def test_arguments_out_of_range_are_refused(name: str, value: Any) -> None:
    arguments: dict[str, Any] = {"in_channels": 3, "out_channels": 4, "kernel_size": 3, "stride": 2}
    with pytest.raises(ArgumentError, match=rf"^`{name}` is "):
        TransposeConv2d(**arguments | {name: value})
