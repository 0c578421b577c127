"""Layer-by-layer computation in bands equals that of the whole image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from n2n_cli import engine
from n2n_cli.engine import bands
from n2n_cli.engine import winograd as fast_winograd
from n2n_cli.errors import ShapeError
from n2n_cli.models.self_ensemble import SelfEnsemble
from n2n_cli.nn import Conv2d, Module, NearestUpsampling, ReLU, Residual, Sequential, SkipConcat
from n2n_cli.nn.functional import Array, Pair
from n2n_cli.system.stopping import StopError
from tests.engine.compiled import executor_of
from tests.nn.cases import LAYERS, Make, geometries, pairs, some_examples
from tests.nn.founding import founding
from tests.nn.unet import unet


@pytest.fixture(autouse=True, params=[1, 3])
def rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Set bands to this many rows, or to the next number that a layer allows."""
    monkeypatch.setattr(bands, "LEAST_ROWS", request.param)
    monkeypatch.setattr(bands, "VALUES", 1)
    return int(request.param)


def assert_whole(network: Module, x: Array, threads: int = 2) -> None:
    wanted = network(x)
    found = engine.compile(network, threads=threads).in_bands(x)
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, atol=1e-5 if x.dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_every_layer_in_bands_equals_whole(make: Make, rng: np.random.Generator) -> None:
    layer = make(rng, np.float64)
    assert_whole(layer, rng.normal(size=(1, 3, 12, 12)))


@some_examples
@given(geometries(), pairs(1, 25), st.integers(1, 3))
def test_random_geometries_in_bands_equal_whole(network: Sequential, size: Pair, threads: int) -> None:
    x = np.random.default_rng(0).normal(size=(1, 1, *size))
    try:
        network.output_shape(x.shape)
    except ShapeError:
        reject()  # the image is too small for the network
    assert_whole(network, x, threads)


@pytest.mark.parametrize("padding", [0, 1, 2, (1, 0)])
@pytest.mark.parametrize("size", [(5, 6), (8, 7), (3, 3), (40, 9)])
def test_winograd_convolutions_in_bands_equal_whole(
    size: Pair, padding: int | Pair, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_winograd, "_VALUES_AT_ONCE", 1)  # many blocks
    network = Sequential(Conv2d(16, 17, 3, padding=padding, rng=rng), ReLU(), Conv2d(17, 17, 3, padding=1, rng=rng))
    assert_whole(network, rng.normal(size=(1, 16, *size)).astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_whole_networks_and_ensembles_in_bands(threads: int, dtype: DTypeLike, rng: np.random.Generator) -> None:
    x = rng.uniform(size=(1, 3, 24, 32)).astype(dtype)
    assert_whole(founding(rng, dtype), x, threads)
    assert_whole(unet(rng, dtype), x, threads)
    network = unet(rng, dtype)
    ensemble = SelfEnsemble(engine.kernel_of(network))
    ensemble.train(False)
    found = executor_of(ensemble, network, threads=threads).in_bands(x)
    np.testing.assert_allclose(found, ensemble(x), atol=1e-5 if dtype == np.float32 else 1e-12)


def test_convolutions_that_pass_on_a_border(rng: np.random.Generator) -> None:
    up = [NearestUpsampling(2), Conv2d(4, 5, 3, padding=1, rng=rng), ReLU()]
    network = Sequential(*up, NearestUpsampling(2), Conv2d(5, 17, 3, padding=1, rng=rng), Conv2d(17, 2, 3, padding=1))
    assert_whole(network, rng.normal(size=(1, 4, 6, 5)).astype(np.float32))


def test_residual_and_skip_without_modules(rng: np.random.Generator) -> None:
    x = rng.normal(size=(1, 2, 6, 5))
    kept = x.copy()
    assert_whole(Sequential(Residual(), SkipConcat(), Residual(ReLU()), Sequential()), x)
    np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize("threads", [1, 2])
def test_computation_can_be_stopped_between_bands(threads: int, rng: np.random.Generator) -> None:
    executor = engine.compile(Sequential(Conv2d(3, 3, 3, padding=1, rng=rng)), threads=threads)
    asked = 0

    def stop() -> None:
        nonlocal asked
        asked += 1
        if asked == 4:
            raise StopError

    executor.between = stop
    with pytest.raises(StopError):
        executor.in_bands(rng.normal(size=(1, 3, 40, 5)))
    assert asked < 10
