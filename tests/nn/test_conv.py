from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from n2n_cli.errors import ArgumentError, ShapeError
from n2n_cli.nn import Conv2d
from n2n_cli.nn.functional import Shape
from n2n_cli.nn.gradient_check import check_gradients
from tests.nn.cases import CONV_CASES

cases = pytest.mark.parametrize(("arguments", "shape"), CONV_CASES.values(), ids=CONV_CASES)


@cases
def test_gradients(arguments: dict[str, Any], shape: Shape, rng: np.random.Generator) -> None:
    layer = Conv2d(3, 4, **arguments, rng=rng, dtype=np.float64)
    check_gradients(layer, rng.normal(size=shape))


@cases
def test_forward_sums_over_kernel_taps(arguments: dict[str, Any], shape: Shape, rng: np.random.Generator) -> None:
    layer = Conv2d(3, 4, **arguments, rng=rng, dtype=np.float64)
    x = rng.normal(size=shape)
    y = layer(x)
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = layer.kernel_size, layer.stride, layer.padding, layer.dilation
    padded = np.zeros((shape[0], shape[1], shape[2] + 2 * ph, shape[3] + 2 * pw))
    padded[:, :, ph : ph + shape[2], pw : pw + shape[3]] = x
    for i, j in np.ndindex(y.shape[2:]):
        patch = padded[:, :, i * sh : i * sh + dh * (kh - 1) + 1 : dh, j * sw : j * sw + dw * (kw - 1) + 1 : dw]
        wanted = np.einsum("ncij,ocij->no", patch, layer.weight.data)
        if layer.bias is not None:
            wanted += layer.bias.data
        assert y[:, :, i, j] == pytest.approx(wanted, abs=1e-12)


def test_pixels_that_no_kernel_reaches_have_no_gradient(rng: np.random.Generator) -> None:
    layer = Conv2d(3, 4, 2, stride=3, rng=rng, dtype=np.float64)
    y = layer(rng.normal(size=(2, 3, 6, 8)))  # rows 2 and 5 and columns 2 and 5 lie between the kernels
    reached = (layer.backward(rng.normal(size=y.shape)) != 0).any(axis=(0, 1))
    assert reached.any(axis=1).tolist() == [True, True, False, True, True, False]
    assert reached.any(axis=0).tolist() == [True, True, False, True, True, False, True, True]


@pytest.mark.parametrize(
    "shape",
    [(2, 4, 5, 7), (2, 1, 5, 7), (3, 5, 7), (2, 3, 5, 7, 1), (5,), (2, 3, 0, 7), (2, 3, 5, 0), (2, 0, 5, 7)],
)
def test_input_of_the_wrong_shape_is_refused(shape: Shape) -> None:
    layer = Conv2d(3, 4, 3, padding=1)
    message = (
        "Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1)) "
        f"got an input of shape {shape}, it needs (N, 3, H, W)"
    )
    for call in (lambda: layer(np.zeros(shape)), lambda: layer.output_shape(shape)):
        with pytest.raises(ShapeError, match="^" + re.escape(message) + "$"):
            call()


@pytest.mark.parametrize(
    ("padding", "rows", "columns"), [(0, 7, 5), ((1, 0), 5, 5), ((0, 2), 7, 1), (1, 5, 3), (9, 1, 1)]
)
def test_input_smaller_than_the_kernel_is_refused(padding: Any, rows: int, columns: int) -> None:
    layer = Conv2d(3, 4, (4, 3), stride=(3, 2), padding=padding, dilation=2)
    assert layer(np.zeros((2, 3, rows, columns))).size > 0
    for shape in ((2, 3, rows - 1, columns), (2, 3, rows, columns - 1)):
        needed = "(N, 3, H, W)" if 0 in shape else f"H >= {rows} and W >= {columns}"
        with pytest.raises(ShapeError, match=re.escape(f"{layer} got an input of shape {shape}, it needs {needed}")):
            layer(np.zeros(shape))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"in_channels": 0}, "in_channels"),
        ({"out_channels": 2.5}, "out_channels"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"kernel_size": (3, 3, 3)}, "kernel_size"),
        ({"stride": (1, 0)}, "stride"),
        ({"padding": -1}, "padding"),
        ({"padding": "same"}, "padding"),
        ({"dilation": 0}, "dilation"),
        ({"bias": 1}, "bias"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(ArgumentError, match=f"^`{name}` is ") as caught:
        Conv2d(**{"in_channels": 3, "out_channels": 4, "kernel_size": 3} | arguments)
    assert caught.value.name == name


def test_conv2d_has_shapes_of_parameters_and_repr() -> None:
    layer = Conv2d(3, 4, (3, 2), 2, 1, (1, 5))
    assert {name: value.shape for name, value in layer.state_dict().items()} == {"weight": (4, 3, 3, 2), "bias": (4,)}
    assert repr(layer) == "Conv2d(3, 4, kernel_size=(3, 2), stride=(2, 2), padding=(1, 1), dilation=(1, 5))"
    unbiased = Conv2d(3, 4, 3, bias=False)
    assert list(unbiased.state_dict()) == ["weight"]
    assert repr(unbiased) == "Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), bias=False)"
