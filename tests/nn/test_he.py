from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.nn import Conv2d, LeakyReLU, ReLU, Residual, Sequential, SkipConcat, TransposeConv2d
from n2n_cli.nn.he import start_as_he


def conv(c_in: int, c_out: int) -> Conv2d:
    return Conv2d(c_in, c_out, 3, padding=1, rng=np.random.default_rng(0))


def test_each_convolution_is_initialised_for_the_activation_after_it(rng: np.random.Generator) -> None:
    layers: list[Conv2d | TransposeConv2d] = [
        conv(40, 50),
        conv(50, 50),
        conv(50, 60),
        conv(110, 70),
        TransposeConv2d(70, 80, 4, 2, 1),
    ]
    inner = Residual(layers[1], LeakyReLU(0.5))
    network = Sequential(layers[0], ReLU(), SkipConcat(inner, layers[2], ReLU()), layers[3], layers[4])
    start_as_he(network, rng=rng)
    wanted = [2 / (40 * 9), 2 / (1.25 * 50 * 9), 2 / (50 * 9), 1 / (110 * 9), 1 / (70 * 4 * 4 / 4)]
    for layer, variance in zip(layers, wanted, strict=True):
        assert layer.weight.data.var() == pytest.approx(variance, rel=0.05)
        assert abs(layer.weight.data.mean()) < 4 * np.sqrt(variance / layer.weight.data.size)
        assert layer.bias is not None
        assert not layer.bias.data.any()


def test_same_seed_gives_the_same_weights() -> None:
    networks = [Sequential(conv(3, 4), ReLU(), conv(4, 3)) for _ in range(3)]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        start_as_he(network, rng=np.random.default_rng(seed))
    first, again, other = (network.state_dict()["0.weight"] for network in networks)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
