"""Contract of every layer, in one table."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest

from n2n_cli.errors import ShapeError
from n2n_cli.nn import Module
from n2n_cli.nn.functional import Array
from n2n_cli.nn.gradient_check import check_gradients
from tests.nn.cases import LAYERS, SHAPE, Make, gradient_for

pytestmark = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


@pytest.fixture
def layer(make: Make, rng: np.random.Generator) -> Module:
    return make(rng, np.float64)


@pytest.fixture
def x(rng: np.random.Generator) -> Array:
    return rng.normal(size=SHAPE)


def run(layer: Module, x: Array, grad_output: Array) -> list[Array]:
    """Output, input gradient and parameter gradients."""
    layer.zero_grad()
    return [layer(x), layer.backward(grad_output), *(grad.copy() for _, grad in layer.param())]


def test_layers_have_the_numeric_gradients(layer: Module, x: Array) -> None:
    check_gradients(layer, x)


def test_directional_derivative_by_complex_step(layer: Module, x: Array, rng: np.random.Generator) -> None:
    """Accurate to rounding: no difference is taken (Squire and Trapp 1998)."""
    direction, grad_output = rng.normal(size=x.shape), gradient_for(layer, x)
    layer(x)
    wanted = np.vdot(layer.backward(grad_output), direction)
    moved = layer.eval()(x + 1e-150j * direction)
    assert np.vdot(grad_output, moved.imag) / 1e-150 == pytest.approx(wanted, rel=1e-11)


def test_arguments_are_not_modified(layer: Module, x: Array) -> None:
    grad_output = gradient_for(layer, x)
    copies = x.copy(), grad_output.copy()
    run(layer, x, grad_output)
    assert np.array_equal(x, copies[0])
    assert np.array_equal(grad_output, copies[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_passes_through(make: Make, dtype: type, rng: np.random.Generator) -> None:
    layer = make(rng, dtype)
    x: Array = rng.normal(size=SHAPE).astype(dtype)
    assert {array.dtype for array in run(layer, x, gradient_for(layer, x))} == {np.dtype(dtype)}
    assert layer.eval()(x).dtype == dtype


def test_batch_equals_its_images_one_by_one(layer: Module, x: Array) -> None:
    grad_output = gradient_for(layer, x)
    y, grad, *parameter_grads = run(layer, x, grad_output)
    singly = [run(layer, x[i : i + 1], grad_output[i : i + 1]) for i in range(len(x))]
    assert y == pytest.approx(np.concatenate([one[0] for one in singly]), abs=1e-12)
    assert grad == pytest.approx(np.concatenate([one[1] for one in singly]), abs=1e-12)
    for i, parameter_grad in enumerate(parameter_grads, start=2):
        assert parameter_grad == pytest.approx(sum(one[i] for one in singly), abs=1e-12)


def test_empty_batch_gives_empty_output_and_zero_gradients(layer: Module, x: Array) -> None:
    y, grad, *parameter_grads = run(layer, x[:0], gradient_for(layer, x[:0]))
    assert y.shape == (0, *layer.output_shape(x.shape)[1:])
    assert grad.shape == (0, *x.shape[1:])
    assert not any(parameter_grad.any() for parameter_grad in parameter_grads)


def test_memory_layout_does_not_matter(layer: Module, x: Array) -> None:
    grad_output = gradient_for(layer, x)
    plain = run(layer, x, grad_output)
    for order in ((0, 2, 3, 1), (3, 2, 1, 0)):  # channels last, and all axes reversed
        back = np.argsort(order)
        strided = (np.ascontiguousarray(array.transpose(order)).transpose(back) for array in (x, grad_output))
        for got, wanted in zip(run(layer, *strided), plain, strict=True):
            assert got == pytest.approx(wanted, abs=1e-12)
    flipped = run(layer, x[:, :, ::-1, ::-1].copy()[:, :, ::-1, ::-1], grad_output)
    for got, wanted in zip(flipped, plain, strict=True):
        assert got == pytest.approx(wanted, abs=1e-12)


def test_parameter_gradients_accumulate_until_zeroed(layer: Module, x: Array) -> None:
    grad_output = gradient_for(layer, x)
    once = run(layer, x, grad_output)[1:]
    layer(x)
    again = layer.backward(grad_output)
    assert np.array_equal(again, once[0])
    for (_, grad), wanted in zip(layer.param(), once[1:], strict=True):
        assert wanted.all()
        assert grad == pytest.approx(2 * wanted, rel=1e-12)
    layer.zero_grad()
    assert not any(grad.any() for _, grad in layer.param())


def test_state_dict_round_trip(make: Make, layer: Module, x: Array) -> None:
    other = make(np.random.default_rng(2), np.float64)
    if layer.state_dict():
        assert not np.allclose(other(x), layer(x))
    other.load_state_dict(layer.state_dict())
    assert np.array_equal(other(x), layer(x))


def test_eval_mode_has_the_same_output_and_keeps_nothing(layer: Module, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 40, 50))
    wanted = layer(x)
    layer(x)
    tracemalloc.start()
    layer.eval()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assert np.array_equal(layer(x), wanted)
        assert tracemalloc.get_traced_memory()[0] - before < x.nbytes / 10
    finally:
        tracemalloc.stop()


def test_backward_frees_what_forward_kept(make: Make, layer: Module, rng: np.random.Generator) -> None:
    if repr(layer) == "Sequential()":
        pytest.skip("keeps nothing")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        large: Array = rng.normal(size=(2, 3, 40, 50))
        y = layer(large)
        layer.backward(y)
        del large, y
        assert tracemalloc.get_traced_memory()[0] - before < 20_000  # bytes; one array takes 96_000 or more
    finally:
        tracemalloc.stop()


def test_output_gradient_of_the_wrong_shape_is_refused(layer: Module, x: Array) -> None:
    if repr(layer) == "Sequential()":
        pytest.skip("passes every gradient on")
    needed = layer.output_shape(x.shape)
    for wrong in ((needed[0], *needed[2:]), (*needed[:3], needed[3] + 1), (1, *needed[1:])):
        layer(x)
        with pytest.raises(ShapeError, match=re.escape(f"got an output gradient of shape {wrong}, it needs {needed}")):
            layer.backward(np.zeros(wrong))
