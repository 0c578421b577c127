"""Layers, networks and hypothesis strategies shared by several test files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike

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
from n2n_cli.nn.functional import Array, Pair, Shape, conv_output_size

Make: TypeAlias = Callable[[np.random.Generator, DTypeLike], Module]

some_examples = settings(max_examples=40, deadline=None, derandomize=True)

SHAPE = (2, 3, 5, 7)  # input shape that every layer of the table accepts

LAYERS: dict[str, Make] = {
    "Conv2d": lambda rng, dtype: Conv2d(3, 4, (3, 2), (2, 1), (1, 2), (1, 3), rng=rng, dtype=dtype),
    "Conv2d without bias": lambda rng, dtype: Conv2d(3, 4, 3, bias=False, rng=rng, dtype=dtype),
    "Conv2d 1x1": lambda rng, dtype: Conv2d(3, 4, 1, rng=rng, dtype=dtype),
    "NearestUpsampling": lambda rng, dtype: NearestUpsampling(2),
    "NearestUpsampling by pair": lambda rng, dtype: NearestUpsampling((3, 2)),
    "NearestUpsampling by one": lambda rng, dtype: NearestUpsampling(1),
    "TransposeConv2d": lambda rng, dtype: TransposeConv2d(
        *(3, 4, (3, 2), (2, 1), (1, 2), (1, 2)), dilation=(1, 3), rng=rng, dtype=dtype
    ),
    "TransposeConv2d without bias": lambda rng, dtype: TransposeConv2d(3, 4, 3, 2, bias=False, rng=rng, dtype=dtype),
    "TransposeConv2d side by side": lambda rng, dtype: TransposeConv2d(3, 4, (2, 3), (2, 3), rng=rng, dtype=dtype),
    "TransposeConv2d side by side without bias": lambda rng, dtype: TransposeConv2d(
        3, 4, 2, 2, bias=False, rng=rng, dtype=dtype
    ),
    "PixelUnshuffle": lambda rng, dtype: Sequential(NearestUpsampling((2, 4)), PixelUnshuffle(2)),
    "PixelUnshuffle by one": lambda rng, dtype: PixelUnshuffle(1),
    "PixelShuffle": lambda rng, dtype: Sequential(Conv2d(3, 8, 1, rng=rng, dtype=dtype), PixelShuffle(2)),
    "MaxPool2d": lambda rng, dtype: MaxPool2d((2, 3)),
    "MaxPool2d of windows that overlap": lambda rng, dtype: MaxPool2d((3, 2), (2, 1)),
    "MaxPool2d of windows apart": lambda rng, dtype: MaxPool2d((1, 2), (2, 3)),
    "MaxPool2d by one": lambda rng, dtype: MaxPool2d(1),
    "ReLU": lambda rng, dtype: ReLU(),
    "LeakyReLU": lambda rng, dtype: LeakyReLU(0.3),
    "Sigmoid": lambda rng, dtype: Sigmoid(),
    "Sequential": lambda rng, dtype: Sequential(
        Conv2d(3, 4, 3, 2, 1, rng=rng, dtype=dtype),
        ReLU(),
        NearestUpsampling((2, 3)),
        Sequential(Conv2d(4, 2, (2, 3), rng=rng, dtype=dtype), Sigmoid()),
    ),
    "Sequential of nothing": lambda rng, dtype: Sequential(),
    "Residual": lambda rng, dtype: Residual(
        Conv2d(3, 4, 3, 1, 1, rng=rng, dtype=dtype),
        Sigmoid(),
        Residual(Sigmoid()),
        Conv2d(4, 3, 1, rng=rng, dtype=dtype),
    ),
    "Residual of nothing": lambda rng, dtype: Residual(),
    "SkipConcat": lambda rng, dtype: SkipConcat(
        SkipConcat(Conv2d(3, 2, 3, 1, 1, rng=rng, dtype=dtype), ReLU()), Conv2d(5, 2, 1, rng=rng, dtype=dtype)
    ),
    "SkipConcat of nothing": lambda rng, dtype: SkipConcat(),
}

CONV_CASES: dict[str, tuple[dict[str, Any], Shape]] = {  # arguments after the channel counts (3, 4), input shape
    "plain": ({"kernel_size": 3}, (2, 3, 5, 7)),
    "kernel of one": ({"kernel_size": 1}, (2, 3, 4, 5)),
    "kernel of one, strided": ({"kernel_size": 1, "stride": 2}, (2, 3, 4, 5)),
    "even kernel": ({"kernel_size": 2, "padding": 1}, (2, 3, 4, 5)),
    "stride": ({"kernel_size": 3, "stride": 2, "padding": 1}, (2, 3, 5, 7)),
    "trailing rows unused": ({"kernel_size": 3, "stride": 3}, (2, 3, 5, 7)),
    "stride beyond the kernel": ({"kernel_size": 2, "stride": (3, 4)}, (2, 3, 6, 7)),
    "padding beyond the kernel": ({"kernel_size": 2, "padding": (3, 4)}, (2, 3, 2, 3)),
    "dilation": ({"kernel_size": 3, "padding": 1, "dilation": 2}, (2, 3, 5, 7)),
    "no bias": ({"kernel_size": 3, "bias": False}, (2, 3, 4, 5)),
    "all in pairs": (
        {"kernel_size": (2, 3), "stride": (3, 2), "padding": (2, 1), "dilation": (3, 1)},
        (2, 3, 5, 8),
    ),
}


class ConvCase(NamedTuple):
    """Arguments of `unfold` that fit together."""

    x: Array
    kernel_size: Pair
    stride: Pair
    padding: Pair
    dilation: Pair

    @property
    def output_size(self) -> Pair:
        h, w = (
            conv_output_size(
                self.x.shape[2 + a], self.kernel_size[a], self.stride[a], self.padding[a], self.dilation[a]
            )
            for a in (0, 1)
        )
        return h, w


def pairs(low: int, high: int) -> st.SearchStrategy[Pair]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


def gradient_for(layer: Module, x: Array) -> Array:
    """Random output gradient for input `x`."""
    return np.random.default_rng(1).normal(size=layer.output_shape(x.shape)).astype(x.dtype)


@st.composite
def conv_cases(draw: st.DrawFn) -> ConvCase:
    """Draw an image and a kernel that fits into it at least once."""
    kernel_size, stride = draw(pairs(1, 4)), draw(pairs(1, 4))
    padding, dilation = draw(pairs(0, 3)), draw(pairs(1, 3))
    h, w = (max(1, dilation[a] * (kernel_size[a] - 1) + 1 - 2 * padding[a]) + draw(st.integers(0, 5)) for a in (0, 1))
    n, c = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    x = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(n, c, h, w))
    return ConvCase(x, kernel_size, stride, padding, dilation)


@st.composite
def geometries(draw: st.DrawFn) -> Sequential:
    """Draw one to three single-channel layers that move pixels, with positive weights."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    layers: list[Module] = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from([Conv2d, NearestUpsampling, TransposeConv2d, MaxPool2d]))
        if kind is NearestUpsampling:
            layers.append(NearestUpsampling(draw(pairs(1, 3))))
        elif kind is MaxPool2d:
            layers.append(MaxPool2d(draw(pairs(1, 3)), draw(pairs(1, 3))))
        else:
            sizes = draw(pairs(1, 3)), draw(pairs(1, 3)), draw(pairs(0, 2))
            layers.append(kind(1, 1, *sizes, dilation=draw(pairs(1, 2)), dtype=np.float64))
        for data, _ in layers[-1].param():
            data[...] = rng.uniform(0.5, 1.5, size=data.shape)
    return Sequential(*layers)
