"""Every kernel: the plain layer's results, memory of the pool, tape."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.engine.pool import Pool, using
from n2n_cli.nn import MSE, Conv2d, Sequential
from n2n_cli.nn.functional import Array
from tests.engine.compiled import Compiled, follow, replica_of
from tests.nn.cases import LAYERS, SHAPE, Make, gradient_for

pytestmark = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


@pytest.fixture
def x(rng: np.random.Generator) -> Array:
    return rng.normal(size=SHAPE)


def test_outputs_and_gradients_equal_those_of_the_plain_layer(make: Make, x: Array, rng: np.random.Generator) -> None:
    layer = make(rng, np.float64)
    kernel, grad_output = Compiled(layer), gradient_for(layer, x)
    results = []
    for run in (layer, kernel):
        layer.zero_grad()
        results.append([run(x), run.backward(grad_output), *(grad.copy() for _, grad in layer.param())])
    for got, wanted in zip(results[1], results[0], strict=True):
        assert got == pytest.approx(wanted, abs=1e-12 * max(1, np.abs(wanted).max()))
    assert kernel.eval()(x) == pytest.approx(layer.eval()(x), abs=1e-12)


def test_arrays_are_channels_last_and_from_the_pool(make: Make, x: Array, rng: np.random.Generator) -> None:
    network = make(rng, np.float64)
    if repr(network) == "Sequential()":
        pytest.skip("returns its input")
    layer = Compiled(network)
    x_nhwc, grad_output = (np.moveaxis(array, 1, -1).copy() for array in (x, gradient_for(network, x)))
    pool = Pool()
    with using(pool):
        y = layer(np.moveaxis(x_nhwc, -1, 1))
        grad = layer.backward(np.moveaxis(grad_output, -1, 1))
    for array in (y, grad):
        assert array.transpose(0, 2, 3, 1).flags.c_contiguous
        assert pool.find(array) is not None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_on_tape_equal_those_without(make: Make, dtype: type, rng: np.random.Generator) -> None:
    batches: Array = rng.normal(size=(6, *SHAPE)).astype(dtype)

    def passes(*, taped: bool) -> list[Array]:
        rng = np.random.default_rng(1)
        # The layer in front needs an input gradient; in a Sequential of its own it is not fused with the tested layer.
        network = Sequential(Sequential(Conv2d(3, 3, 1, rng=rng, dtype=dtype)), make(rng, dtype))
        target: Array = rng.normal(size=network.output_shape(SHAPE)).astype(dtype)
        replica, results = replica_of(network, taped_pixels=10_000 if taped else 0), []
        with using(replica.pool):
            for x in batches:
                for data, _ in network.param():
                    data += 0.01
                follow(replica, network)
                loss = replica.accumulate(x, target, MSE(), 0.5)
                results += [np.array(loss), replica.grads.copy(), replica(x).copy()]
            assert (replica.taped(batches[0]) is not None) == taped
        return results

    for one, other in zip(passes(taped=True), passes(taped=False), strict=True):
        assert np.array_equal(one, other)


def test_accumulate_gives_the_parameter_gradients_of_backward(make: Make, x: Array, rng: np.random.Generator) -> None:
    network = make(rng, np.float64)
    layer, grad_output = Compiled(network), gradient_for(network, x)
    layer(x)
    layer.backward(grad_output)
    wanted = [grad.copy() for _, grad in layer.param()]
    layer.zero_grad()
    layer(x)
    layer.accumulate(grad_output)
    for (_, grad), same in zip(layer.param(), wanted, strict=True):
        assert np.array_equal(grad, same)
    if repr(network) != "Sequential()":
        with pytest.raises(RuntimeError, match=r"backward\(\) needs a forward\(\)"):
            layer.backward(grad_output)
