"""Kernels of nested containers."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli import engine
from n2n_cli.engine.kernel import Kernel
from n2n_cli.engine.pool import Pool, using
from n2n_cli.nn import Conv2d, MaxPool2d, ReLU, Residual, Sequential
from n2n_cli.nn.functional import Array
from tests.engine.compiled import Compiled, compiled
from tests.nn.unet import unet


def nested(kernel: Kernel) -> list[Kernel]:
    """List a kernel and all kernels inside it."""
    return [kernel, *(inner for child in kernel.children() for inner in nested(child))]


def test_modules_in_containers_are_compiled(rng: np.random.Generator) -> None:
    kinds = [type(kernel).__name__ for kernel in nested(engine.kernel_of(unet(rng)))]
    assert {"MaxPoolKernel", "ColumnConv", "SkipConcatKernel", "DoubledConv", "ResidualKernel"} < set(kinds)
    assert {"LeakyReLUKernel", "TransposeConvKernel"} < set(kinds)
    assert "PlainKernel" not in kinds


def test_mode_reaches_every_kernel(rng: np.random.Generator) -> None:
    network = engine.kernel_of(unet(rng))
    for mode in (True, False, True):
        network.train(mode)
        assert {kernel.training for kernel in nested(network)} == {mode}


def test_layers_before_the_first_parameter_keep_nothing() -> None:
    class Start(ReLU):
        def backward(self, grad_output: Array) -> Array:
            raise AssertionError("nobody needs this gradient")

    start = Start()
    net = compiled(Residual(start, Sequential(MaxPool2d(1)), Conv2d(2, 2, 3, padding=1)), ReLU())
    y = net(np.ones((1, 2, 4, 5)))
    net.accumulate(np.ones_like(y))
    with pytest.raises(RuntimeError, match=r"needs a forward\(\)"):
        start.use_up()
    assert all(grad.any() for _, grad in net.param())


def test_u_net_s_output_lies_in_the_pool(rng: np.random.Generator) -> None:
    net, pool, x = Compiled(unet(rng, np.float32)), Pool(), rng.uniform(size=(1, 3, 16, 24)).astype(np.float32)
    before: list[Array] = []
    for _ in range(3):
        with using(pool):
            y = net(x)
            found = pool.find(y)
            results = [y.copy(), net.backward(np.ones_like(y)).copy()]
        assert found is not None
        for one, same in zip(results, before, strict=bool(before)):
            np.testing.assert_array_equal(one, same)
        before = results
        del y
