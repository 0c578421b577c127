"""Compare fused kernels with the plain layers."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from n2n_cli.engine import winograd as fast_winograd
from n2n_cli.engine.fused_conv import Shared
from n2n_cli.engine.fusion import fuse
from n2n_cli.engine.pool import Pool, using
from n2n_cli.errors import ShapeError
from n2n_cli.nn import Conv2d, Module, NearestUpsampling, ReLU, Sequential, Sigmoid
from n2n_cli.nn.functional import Array, Pair, Shape
from tests.engine.compiled import Compiled, compiled
from tests.nn.cases import pairs, some_examples
from tests.nn.founding import founding

OUTPUT_ERROR, GRADIENT_ERROR = 2e-6, 1e-5  # in float32, relative to the largest value


def conv(c_in: int, c_out: int, kernel_size: Any = 3, stride: Any = 1, padding: Any = 1, **more: Any) -> Conv2d:
    return Conv2d(c_in, c_out, kernel_size, stride, padding, rng=np.random.default_rng(3), **more)


def kinds_of(modules: list[Module]) -> list[tuple[int, str]]:
    """Pairs of a kernel's last module number and its class name."""
    return [(last, type(kernel).__name__) for last, kernel in fuse(modules, Shared())]


def test_kernels_of_the_founding_network(rng: np.random.Generator) -> None:
    assert kinds_of(list(founding(rng))) == [
        (1, "ColumnConv"),
        (3, "ColumnConv"),
        (6, "DoubledConv"),
        (9, "DoubledConv"),
        (10, "BorderedNarrowConv"),
        (11, "SigmoidKernel"),
    ]


@pytest.mark.parametrize(
    ("modules", "wanted"),
    [
        ([], []),
        ([ReLU()], [(0, "ReLUKernel")]),
        ([conv(3, 4), Sigmoid()], [(0, "ColumnConv"), (1, "SigmoidKernel")]),
        ([NearestUpsampling(3), conv(3, 4), ReLU(), ReLU()], [(2, "UpsampledConv"), (3, "ReLUKernel")]),
        ([NearestUpsampling(2), conv(3, 4, 5, padding=2)], [(1, "UpsampledConv")]),
        ([NearestUpsampling(2), conv(3, 4, stride=2)], [(0, "UpsamplingKernel"), (1, "ColumnConv")]),
        ([NearestUpsampling(2), conv(3, 4, padding=0)], [(0, "UpsamplingKernel"), (1, "ColumnConv")]),
        ([NearestUpsampling(2), ReLU(), conv(3, 4)], [(0, "UpsamplingKernel"), (1, "ReLUKernel"), (2, "ColumnConv")]),
        ([NearestUpsampling(2)], [(0, "UpsamplingKernel")]),
        ([conv(17, 16)], [(0, "NarrowConv")]),
        ([conv(17, 17)], [(0, "WinogradConv")]),
        ([conv(17, 8), ReLU()], [(1, "ColumnConv")]),
        ([conv(8, 8)], [(0, "ColumnConv")]),
        ([conv(17, 8, stride=2)], [(0, "ColumnConv")]),
        ([conv(32, 33)], [(0, "WinogradConv")]),
        ([conv(33, 32, padding=(0, 2)), ReLU(), ReLU()], [(1, "WinogradConv"), (2, "ReLUKernel")]),
        ([conv(32, 32, padding=3)], [(0, "ColumnConv")]),
        ([conv(32, 32, padding=2, dilation=2)], [(0, "RowConv")]),
        ([conv(32, 32, (3, 5), padding=1)], [(0, "RowConv")]),
        ([conv(32, 32, stride=(1, 2))], [(0, "ColumnConv")]),
        ([conv(16, 16)], [(0, "WinogradConv")]),
        ([conv(16, 17, (2, 3)), ReLU(), Sigmoid()], [(1, "RowConv"), (2, "SigmoidKernel")]),
        ([conv(15, 16)], [(0, "ColumnConv")]),  # rows of 45 values
        ([conv(16, 15)], [(0, "ColumnConv")]),
        ([conv(48, 48, (2, 1), padding=0)], [(0, "RowConv")]),
        ([conv(48, 48, (1, 3), padding=0)], [(0, "ColumnConv")]),
        ([conv(16, 16, stride=(2, 1))], [(0, "ColumnConv")]),
        ([conv(16, 16, stride=(1, 2))], [(0, "ColumnConv")]),
        ([conv(16, 16, padding=2, dilation=2)], [(0, "RowConv")]),
        ([conv(16, 16, padding=(2, 4), dilation=(1, 2))], [(0, "RowConv")]),
        ([conv(16, 16, padding=(3, 2))], [(0, "ColumnConv")]),  # padding wider than the kernel's reach
        ([conv(16, 16, padding=(2, 3))], [(0, "ColumnConv")]),
        ([conv(18, 8)], [(0, "NarrowConv")]),
        ([conv(24, 8, padding=0)], [(0, "ColumnConv")]),
        ([conv(17, 8, dilation=2)], [(0, "ColumnConv")]),
        ([conv(17, 8, padding=(1, 0))], [(0, "ColumnConv")]),
        ([conv(17, 8, padding=(0, 1))], [(0, "ColumnConv")]),
        ([NearestUpsampling((2, 3)), conv(3, 4)], [(1, "UpsampledConv")]),
        ([NearestUpsampling(2), conv(3, 4)], [(1, "DoubledConv")]),
        ([NearestUpsampling(2), conv(3, 4, 2, padding=0)], [(0, "UpsamplingKernel"), (1, "ColumnConv")]),
        ([NearestUpsampling(2), conv(3, 4, dilation=2)], [(0, "UpsamplingKernel"), (1, "ColumnConv")]),
        ([NearestUpsampling(2), NearestUpsampling(2), conv(3, 4)], [(0, "UpsamplingKernel"), (2, "DoubledConv")]),
        ([ReLU(), conv(3, 4), ReLU()], [(0, "ReLUKernel"), (2, "ColumnConv")]),
        ([Sequential(conv(3, 4)), ReLU()], [(0, "Chain"), (1, "ReLUKernel")]),
    ],
    ids=str,
)
def test_modules_are_fused(modules: list[Module], wanted: list[tuple[int, str]]) -> None:
    assert kinds_of(modules) == wanted


def run(modules: Sequence[Module | Compiled], x: Array, grad_output: Array) -> list[Array]:
    """Output, input gradient and parameter gradients, module by module."""
    y = x
    for module in modules:
        module.train()
        for _, grad in module.param():
            grad.fill(0)
        y = module(y)
    for module in reversed(modules):
        grad_output = module.backward(grad_output)
    return [y, grad_output, *(grad.copy() for module in modules for _, grad in module.param())]


def check(modules: list[Module], shape: Shape, dtype: DTypeLike, seed: int = 0, rounding: float = 1) -> None:
    """Compare a compiled Sequential with its modules, with and without a pool."""
    rng = np.random.default_rng(seed)
    net = compiled(*modules)
    x = rng.normal(size=shape).astype(dtype)
    grad_output = rng.normal(size=net.output_shape(shape)).astype(dtype)
    wanted = run(modules, x, grad_output)
    given_x, given_grad = x.copy(), grad_output.copy()
    pool = Pool()
    for round_ in range(3):
        with using(pool if round_ else Pool()):
            got = run([net], x, grad_output)
            for i, (one, plain) in enumerate(zip(got, wanted, strict=True)):
                assert one.dtype == dtype
                assert one.shape == plain.shape
                tolerance = 1e-12 if dtype == np.float64 else (GRADIENT_ERROR if i else OUTPUT_ERROR)
                scale = max(float(np.abs(plain).max(initial=0)), 0.1 if plain.size < 10 else 1e-30)  # sums may cancel
                assert np.abs(one - plain).max(initial=0) <= rounding * tolerance * scale, i
    with using(pool):
        assert np.array_equal(net.eval()(x), got[0])
        net.train()
        net.zero_grad()
        net(x)
        net.accumulate(grad_output)
    for (_, grad), same in zip(net.param(), got[2:], strict=True):
        assert np.array_equal(grad, same)
    assert np.array_equal(x, given_x)
    assert np.array_equal(grad_output, given_grad)


both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@both_dtypes
def test_founding_network_equals_plain_layers(dtype: DTypeLike, rng: np.random.Generator) -> None:
    check(list(founding(rng, dtype)), (3, 3, 36, 24), dtype)


@both_dtypes
@given(
    channels=pairs(1, 12),
    kernel_size=pairs(1, 4),
    stride=pairs(1, 3),
    padding=pairs(0, 3),
    dilation=pairs(1, 3),
    extra=pairs(0, 6),
    bias=st.booleans(),
    relu=st.booleans(),
    seed=st.integers(0, 99),
)
@some_examples
def test_random_convolutions_equal_plain_layers(
    dtype: DTypeLike,
    channels: Pair,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    extra: Pair,
    bias: bool,
    relu: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    layer = Conv2d(*channels, kernel_size, stride, padding, dilation, bias, rng=rng, dtype=dtype)
    size = (max(1, dilation[a] * (kernel_size[a] - 1) + 1 - 2 * padding[a]) + extra[a] for a in (0, 1))
    check([layer, *([ReLU()] if relu else [])], (2, channels[0], *size), dtype, seed)


@both_dtypes
@given(
    channels=pairs(16, 24),
    kernel_size=st.tuples(st.integers(2, 4), st.integers(3, 4)),
    less=pairs(0, 3),
    dilation=pairs(1, 3),
    extra=pairs(0, 6),
    bias=st.booleans(),
    relu=st.booleans(),
    seed=st.integers(0, 99),
)
@some_examples
def test_convolutions_by_row_equal_plain_layers(
    dtype: DTypeLike,
    channels: Pair,
    kernel_size: Pair,
    less: Pair,
    dilation: Pair,
    extra: Pair,
    bias: bool,
    relu: bool,
    seed: int,
) -> None:
    assume((kernel_size, dilation) != ((3, 3), (1, 1)))  # computed in Winograd's form
    rng = np.random.default_rng(seed)
    reach = [dilation[a] * (kernel_size[a] - 1) for a in (0, 1)]
    padding = (max(0, reach[0] - less[0]), max(0, reach[1] - less[1]))  # at most the kernel's reach
    layer = Conv2d(*channels, kernel_size, 1, padding, dilation, bias, rng=rng, dtype=dtype)
    assert kinds_of([layer]) == [(0, "RowConv")]
    size = (max(1, reach[a] + 1 - 2 * padding[a]) + extra[a] for a in (0, 1))
    check([layer, *([ReLU()] if relu else [])], (2, channels[0], *size), dtype, seed)


@both_dtypes
@given(
    channels=pairs(17, 24),
    n=st.integers(1, 3),
    size=pairs(1, 9),
    padding=pairs(0, 2),
    bias=st.booleans(),
    relu=st.booleans(),
    seed=st.integers(0, 99),
)
@example(channels=(17, 18), n=1, size=(1, 2), padding=(1, 2), bias=True, relu=False, seed=0)
@some_examples
def test_winograd_convolutions_equal_plain_layers(
    dtype: DTypeLike, channels: Pair, n: int, size: Pair, padding: Pair, bias: bool, relu: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    layer = Conv2d(*channels, 3, padding=padding, bias=bias, rng=rng, dtype=dtype)
    assert kinds_of([layer]) == [(0, "WinogradConv")]
    least = (max(size[a], 3 - 2 * padding[a]) for a in (0, 1))
    check([layer, *([ReLU()] if relu else [])], (n, channels[0], *least), dtype, seed, rounding=10)


@both_dtypes
@given(
    channels=st.tuples(st.integers(17, 20), st.integers(1, 8)),
    half=pairs(0, 3),
    size=pairs(1, 30),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
@example(channels=(17, 2), half=(3, 3), size=(2, 2), bias=True, seed=0)  # taps that read only padding
@example(channels=(17, 2), half=(1, 1), size=(9, 19), bias=True, seed=0)  # 3 * 9 * 19 = 512 + 1 pixels
@some_examples
def test_convolutions_with_few_outputs_equal_plain_layers(
    dtype: DTypeLike, channels: Pair, half: Pair, size: Pair, bias: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    kernel_size = (2 * half[0] + 1, 2 * half[1] + 1)
    layer = Conv2d(*channels, kernel_size, padding=half, bias=bias, rng=rng, dtype=dtype)
    assert kinds_of([layer]) == [(0, "NarrowConv")]
    check([layer], (3, channels[0], *size), dtype, seed)


@both_dtypes
@given(
    channels=pairs(1, 8),
    scale_factor=st.sampled_from(((2, 2), (1, 2), (3, 2), (4, 4))),
    half=st.sampled_from(((1, 1), (0, 1), (2, 1), (3, 2))),
    size=pairs(1, 6),
    bias=st.booleans(),
    relu=st.booleans(),
    seed=st.integers(0, 99),
)
@some_examples
def test_convolutions_of_an_upsampled_image_equal_plain_layers(
    dtype: DTypeLike, channels: Pair, scale_factor: Pair, half: Pair, size: Pair, bias: bool, relu: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    kernel_size = (2 * half[0] + 1, 2 * half[1] + 1)
    layer = Conv2d(*channels, kernel_size, padding=half, bias=bias, rng=rng, dtype=dtype)
    modules: list[Module] = [NearestUpsampling(scale_factor), layer]
    check([*modules, *([ReLU()] if relu else [])], (2, channels[0], *size), dtype, seed)


@both_dtypes
@given(
    channels=st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(17, 20), st.integers(1, 8)),
    n=st.integers(1, 7),
    size=pairs(1, 6),
    bias=st.booleans(),
    relu=st.tuples(st.booleans(), st.booleans()),
    seed=st.integers(0, 99),
)
@example(channels=(2, 3, 17, 2), n=1, size=(1, 1), bias=True, relu=(False, False), seed=0)
@some_examples
def test_decoders_with_a_shared_border_equal_plain_layers(
    dtype: DTypeLike,
    channels: tuple[int, int, int, int],
    n: int,
    size: Pair,
    bias: bool,
    relu: tuple[bool, bool],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    first, second, third = (
        Conv2d(*widths, 3, padding=1, bias=bias, rng=rng, dtype=dtype) for widths in itertools.pairwise(channels)
    )
    modules: list[Module] = [NearestUpsampling(2), first, *([ReLU()] if relu[0] else [])]
    modules += [NearestUpsampling(2), second, *([ReLU()] if relu[1] else [])]
    modules.append(third)
    kinds = ["DoubledConv", "DoubledConv", "BorderedNarrowConv"]
    assert [kind for _, kind in kinds_of(modules)] == kinds
    check(modules, (n, channels[0], *size), dtype, seed)


@pytest.mark.parametrize("windows", [1, 3, 6, 100])
@pytest.mark.parametrize("rows", [1, 2])
def test_winograd_convolutions_in_blocks_equal_plain_layers(
    windows: int, rows: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_winograd, "_VALUES_AT_ONCE", windows * 36 * 17)
    monkeypatch.setattr(fast_winograd, "_ROWS_AT_ONCE", rows)
    layer = conv(16, 17, dtype=np.float64)
    x = rng.normal(size=(5, 16, 11, 18))
    wanted = layer(x)
    np.testing.assert_allclose(compiled(layer).eval()(x), wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())


@given(n=st.integers(1, 4), start=st.integers(0, 5), size=pairs(1, 40), at_once=st.integers(1, 50))
def test_winograd_blocks_cover_every_output_once(n: int, start: int, size: Pair, at_once: int) -> None:
    filled = np.zeros((n, 4 * start + size[0], size[1]), int)
    for block in fast_winograd._blocks(n, 4 * start, *filled.shape[1:], at_once):
        filled[block] += 1
        assert block[1].start % 4 == block[2].start % 4 == 0
    assert (filled[:, : 4 * start] == 0).all()
    assert (filled[:, 4 * start :] == 1).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_winograd_convolutions_compute_in_the_weights_dtype(dtype: DTypeLike, rng: np.random.Generator) -> None:
    layer = conv(16, 17, dtype=np.float64)
    x = (rng.uniform(size=(1, 16, 9, 10)) * 200).astype(dtype)
    wanted = layer(x)
    np.testing.assert_allclose(compiled(layer)(x), wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("at_once", [0, 1, 2, 5, 100])
def test_images_in_one_matrix_product(
    n: int, at_once: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("n2n_cli.engine.products.small_product", lambda: at_once * 7 * 2 * 3 * 2 * 4)
    check([NearestUpsampling(2), conv(3, 4, dtype=np.float64)], (n, 3, 5, 6), np.float64)


def test_float32_error_of_wide_layers_against_float64(rng: np.random.Generator) -> None:
    """Check the rounding error at the founding network's widths.

    Its sums are long.
    """
    for modules in ([NearestUpsampling(2), conv(64, 48)], [conv(48, 64, stride=2)], [conv(32, 3)]):
        x = rng.normal(size=(2, modules[-1].in_channels, 16, 20)).astype(np.float32)  # type: ignore[attr-defined]
        net = compiled(*modules)
        y = net(x)
        double = compiled(*(_in_float64(module) for module in modules))
        wanted = double(x.astype(np.float64))
        assert np.abs(y - wanted).max() <= OUTPUT_ERROR * np.abs(wanted).max()


def _in_float64(module: Module) -> Module:
    if not isinstance(module, Conv2d):
        return module
    twin = conv(
        module.in_channels, module.out_channels, module.kernel_size, module.stride, module.padding, dtype=np.float64
    )
    twin.load_state_dict(module.state_dict())
    return twin


KINDS: dict[str, list[Module]] = {
    "ColumnConv": [conv(3, 4, stride=2)],
    "RowConv": [conv(16, 17, (2, 3))],
    "NarrowConv": [conv(17, 2)],
    "WinogradConv": [conv(16, 17)],
    "UpsampledConv": [NearestUpsampling(3), conv(3, 4)],
    "DoubledConv": [NearestUpsampling(2), conv(3, 4)],
}
by_kind = pytest.mark.parametrize("modules", KINDS.values(), ids=KINDS)


def test_examples_cover_each_kernel() -> None:
    assert [kinds_of(modules)[0][1] for modules in KINDS.values()] == list(KINDS)


@by_kind
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64])
def test_inputs_of_another_dtype_give_the_plain_result(
    modules: list[Module], dtype: DTypeLike, rng: np.random.Generator
) -> None:
    x = rng.integers(0, 256, (2, modules[-1].in_channels, 5, 6)).astype(dtype)  # type: ignore[attr-defined]
    grad_output = rng.normal(size=Sequential(*modules).output_shape(x.shape)).astype(np.float32)
    wanted, got = run(modules, x, grad_output), run([compiled(*modules)], x, grad_output)
    assert got[0].dtype == wanted[0].dtype
    for one, plain in zip(got, wanted, strict=True):
        assert np.abs(one - plain).max() <= GRADIENT_ERROR * np.abs(plain).max()


@by_kind
def test_gradients_accumulate(modules: list[Module], rng: np.random.Generator) -> None:
    net = compiled(*modules)
    x = rng.normal(size=(2, modules[-1].in_channels, 5, 6)).astype(np.float32)  # type: ignore[attr-defined]
    net.zero_grad()
    for times in (1, 2):
        y = net(x)
        net.backward(np.ones_like(y))
        if times == 1:
            once = [grad.copy() for _, grad in net.param()]
    for (_, grad), other in zip(net.param(), once, strict=True):
        assert np.array_equal(grad, 2 * other)


@by_kind
def test_gradient_of_another_shape_is_refused(modules: list[Module]) -> None:
    net, channels = compiled(*modules), modules[-1].in_channels  # type: ignore[attr-defined]
    y = net(np.zeros((2, int(channels), 5, 8), np.float32))
    with pytest.raises(ShapeError, match=r"Conv2d.* got an output gradient"):
        net.backward(y.swapaxes(2, 3))


@by_kind
def test_empty_batch_gives_empty_output_and_zero_gradients(modules: list[Module]) -> None:
    x = np.zeros((0, modules[-1].in_channels, 5, 6), np.float32)  # type: ignore[attr-defined]
    net = compiled(*modules)
    net.zero_grad()
    y = net(x)
    assert y.shape == net.output_shape(x.shape)
    assert net.backward(y).shape == x.shape
    assert not any(grad.any() for _, grad in net.param())


@by_kind
def test_backward_without_forward_names_the_convolution(modules: list[Module]) -> None:
    net = compiled(*modules).eval()
    channels: int = modules[-1].in_channels  # type: ignore[attr-defined]
    y = net(np.zeros((1, channels, 5, 6), np.float32))
    with pytest.raises(RuntimeError) as caught:
        net.backward(y)
    assert repr(modules[-1]) in str(caught.value)
    net.train()


@pytest.mark.parametrize("shape", [(9, 4), (16, 16), (9, 1), (1, 9)])
def test_replaced_weights_are_used_and_not_written_to(shape: Pair, rng: np.random.Generator) -> None:
    layer = conv(*shape, 1, padding=0, bias=False)
    net, x = compiled(layer), rng.normal(size=(1, shape[0], 4, 5)).astype(np.float32)
    before = net(x)
    old, values = layer.weight.data, layer.weight.data.copy()
    layer.weight.data = old + 1
    assert not np.allclose(net(x), before)
    assert np.array_equal(old, values)
    layer.weight.data = old.astype(np.float64)
    assert net(x).dtype == np.float64
    assert net(x) == pytest.approx(before, rel=1e-5, abs=1e-6)


def test_nested_sequentials_equal_plain_layers(rng: np.random.Generator) -> None:
    inner = [conv(3, 4), ReLU()]
    check([Sequential(*inner), Sequential(), Sequential(Sequential(conv(4, 9)), ReLU())], (2, 3, 5, 6), np.float32)
    net = compiled(Sequential(*inner))
    net(np.zeros((1, 3, 5, 6), np.float32))
    with pytest.raises(ShapeError, match=r"layer 0: layer 1: ReLU\(\) got an output gradient"):
        net.accumulate(np.zeros((1, 4, 5, 7), np.float32))


@by_kind
def test_copy_has_its_own_transformed_weights(modules: list[Module], rng: np.random.Generator) -> None:
    network = Compiled(Sequential(*modules)).eval()
    x = rng.normal(size=(2, modules[-1].in_channels, 5, 6))  # type: ignore[attr-defined]
    before = network(x).copy()
    other = copy.deepcopy(network)
    for values, _ in other.param():
        values *= 2
    assert not np.allclose(other(x), before)
    np.testing.assert_array_equal(network(x), before)


def test_convolution_shared_by_two_compiled_networks(rng: np.random.Generator) -> None:
    conv, x = Conv2d(2, 3, 3, padding=1, rng=rng, dtype=np.float64), rng.normal(size=(1, 2, 4, 4))
    for scale in ((2, 3), (3, 2), (2, 2), (1, 1), (2, 3)):
        upsampling = NearestUpsampling(scale)
        np.testing.assert_allclose(compiled(upsampling, conv)(x), conv(upsampling(x)), atol=1e-12)


def test_results_of_earlier_calls_are_not_overwritten(rng: np.random.Generator) -> None:
    net = Compiled(founding(rng))
    inputs = rng.normal(size=(4, 1, 3, 8, 12))
    with using(Pool()):
        outputs = [net(x) for x in inputs]
        grads = [(net(x), net.backward(np.ones_like(x)))[1] for x in inputs]
        copies = [(y.copy(), grad.copy()) for y, grad in zip(outputs, grads, strict=True)]
        for x in inputs:
            net(x)
            net.backward(np.ones_like(x))
    for (y, _), (first, second) in zip(copies, itertools.pairwise([*outputs, outputs[0]]), strict=True):
        assert np.array_equal(y, first)
        assert not np.array_equal(y, second)
    for (_, copied), grad in zip(copies, grads, strict=True):
        assert np.array_equal(grad, copied)


def test_nan_passes_through_a_fused_relu(rng: np.random.Generator) -> None:
    net = compiled(conv(3, 4), ReLU())
    x = rng.normal(size=(1, 3, 5, 6)).astype(np.float32)
    x[0, 0, 2, 2] = np.nan
    assert np.isnan(net(x)[0, :, 2, 2]).all()


@pytest.mark.parametrize(
    ("modules", "shape", "message"),
    [
        ([ReLU(), NearestUpsampling(2), conv(3, 4), ReLU()], (1, 2, 5, 6), "layer 2: Conv2d(3, 4, .* got an input of"),
        ([NearestUpsampling(3), conv(3, 4)], (1, 2, 5, 6), "layer 1: Conv2d(3, 4, .* got an input of"),
        ([conv(9, 4)], (1, 2, 5, 6), "layer 0: Conv2d(9, 4, .* got an input of shape (1, 2, 5, 6), it needs (N, 9, H,"),
        ([conv(3, 4, 7), ReLU()], (1, 3, 4, 6), "layer 0: .* it needs H >= 5 and W >= 5"),
    ],
    ids=str,
)
def test_shape_error_names_the_module(modules: list[Module], shape: Shape, message: str) -> None:
    pattern = message.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ShapeError, match=pattern):
        compiled(*modules)(np.zeros(shape, np.float32))


def test_gradient_shape_error_names_the_module() -> None:
    net = compiled(conv(3, 4), ReLU())
    net(np.zeros((1, 3, 5, 6), np.float32))
    with pytest.raises(ShapeError, match=r"layer 1: ReLU\(\) got an output gradient of shape \(1, 4, 5, 7\)"):
        net.backward(np.zeros((1, 4, 5, 7), np.float32))
