"""Self-ensemble: mean of a network's outputs over flips and rotations of an image."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli import engine
from n2n_cli.engine.tiling import apply
from n2n_cli.models.self_ensemble import SelfEnsemble
from n2n_cli.nn import Conv2d, Module, Sequential
from n2n_cli.nn.functional import Pair
from tests.engine.compiled import executor_of
from tests.nn.unet import unet


def ensemble_of(network: Module) -> SelfEnsemble:
    """Self-ensemble of a network, in eval mode."""
    ensemble = SelfEnsemble(engine.kernel_of(network))
    ensemble.train(False)
    return ensemble


def test_ensemble_is_equivariant_to_flips_and_rotations(rng: np.random.Generator) -> None:
    network = ensemble_of(Conv2d(2, 2, (3, 5), padding=(1, 2), rng=rng, dtype=np.float64))
    x = rng.normal(size=(2, 2, 7, 9))
    y = network(x)
    for number in range(8):
        flips = tuple(axis for axis, bit in ((2, 1), (3, 2)) if number & bit)
        turned, wanted = (np.flip(z, flips) for z in (x, y))
        if number & 4:
            turned, wanted = turned.swapaxes(2, 3), wanted.swapaxes(2, 3)
        np.testing.assert_allclose(network(turned), wanted, atol=1e-12)


def test_ensemble_is_the_mean_of_the_outputs(rng: np.random.Generator) -> None:
    conv = Conv2d(1, 1, 3, padding=1, rng=rng, dtype=np.float64)
    taps = conv.weight.data[0, 0]
    turned = [np.rot90(way, k) for way in (taps, taps.T) for k in range(4)]
    x = rng.normal(size=(1, 1, 6, 8))
    got = ensemble_of(conv)(x)
    conv.weight.data[0, 0] = np.mean(turned, axis=0)
    np.testing.assert_allclose(got, conv(x), atol=1e-12)


def test_ensemble_in_tiles_is_seamless(rng: np.random.Generator) -> None:
    inner = Sequential(Conv2d(2, 4, (1, 5), padding=(0, 2), rng=rng), Conv2d(4, 2, 3, padding=1, rng=rng))
    network = ensemble_of(inner)
    assert network.input_span(10, 20, 0) == network.input_span(10, 20, 1) == (7, 23)
    x = rng.random((1, 2, 40, 30), dtype=np.float32)
    np.testing.assert_allclose(apply(executor_of(network, inner), x, tile=8), network(x), atol=1e-6)


@pytest.mark.parametrize("size", [(48, 72), (37, 50)])
def test_ensemble_of_a_strided_network_in_tiles_is_seamless(size: Pair, rng: np.random.Generator) -> None:
    inner = unet(rng)
    network = ensemble_of(inner)
    assert network.period(0) == network.period(1) > 1
    x = rng.random((1, 3, *size))
    whole = apply(executor_of(network, inner), x, tile=200)
    np.testing.assert_allclose(apply(executor_of(network, inner, threads=2), x, tile=8), whole, atol=1e-12)
