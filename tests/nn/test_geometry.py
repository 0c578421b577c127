"""`step`, `period` and `input_span`, compared with what the layers compute."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from n2n_cli.errors import ShapeError
from n2n_cli.nn import (
    Conv2d,
    LeakyReLU,
    MaxPool2d,
    Module,
    NearestUpsampling,
    PixelShuffle,
    PixelUnshuffle,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SkipConcat,
    TransposeConv2d,
)
from tests.nn.founding import founding


def conv(kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Conv2d:
    return Conv2d(1, 1, kernel_size, stride, padding, dilation, rng=np.random.default_rng(0), dtype=np.float64)


def transposed(kernel_size: int, stride: int = 1, padding: int = 0, **more: Any) -> TransposeConv2d:
    rng = np.random.default_rng(0)
    return TransposeConv2d(1, 1, kernel_size, stride, padding, **more, rng=rng, dtype=np.float64)


def small_unet() -> Sequential:
    convs = (Conv2d(*cs, rng=np.random.default_rng(0), dtype=np.float64) for cs in ((4, 1, 3, 1, 1), (3, 4, 1)))
    inner = SkipConcat(conv(3, 2, 1), Residual(conv(3, 1, 1)), transposed(2, 2))
    last = Conv2d(2, 1, 3, 1, 1, rng=np.random.default_rng(0), dtype=np.float64)
    outer = SkipConcat(conv(2, 2), inner, NearestUpsampling(2), last)
    return Sequential(PixelUnshuffle(2), next(convs), SkipConcat(outer), next(convs), PixelShuffle(2))


# module, step and period along rows
CASES: dict[str, tuple[Module, Fraction, int]] = {
    "convolution": (conv(3), Fraction(1), 1),
    "stride and padding": (conv(3, 2, 1), Fraction(2), 2),
    "even kernel, stride of 3": (conv(4, 3, 2), Fraction(3), 3),
    "dilation": (conv(3, 1, 1, 3), Fraction(1), 1),
    "upsampling": (NearestUpsampling(3), Fraction(1, 3), 1),
    "ReLU": (ReLU(), Fraction(1), 1),
    "Sigmoid": (Sigmoid(), Fraction(1), 1),
    "down 3, up 2": (Sequential(conv(3, 3, 1), NearestUpsampling(2), conv(3)), Fraction(3, 2), 3),
    "up 2, down 3": (Sequential(NearestUpsampling(2), conv(4, 3, 1)), Fraction(3, 2), 3),
    "up 2, down 4": (Sequential(NearestUpsampling(2), conv(5, 4, 2)), Fraction(2), 2),
    "down 2, up 2": (Sequential(conv(3, 2, 1), Sequential(NearestUpsampling(2), conv(3, 1, 1))), Fraction(1), 2),
    "down 2, down 3, up 4": (Sequential(conv(2, 2), conv(3, 3), NearestUpsampling(4)), Fraction(3, 2), 6),
    "LeakyReLU": (LeakyReLU(), Fraction(1), 1),
    "pooling": (MaxPool2d(2), Fraction(2), 2),
    "pooling, windows overlapping": (MaxPool2d(3, 2), Fraction(2), 2),
    "pooling, windows apart": (MaxPool2d(2, 3), Fraction(3), 3),
    "unshuffle": (PixelUnshuffle(4), Fraction(4), 4),
    "shuffle": (PixelShuffle(2), Fraction(1, 2), 1),
    "transposed": (transposed(3), Fraction(1), 1),
    "transposed, side by side": (transposed(3, 3), Fraction(1, 3), 1),
    "transposed, stride and padding": (transposed(4, 2, 1), Fraction(1, 2), 1),
    "transposed, output padding": (transposed(3, 2, 1, output_padding=1), Fraction(1, 2), 1),
    "transposed, dilation": (transposed(3, 2, 3, dilation=3), Fraction(1, 2), 1),
    "up 3, down 2": (Sequential(transposed(3, 3), MaxPool2d(2)), Fraction(2, 3), 2),
    "residual": (Residual(conv(3, 1, 1)), Fraction(1), 1),
    "residual, one-sided": (Residual(conv(2, 1, 0, 4), transposed(2, dilation=4)), Fraction(1), 1),
    "skip, wider than its modules": (SkipConcat(MaxPool2d(1, 2), NearestUpsampling(2)), Fraction(1), 2),
    "skip, down and up": (Sequential(conv(3, 2, 1), SkipConcat(conv(2, 2), transposed(2, 2))), Fraction(2), 4),
    "U-Net": (small_unet(), Fraction(1), 8),
    "founding": (founding(np.random.default_rng(0)), Fraction(1), 4),
}
cases = pytest.mark.parametrize(("module", "step", "period"), CASES.values(), ids=CASES)
both_axes = pytest.mark.parametrize("axis", [0, 1], ids=["rows", "columns"])


def strip(axis: int, long: int, short: int = 8) -> tuple[int, int]:
    """(H, W) of an image that is long along one axis."""
    return (long, short) if axis == 0 else (short, long)


def channels(module: Module) -> int:
    """Number of input channels of a module."""
    for c in (1, 3, 4):
        with suppress(ShapeError):
            module.output_shape((1, c, 48, 48))
            return c
    raise AssertionError(f"{module} takes no picture of 1, 3 or 4 channels")


def fitting(module: Module, size: int, axis: int) -> int:
    """The smallest accepted size of at least `size` pixels along an axis."""
    start, stop = module.input_span(0, module.period(axis), axis)
    size = max(size, stop - start + 4 * module.period(axis))
    with suppress(ShapeError):
        module.output_shape((1, channels(module), *strip(axis, size)))
        return size
    return size + -size % module.period(axis)


@cases
@both_axes
def test_outputs_repeat_with_step_and_period(module: Module, step: Fraction, period: int, axis: int) -> None:
    assert module.step(axis) == step
    assert module.period(axis) == period
    outputs = period / step
    assert outputs.denominator == 1
    (start, stop), moved = module.input_span(5, 8, axis), module.input_span(5 + int(outputs), 8 + int(outputs), axis)
    assert moved == (start + period, stop + period)
    assert (start, stop) == (module.input_span(5, 6, axis)[0], module.input_span(7, 8, axis)[1])


@cases
@both_axes
def test_output_depends_only_on_its_input_span(
    module: Module, step: Fraction, period: int, axis: int, rng: np.random.Generator
) -> None:
    size = fitting(module, 31, axis)
    short = 48 if "MaxPool2d" in repr(module) else 8  # long enough that each pixel of a window is its maximum once
    start_state = module.state_dict()
    for data, _ in module.param():  # positive and small: ReLU blocks no gradient, Sigmoid does not saturate
        data[...] = rng.uniform(0.5, 1, size=data.shape) / data[0].size
    x = rng.uniform(0.5, 1, size=(1, channels(module), *strip(axis, size, short)))
    shape = module.output_shape(x.shape)
    outputs = shape[2 + axis]
    module(np.repeat(x, outputs, axis=0))  # image i belongs to output row (column) i
    grad_output = np.zeros((outputs, *shape[1:]))
    for i in range(outputs):
        grad_output[(i, slice(None), i) if axis == 0 else (i, slice(None), slice(None), i)] = 1
    reached = module.backward(grad_output).sum(axis=(1, 3 - axis)) != 0  # (outputs, size)
    module.load_state_dict(start_state)
    inside = 0
    for i, row in enumerate(reached):
        start, stop = module.input_span(i, i + 1, axis)
        (touched,) = np.nonzero(row)
        assert start <= touched[0]
        assert touched[-1] < stop
        if start >= 0 and stop <= size:
            inside += 1
            assert (touched[0], touched[-1] + 1) == (start, stop), f"the span of output {i} is not tight"
    assert inside >= 5


def shifts_alike(module: Module, x: np.ndarray, shift: int, offset: int, axis: int) -> bool:
    """Test whether an input shifted by `shift` shifts the output by `offset`.

    The borders are left out.
    """
    size = x.shape[2 + axis]
    whole = np.moveaxis(module(x), 2 + axis, 0)
    seen = slice(shift, size - -shift % module.period(axis))  # whole periods
    moved = np.moveaxis(module(np.moveaxis(np.moveaxis(x, 2 + axis, 0)[seen], 0, 2 + axis)), 2 + axis, 0)
    inner = [
        i
        for i in range(min(len(moved), len(whole) - offset))
        if module.input_span(i, i + 1, axis)[0] >= 0
        and module.input_span(i, i + 1, axis)[1] <= seen.stop - shift
        and module.input_span(i + offset, i + offset + 1, axis)[0] >= 0
        and module.input_span(i + offset, i + offset + 1, axis)[1] <= size
    ]
    assert len(inner) >= 3
    return np.allclose(moved[inner], whole[[i + offset for i in inner]], rtol=1e-9, atol=0)


@cases
@both_axes
def test_period_is_the_smallest_shift_that_only_shifts_the_output(
    module: Module, step: Fraction, period: int, axis: int, rng: np.random.Generator
) -> None:
    module.eval()
    x = rng.normal(size=(1, channels(module), *strip(axis, fitting(module, 56, axis))))
    assert shifts_alike(module, x, period, int(period / step), axis)
    assert shifts_alike(module, x, 2 * period, int(2 * period / step), axis)
    for shift in range(1, period):
        near = int(shift / step)
        assert not any(shifts_alike(module, x, shift, offset, axis) for offset in (near, near + 1))
    module.train()


def test_rows_and_columns_are_not_confused() -> None:
    layer = Conv2d(1, 1, (3, 4), stride=(2, 5), padding=(1, 0), dilation=(3, 2))
    assert [(layer.step(a), layer.period(a), layer.input_span(2, 4, a)) for a in (0, 1)] == [
        (Fraction(2), 2, (3, 12)),
        (Fraction(5), 5, (10, 22)),
    ]
    up = NearestUpsampling((2, 3))
    assert [(up.step(a), up.period(a), up.input_span(3, 8, a)) for a in (0, 1)] == [
        (Fraction(1, 2), 1, (1, 4)),
        (Fraction(1, 3), 1, (1, 3)),
    ]
    assert [up.input_span(i, i + 1, 1) for i in (-1, 0, 2, 3)] == [(-1, 0), (0, 1), (0, 1), (1, 2)]


def test_input_span_includes_the_padding() -> None:
    assert conv(3, 2, 1).input_span(0, 1, 0) == (-1, 2)
    assert Sequential(conv(3, 1, 1), NearestUpsampling(2), conv(3, 1, 1)).input_span(0, 1, 1) == (-2, 2)


def test_transposed_convolution_s_span_is_never_empty() -> None:
    gaps, cut = transposed(1, 3), transposed(1, 1, padding=2)
    assert [gaps.input_span(i, i + 1, 0) for i in (0, 1, 2, 3)] == [(0, 1), (0, 2), (0, 2), (1, 2)]
    far = transposed(3, 2, 3, dilation=3)
    assert [far.input_span(i, i + 1, 0) for i in (2, 3, 4, 5, 6)] == [(1, 2), (0, 4), (2, 3), (1, 5), (3, 4)]
    assert far.input_span(2, 7, 0) == (0, 5)
    assert cut.input_span(0, 1, 0) == (0, 5)
    assert cut.output_shape((1, 1, 5, 6)) == (1, 1, 1, 2)


def test_container_s_span_joins_its_modules_spans_and_its_own_pixel() -> None:
    for container in (Residual, SkipConcat):
        assert container(conv(3, 1, 1)).input_span(4, 6, 0) == (3, 7)
        assert container(conv(1, 2), NearestUpsampling(2)).input_span(3, 6, 1) == (2, 6)
        assert container(conv(1, 2), NearestUpsampling(2)).input_span(3, 4, 1) == (2, 4)
