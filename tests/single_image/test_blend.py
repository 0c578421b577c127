"""The module that mixes two denoisers; also with one that takes pictures of other channels."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.engine.bands import Counting
from n2n_cli.engine.replicas import Replicas
from n2n_cli.engine.tiling import apply
from n2n_cli.nn import Conv2d, Module, Residual, Sequential
from n2n_cli.nn.functional import Pair
from n2n_cli.single_image.blend import Blend
from n2n_cli.single_image.channels import OfChannels, for_channels
from tests.nn.unet import unet


def conv(channels: int, kernel_size: int, rng: np.random.Generator) -> Conv2d:
    return Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, rng=rng)


def network_of(channels: int, rng: np.random.Generator) -> Module:
    """A U-Net of RGB, or for gray what sees a little more than a pixel."""
    return unet(rng) if channels == 3 else Residual(conv(1, 3, rng), conv(1, 3, rng))


def test_a_blend_is_the_weighted_mean(rng: np.random.Generator) -> None:
    one, other = conv(2, 3, rng), Sequential(conv(2, 5, rng), conv(2, 1, rng))
    x = rng.random((2, 2, 9, 11), dtype=np.float32)
    blend = Blend(one, other, 0.3).eval()
    np.testing.assert_allclose(blend(x), 0.3 * one(x) + 0.7 * other(x), atol=1e-6)
    assert blend.input_span(4, 6, 0) == (2, 8)
    assert [name for name, _ in blend.named_parameters()][:2] == ["first.weight", "first.bias"]


@pytest.mark.parametrize("size", [(48, 72), (37, 50)])
def test_in_tiles_a_blend_is_the_same(size: Pair, rng: np.random.Generator) -> None:
    network = Blend(unet(rng), Residual(conv(3, 5, rng)), 0.6).eval()
    assert network.period(0) == unet(rng).period(0) > 1
    x = rng.random((1, 3, *size))
    whole = apply(Replicas(network), x, tile=200)
    np.testing.assert_allclose(apply(Replicas(network, threads=2), x, tile=8), whole, atol=1e-12)


@pytest.mark.parametrize(("own", "channels", "count"), [(1, 3, 1), (3, 1, 1), (3, 1, 2), (3, 3, 2)])
def test_in_bands_it_is_the_same(own: int, channels: int, count: int, rng: np.random.Generator) -> None:
    network = Blend(for_channels(network_of(channels, rng), own, channels), Residual(conv(own, 5, rng)), 0.6).eval()
    x = rng.random((count, own, 400, 176))
    replicas = Replicas(network, threads=2)
    np.testing.assert_allclose(replicas.in_bands(x), network(x), atol=1e-6)


@pytest.mark.parametrize(("own", "channels"), [(1, 3), (3, 1)])
def test_the_memory_of_bands_is_told_without_taking_it(own: int, channels: int, rng: np.random.Generator) -> None:
    network = Blend(OfChannels(network_of(channels, rng), own, channels), Residual(conv(own, 5, rng)), 0.6).eval()
    counting = Counting()
    network.in_bands(counting.empty((1, own, 40_000, 40_000)), counting)
    assert counting.memory > 3 * 4 * 40_000**2


@pytest.mark.parametrize("module", [Blend(Module(), Module(), 0.5), OfChannels(Module(), 1, 3)])
def test_there_is_no_way_back(module: Module) -> None:
    with pytest.raises(NotImplementedError, match="is for denoising alone"):
        module.backward(np.zeros((1, 1, 2, 2)))
