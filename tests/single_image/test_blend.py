"""The weighted mean of two denoisers, also with different numbers of channels."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli import engine
from n2n_cli.engine.bands import Counting
from n2n_cli.models.predictor import Predictor
from n2n_cli.nn import Conv2d, Module, Residual, Sequential
from n2n_cli.nn.functional import Pair
from n2n_cli.single_image.blend import Blend, blended
from tests.nn.unet import unet


def conv(channels: int, kernel_size: int, rng: np.random.Generator) -> Conv2d:
    return Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, rng=rng)


def network_of(channels: int, rng: np.random.Generator) -> Module:
    """A U-Net for RGB, or a small residual network for gray."""
    return unet(rng) if channels == 3 else Residual(conv(1, 3, rng), conv(1, 3, rng))


def test_blend_is_the_weighted_mean(rng: np.random.Generator) -> None:
    one, other = conv(2, 3, rng), Sequential(conv(2, 5, rng), conv(2, 1, rng))
    x = rng.random((2, 2, 9, 11), dtype=np.float32)
    blend = Blend(engine.kernel_of(one), engine.kernel_of(other), 0.3)
    np.testing.assert_allclose(blend(x), 0.3 * one(x) + 0.7 * other(x), atol=1e-6)
    assert blend.input_span(4, 6, 0) == (2, 8)


@pytest.mark.parametrize("size", [(48, 72), (37, 50)])
def test_blend_of_any_size_is_the_weighted_mean(size: Pair, rng: np.random.Generator) -> None:
    one, other = Predictor.of(unet(rng), threads=2), Predictor.of(Residual(conv(3, 5, rng)))
    x = rng.random((1, 3, *size))
    wanted = 0.6 * one.predict(x, margin=16) + 0.4 * other.predict(x, margin=16)
    np.testing.assert_allclose(blended(one, other, 0.6).predict(x, margin=16), wanted, atol=1e-6)


@pytest.mark.parametrize(("own", "channels", "count"), [(1, 3, 1), (3, 1, 1), (3, 1, 2), (3, 3, 2)])
def test_blend_in_bands_equals_whole(own: int, channels: int, count: int, rng: np.random.Generator) -> None:
    one = Predictor.of(network_of(channels, rng), threads=2).for_channels(own)
    executor = blended(one, Predictor.of(Residual(conv(own, 5, rng))), 0.6).executor
    x = rng.random((count, own, 400, 176))
    np.testing.assert_allclose(executor.in_bands(x), executor(x), atol=1e-6)


@pytest.mark.parametrize(("own", "channels"), [(1, 3), (3, 1)])
def test_memory_of_bands_is_counted_without_allocating_it(own: int, channels: int, rng: np.random.Generator) -> None:
    one = Predictor.of(network_of(channels, rng)).for_channels(own)
    kernel = blended(one, Predictor.of(Residual(conv(own, 5, rng))), 0.6).executor.kernel
    counting = Counting()
    kernel.in_bands(counting.empty((1, own, 40_000, 40_000)), counting)
    assert counting.memory > 3 * 4 * 40_000**2
