"""Networks from tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from n2n_cli.nn import Conv2d, NearestUpsampling, ReLU, Sequential, Sigmoid
from n2n_cli.nn.spec import LAYERS, SpecError, build, nearest
from tests.nn.founding import FOUNDING, founding

CONV = {"type": "Conv2d", "in_channels": 3, "out_channels": 4, "kernel_size": 3}


def test_build_gives_the_layers_that_are_written_down() -> None:
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


def test_every_layer_is_known_by_its_name() -> None:
    wanted = {"Conv2d": Conv2d, "NearestUpsampling": NearestUpsampling, "ReLU": ReLU, "Sigmoid": Sigmoid}
    assert wanted == LAYERS


def test_the_founding_network_has_its_71475_parameters(rng: np.random.Generator) -> None:
    net = founding(rng)
    assert sum(data.size for data, _ in net.param()) == 71_475
    assert net.output_shape((5, 3, 36, 24)) == (5, 3, 36, 24)


def test_one_seed_gives_one_start_in_both_dtypes() -> None:
    a, again, double, other = (
        build(FOUNDING, rng=np.random.default_rng(seed), dtype=dtype).state_dict()
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
        ({}, None, "the layer has no `type`", "known types: Conv2d, NearestUpsampling, ReLU, Sigmoid"),
        ({"type": "conv2D"}, "type", "there is no layer of type 'conv2D'", "did you mean `Conv2d`?"),
        ({"type": "Relu"}, "type", "there is no layer of type 'Relu'", "did you mean `ReLU`?"),
        (
            {"type": "Zzz"},
            "type",
            "there is no layer of type 'Zzz'",
            "known: `Conv2d`, `NearestUpsampling`, `ReLU`, `Sigmoid`",
        ),
        (
            {"type": 3},
            "type",
            "there is no layer of type 3",
            "known: `Conv2d`, `NearestUpsampling`, `ReLU`, `Sigmoid`",
        ),
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
        ({"type": "NearestUpsampling", "scale_factor": 1.5}, "scale_factor", "1.5 is not a whole number", None),
    ],
)
def test_a_table_that_describes_no_layer(spec: dict[str, Any], key: str | None, message: str, hint: str | None) -> None:
    with pytest.raises(SpecError) as caught:
        build([{"type": "ReLU"}, {"type": "Sigmoid"}, spec])
    error = caught.value
    assert (error.position, error.key, error.exit_code) == (2, key, 2)
    assert error.message.startswith(message)
    if hint is not None:
        assert error.hint == hint


def test_nearest() -> None:
    assert nearest("kernel", ["stride", "kernel_size"]) == "did you mean `kernel_size`?"
    assert nearest("zzz", ["stride", "kernel_size"]) == "known: `stride`, `kernel_size`"
