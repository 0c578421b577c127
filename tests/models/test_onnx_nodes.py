"""Every layer as ONNX nodes, compared with the layer itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.models.onnx_file import onnx_model
from n2n_cli.models.onnx_nodes import UnknownLayerError
from n2n_cli.nn import Conv2d, MaxPool2d, Module, ReLU, Residual, Sequential, TransposeConv2d
from n2n_cli.nn.functional import Array, Pair, Shape
from n2n_cli.nn.spec import LAYERS as REGISTERED
from tests.nn.cases import CONV_CASES, LAYERS, SHAPE, Make, pairs, some_examples
from tests.nn.unet import unet

pytestmark = pytest.mark.onnx


@pytest.fixture(scope="module", autouse=True)
def _installed(onnxruntime: Any) -> None:
    """Skip the tests of this file if ONNX Runtime is not installed."""


def outputs(network: Module, x: Array) -> tuple[Array, Array]:
    """Outputs of a network and of ONNX Runtime."""
    import onnxruntime

    content = onnx_model(network, x.shape[1], shape=x.shape).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"noisy": x})
    return network(x), y


def check(network: Module, shape: Shape) -> None:
    ours, theirs = outputs(network, np.random.default_rng(1).normal(size=shape).astype(np.float32))
    assert theirs.dtype == np.float32
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_layer_equals_onnx_runtime(make: Make, rng: np.random.Generator) -> None:
    check(make(rng, np.float32), SHAPE)


def test_table_has_every_layer_of_a_configuration(rng: np.random.Generator) -> None:
    def kinds(module: Module) -> set[type[Module]]:
        return {type(module)}.union(*(kinds(child) for _, child in module.children()))

    tested = set().union(*(kinds(make(rng, np.float32)) for make in LAYERS.values()))
    assert set(REGISTERED.values()) <= tested


@pytest.mark.parametrize(("arguments", "shape"), CONV_CASES.values(), ids=CONV_CASES)
def test_convolution_equals_onnx_runtime(arguments: dict[str, Any], shape: Shape, rng: np.random.Generator) -> None:
    check(Conv2d(3, 4, **arguments, rng=rng), shape)


@some_examples
@given(pairs(1, 4), pairs(1, 4), pairs(0, 3), pairs(0, 3), pairs(1, 3), pairs(0, 5))
def test_transposed_convolution_equals_onnx_runtime(
    kernel_size: Pair, stride: Pair, padding: Pair, more: Pair, dilation: Pair, size: Pair
) -> None:
    output_padding = [min(more[a], max(stride[a], dilation[a]) - 1) for a in (0, 1)]
    rng = np.random.default_rng(0)
    layer = TransposeConv2d(3, 4, kernel_size, stride, padding, output_padding, dilation=dilation, rng=rng)
    reach = [dilation[a] * (kernel_size[a] - 1) + 1 + output_padding[a] - 2 * padding[a] for a in (0, 1)]
    check(layer, (2, 3, *(size[a] + max(1, 1 - (reach[a] - 1) // stride[a]) for a in (0, 1))))


@some_examples
@given(pairs(1, 4), pairs(1, 4), pairs(0, 5), st.integers(1, 3))
def test_max_pooling_equals_onnx_runtime(kernel_size: Pair, stride: Pair, more: Pair, channels: int) -> None:
    check(MaxPool2d(kernel_size, stride), (2, channels, kernel_size[0] + more[0], kernel_size[1] + more[1]))


def test_network_of_every_layer_equals_onnx_runtime(rng: np.random.Generator) -> None:
    check(unet(rng, np.float32), (2, 3, 16, 24))


def test_float16_weights_are_computed_in_float32(rng: np.random.Generator) -> None:
    network = unet(rng, np.float32)
    for data, _ in network.param():
        data[...] = data.astype(np.float16)
    x = rng.random((1, 3, 16, 16), dtype=np.float32)
    whole, half = (onnx_model(network, 3, shape=x.shape, half=half).SerializeToString() for half in (False, True))
    assert len(half) < 0.65 * len(whole)
    import onnxruntime

    (y,) = onnxruntime.InferenceSession(half, providers=["CPUExecutionProvider"]).run(None, {"noisy": x})
    np.testing.assert_allclose(y, network(x), rtol=0, atol=1e-5)


class Doubled(ReLU):
    """Subclass with another output."""

    def forward(self, x: Array) -> Array:
        return 2 * super().forward(x)


def test_user_s_layer_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(UnknownLayerError, match=r"^the layer `Doubled` cannot be written as ONNX: ") as caught:
        onnx_model(Sequential(Residual(Doubled())), 3)
    assert caught.value.hint is not None
    assert "Conv2d, TransposeConv2d" in caught.value.hint
