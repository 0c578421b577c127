"""Networks built from tables."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from n2n_cli import nn
from n2n_cli.nn import (
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
from n2n_cli.nn.spec import LAYERS, MAX_NESTED, SpecError, build
from tests.nn.founding import founding
from tests.nn.unet import unet

CONV = {"type": "Conv2d", "in_channels": 3, "out_channels": 4, "kernel_size": 3}
KNOWN = (
    "Conv2d, TransposeConv2d, NearestUpsampling, PixelUnshuffle, PixelShuffle, MaxPool2d, ReLU, LeakyReLU, Sigmoid, "
    "Residual, SkipConcat, Sequential"
)
KNOWN_TICKED = "known: " + ", ".join(f"`{name}`" for name in KNOWN.split(", "))


def nested(depth: int) -> dict[str, Any]:
    """Table of a layer inside `depth` nested containers."""
    spec: dict[str, Any] = {"type": "ReLU"}
    for i in range(depth):
        spec = {"type": ("Residual", "Sequential")[i % 2], "layers": [spec]}
    return spec


def test_build_returns_the_layers_of_the_table() -> None:
    net = build(
        [
            CONV | {"stride": [2, 1], "padding": 1, "dilation": 2, "bias": False},
            {"type": "ReLU"},
            {"type": "NearestUpsampling", "scale_factor": [2, 3]},
            {"type": "NearestUpsampling"},
            {"type": "Sigmoid"},
        ]
    )
    assert isinstance(net, Sequential)
    wanted = (
        Conv2d(3, 4, 3, (2, 1), 1, 2, bias=False),
        ReLU(),
        NearestUpsampling((2, 3)),
        NearestUpsampling(2),
        Sigmoid(),
    )
    assert repr(net) == repr(Sequential(*wanted))
    assert [type(layer) for layer in net] == [type(layer) for layer in wanted]
    assert {p.data.dtype for _, p in net.named_parameters()} == {np.dtype(np.float32)}


def test_every_layer_is_registered_by_name() -> None:
    modules = [value for value in vars(nn).values() if isinstance(value, type) and issubclass(value, Module)]
    assert {module.__name__: module for module in modules if module is not Module} == LAYERS
    assert ", ".join(LAYERS) == KNOWN


def test_build_of_a_u_net(rng: np.random.Generator) -> None:
    wanted = Sequential(
        *(PixelUnshuffle(2), Conv2d(12, 6, 3, 1, 1), LeakyReLU(0.1)),
        SkipConcat(
            *(MaxPool2d(2), Conv2d(6, 7, 3, 1, 1), ReLU()),
            SkipConcat(
                Conv2d(7, 8, 3, 2, 1),
                Residual(Conv2d(8, 8, 3, 1, 1), ReLU(), Conv2d(8, 8, 3, 1, 1)),
                *(LeakyReLU(), TransposeConv2d(8, 5, 2, 2)),
            ),
            *(NearestUpsampling(2), Conv2d(12, 6, 3, 1, 1), ReLU()),
        ),
        *(Conv2d(12, 12, 3, 1, 1), PixelShuffle(2), Sigmoid()),
    )
    net = unet(rng, np.float32)
    assert repr(net) == repr(wanted)
    assert {p.data.dtype for _, p in net.named_parameters()} == {np.dtype(np.float32)}
    assert net.output_shape((5, 3, 24, 16)) == (5, 3, 24, 16)


def test_nesting_depth_has_a_limit() -> None:
    net = build([nested(MAX_NESTED)])
    x = np.ones((1, 1, 2, 2), np.float32)
    assert np.array_equal(copy.deepcopy(net).eval()(x), net(x))
    with pytest.raises(SpecError, match=f"^containers are nested more than {MAX_NESTED} deep$") as caught:
        build([{"type": "ReLU"}, nested(MAX_NESTED + 1)])
    assert caught.value.position == 1
    assert caught.value.key == ".".join(["layers[0]"] * MAX_NESTED) + ".layers"


@pytest.mark.parametrize("container", ["Residual", "SkipConcat", "Sequential"])
@pytest.mark.parametrize(
    ("inner", "key", "message"),
    [
        ({}, "layers", "needs the argument `layers`"),
        ({"layers": []}, "layers", "it must be a list of tables, one per layer"),
        ({"layers": {"type": "ReLU"}}, "layers", "it must be a list of tables, one per layer"),
        ({"layers": "ReLU"}, "layers", "it must be a list of tables, one per layer"),
        ({"layers": [{"type": "ReLU"}, "ReLU"]}, "layers", "it must be a list of tables, one per layer"),
        ({"layers": [{"type": "ReLU"}], "layer": 1}, "layer", "has no argument `layer`"),
        ({"layers": [{"type": "ReLU"}, {}]}, "layers[1]", "the layer has no `type`"),
        ({"layers": [{"type": "ReLU"}, {"type": "Rulu"}]}, "layers[1].type", "there is no layer of type 'Rulu'"),
        ({"layers": [{"type": "MaxPool2d", "kernel_size": 0}]}, "layers[0].kernel_size", "0 is not a whole number"),
        (
            {"layers": [{"type": "ReLU"}, {"type": "Residual", "layers": [CONV | {"stride": 0}]}]},
            "layers[1].layers[0].stride",
            "0 is not a whole number of at least 1",
        ),
    ],
)
def test_error_names_the_place_of_a_nested_table(container: str, inner: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)) as caught:
        build([{"type": "ReLU"}, {"type": container, **inner}])
    assert (caught.value.position, caught.value.key) == (1, key)


def test_hint_of_a_nested_table_is_kept() -> None:
    for layers, hint in (
        ([{"type": "Rulu"}], "did you mean `ReLU`?"),
        ([], 'for example `layers = [{ type = "ReLU" }]`'),
    ):
        with pytest.raises(SpecError) as caught:
            build([{"type": "Residual", "layers": [{"type": "Sequential", "layers": layers}]}])
        assert caught.value.hint == hint


def test_the_founding_network_has_its_71475_parameters(rng: np.random.Generator) -> None:
    net = founding(rng)
    assert sum(data.size for data, _ in net.param()) == 71_475
    assert net.output_shape((5, 3, 36, 24)) == (5, 3, 36, 24)


@pytest.mark.parametrize("make", [founding, unet])
def test_seed_gives_the_same_weights_in_both_dtypes(make: Callable[..., Sequential]) -> None:
    a, again, double, other = (
        make(np.random.default_rng(seed), dtype).state_dict()
        for seed, dtype in ((7, np.float32), (7, np.float32), (7, np.float64), (8, np.float32))
    )
    for name in a:
        assert (a[name].dtype.name, double[name].dtype.name) == ("float32", "float64")
        np.testing.assert_array_equal(a[name], again[name])
        np.testing.assert_array_equal(a[name], double[name].astype(np.float32))
        assert (a[name] != other[name]).any()


@pytest.mark.parametrize(
    ("spec", "key", "message", "hint"),
    [
        ({}, None, "the layer has no `type`", f"known types: {KNOWN}"),
        ({"type": "conv2D"}, "type", "there is no layer of type 'conv2D'", "did you mean `Conv2d`?"),
        ({"type": "Relu"}, "type", "there is no layer of type 'Relu'", "did you mean `ReLU`?"),
        ({"type": "leakyrelu"}, "type", "there is no layer of type 'leakyrelu'", "did you mean `LeakyReLU`?"),
        ({"type": "ConvTranspose2d"}, "type", "there is no layer of type", "did you mean `TransposeConv2d`?"),
        ({"type": "Zzz"}, "type", "there is no layer of type 'Zzz'", KNOWN_TICKED),
        ({"type": 3}, "type", "there is no layer of type 3", KNOWN_TICKED),
        (CONV | {"strides": 2}, "strides", "Conv2d has no argument `strides`", "did you mean `stride`?"),
        (
            CONV | {"rng": 1},
            "rng",
            "Conv2d has no argument `rng`",
            "known: `in_channels`, `out_channels`, `kernel_size`, `stride`, `padding`, `dilation`, `bias`",
        ),
        (CONV | {"dtype": "float64"}, "dtype", "Conv2d has no argument `dtype`", None),
        ({"type": "ReLU", "slope": 0.1}, "slope", "ReLU has no argument `slope`", "ReLU takes no arguments"),
        (
            {"type": "Conv2d", "in_channels": 3, "kernel_size": 3},
            "out_channels",
            "Conv2d needs the argument `out_channels`",
            None,
        ),
        (CONV | {"stride": 0}, "stride", "0 is not a whole number of at least 1", None),
        (CONV | {"padding": [1, -2]}, "padding", "-2 is not a whole number of at least 0", None),
        (CONV | {"kernel_size": [3, 3, 3]}, "kernel_size", "[3, 3, 3] is not one whole number, or two", None),
        (CONV | {"in_channels": "3"}, "in_channels", "'3' is not a whole number of at least 1", None),
        (CONV | {"bias": 0}, "bias", "0 is not true or false", None),
        ({"type": "PixelShuffle", "upscale_factor": [2, 2]}, "upscale_factor", "[2, 2] is not a whole number", None),
        ({"type": "LeakyReLU", "negative_slope": 2}, "negative_slope", "2 is not a number above 0 and at most 1", None),
        ({"type": "NearestUpsampling", "scale_factor": 1.5}, "scale_factor", "1.5 is not a whole number", None),
    ],
)
def test_table_that_describes_no_layer_is_refused(
    spec: dict[str, Any], key: str | None, message: str, hint: str | None
) -> None:
    with pytest.raises(SpecError) as caught:
        build([{"type": "ReLU"}, {"type": "Sigmoid"}, spec])
    error = caught.value
    assert (error.position, error.key, error.exit_code) == (2, key, 2)
    assert error.message.startswith(message)
    if hint is not None:
        assert error.hint == hint
