"""Kernels of containers: whole networks of nested ones."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli import engine
from n2n_cli.engine.kernel import Kernel
from n2n_cli.engine.pool import Pool, using
from n2n_cli.nn import MSE, Conv2d, MaxPool2d, ReLU, Residual, Sequential
from n2n_cli.nn.functional import Array
from tests.engine.compiled import Compiled, compiled
from tests.nn.unet import unet


def nested(kernel: Kernel) -> list[Kernel]:
    """A kernel and all kernels inside it."""
    return [kernel, *(inner for child in kernel.children() for inner in nested(child))]


def test_modules_in_containers_have_their_kernels(rng: np.random.Generator) -> None:
    kinds = [type(kernel).__name__ for kernel in nested(engine.kernel_of(unet(rng)))]
    assert {"MaxPoolKernel", "ColumnConv", "SkipConcatKernel", "DoubledConv", "ResidualKernel"} < set(kinds)
    assert {"LeakyReLUKernel", "TransposeConvKernel"} < set(kinds)
    assert "PlainKernel" not in kinds


def test_every_kernel_follows_the_mode(rng: np.random.Generator) -> None:
    network = engine.kernel_of(unet(rng))
    for mode in (True, False, True):
        network.train(mode)
        assert {kernel.training for kernel in nested(network)} == {mode}


def test_nothing_is_kept_before_what_learns() -> None:
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


def test_memory_is_the_pool_s_through_a_whole_u_net(rng: np.random.Generator) -> None:
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


def test_threads_do_not_change_the_gradients_of_a_u_net(rng: np.random.Generator) -> None:
    x, target = rng.uniform(size=(2, 6, 3, 16, 16)).astype(np.float32)
    results = []
    for threads in (1, 2):
        net = unet(np.random.default_rng(3), np.float32)
        replicas = engine.compile(net, threads=threads)
        losses = [replicas.accumulate(x, target, MSE()) for _ in range(3)]  # the second and third on tape
        results.append([np.array(losses), *(grad for _, grad in net.param())])
    assert all(np.array_equal(one, other) for one, other in zip(*results, strict=True))
