"""Choice of the kernels for a network, fusing neighbouring modules.

Results equal those of the modules up to rounding. Kernels use the parameters and gradients of the modules.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from n2n_cli.engine.containers import Chain, ResidualKernel, SkipConcatKernel, Step
from n2n_cli.engine.convolution import ColumnConv, RowConv
from n2n_cli.engine.doubling import DoubledConv
from n2n_cli.engine.elementwise import LeakyReLUKernel, ReLUKernel, SigmoidKernel
from n2n_cli.engine.fused_conv import FusedConv, Shared
from n2n_cli.engine.kernel import PlainKernel, TrainableKernel
from n2n_cli.engine.narrow import BorderedNarrowConv, NarrowConv
from n2n_cli.engine.rearrangement import MaxPoolKernel, ShuffleKernel, UpsamplingKernel
from n2n_cli.engine.transpose_conv import TransposeConvKernel
from n2n_cli.engine.upsampling import UpsampledConv
from n2n_cli.engine.winograd import WinogradConv
from n2n_cli.nn.activations import LeakyReLU, ReLU, Sigmoid
from n2n_cli.nn.containers import Sequential
from n2n_cli.nn.conv import Conv2d
from n2n_cli.nn.module import Module
from n2n_cli.nn.pooling import MaxPool2d
from n2n_cli.nn.shuffle import PixelShuffle, PixelUnshuffle
from n2n_cli.nn.skips import Residual, SkipConcat
from n2n_cli.nn.transpose_conv import TransposeConv2d
from n2n_cli.nn.upsampling import NearestUpsampling

_NARROW = 16
"""Maximum output channels for which `NarrowConv` is faster."""

_WIDE = 48
"""Minimum values in one row of a patch for which `RowConv` is faster."""

_DEEP = 16
"""Minimum channels for which `WinogradConv` is faster."""

_KERNELS: dict[type[Module], Callable[[Any], TrainableKernel]] = {
    ReLU: ReLUKernel,
    LeakyReLU: LeakyReLUKernel,
    Sigmoid: SigmoidKernel,
    MaxPool2d: MaxPoolKernel,
    NearestUpsampling: UpsamplingKernel,
    PixelShuffle: ShuffleKernel,
    PixelUnshuffle: ShuffleKernel,
    TransposeConv2d: TransposeConvKernel,
}
"""Kernels of single layers, by exact type: a subclass may compute something else, so it runs its own code."""


def kernel_for(module: Module, shared: Shared) -> TrainableKernel:
    """Kernel of one module.

    Parameters
    ----------
    module : Module
    shared : Shared
        Derived matrices of the whole network.
    """
    kind = type(module)
    if isinstance(module, Conv2d) and kind is Conv2d:
        return _convolution(module, None, shared)
    if isinstance(module, Sequential) and kind is Sequential:
        return Chain(module, fuse(list(module), shared))
    if isinstance(module, Residual | SkipConcat) and kind in (Residual, SkipConcat):
        inner = Sequential(*module)
        bypass = ResidualKernel if isinstance(module, Residual) else SkipConcatKernel
        return bypass(module, Chain(inner, fuse(list(inner), shared)))
    return _KERNELS.get(kind, PlainKernel)(module)


def fuse(modules: Sequence[Module], shared: Shared) -> list[Step]:
    """Kernels for consecutive modules, fusing neighbours where that is faster."""
    steps: list[Step] = []
    i = 0
    while i < len(modules):
        first = modules[i]
        upsampling = first if type(first) is NearestUpsampling else None
        conv = modules[i + 1] if upsampling and i + 1 < len(modules) else first
        if not isinstance(conv, Conv2d) or type(conv) is not Conv2d or (upsampling and not _keeps_size(conv)):
            steps.append(Step(i, kernel_for(first, shared)))
            i += 1
            continue
        i += 2 if upsampling else 1
        following = modules[i] if i < len(modules) else None
        relu = following if type(following) is ReLU else None
        i += 1 if relu else 0
        kernel: FusedConv
        if upsampling and upsampling.scale_factor == (2, 2) and conv.kernel_size == (3, 3):
            kernel = DoubledConv(upsampling, conv, relu, shared)
        elif upsampling:
            kernel = UpsampledConv(upsampling, conv, relu, shared)
        else:
            after_doubling = bool(steps) and isinstance(steps[-1].kernel, DoubledConv)
            kernel = _convolution(conv, relu, shared, after_doubling=after_doubling)
        steps.append(Step(i - 1, kernel))
    for (_, one), (_, following_kernel) in itertools.pairwise(steps):
        if isinstance(one, DoubledConv):
            one.gives_border = isinstance(following_kernel, DoubledConv | BorderedNarrowConv)
    return steps


def _convolution(conv: Conv2d, relu: ReLU | None, shared: Shared, *, after_doubling: bool = False) -> FusedConv:
    """Fastest kernel of a convolution with an optional ReLU."""
    if relu is None and conv.out_channels <= _NARROW < conv.in_channels and _keeps_size(conv):
        narrow = BorderedNarrowConv if after_doubling and conv.kernel_size == (3, 3) else NarrowConv
        return narrow(conv, conv, None, shared)
    if _by_windows(conv):
        return WinogradConv(conv, conv, relu, shared)
    if _by_rows(conv):
        return RowConv(conv, relu, shared)
    return ColumnConv(conv, conv, relu, shared)


def _by_windows(conv: Conv2d) -> bool:
    """True if Winograd's algorithm saves more than its transforms cost."""
    return (
        conv.kernel_size == (3, 3)
        and conv.stride == conv.dilation == (1, 1)
        and max(conv.padding) <= 2
        and min(conv.in_channels, conv.out_channels) >= _DEEP
    )


def _by_rows(conv: Conv2d) -> bool:
    """True if patches are large and overlap, so that `RowConv` copies less."""
    return (
        conv.stride == (1, 1)
        and conv.kernel_size[0] > 1
        and conv.kernel_size[1] * min(conv.in_channels, conv.out_channels) >= _WIDE
        and all(conv.padding[a] <= conv.dilation[a] * (conv.kernel_size[a] - 1) for a in (0, 1))
    )


def _keeps_size(conv: Conv2d) -> bool:
    """True for an undilated convolution of stride 1 with "same" padding."""
    return (
        conv.stride == conv.dilation == (1, 1)
        and conv.kernel_size[0] == 2 * conv.padding[0] + 1
        and conv.kernel_size[1] == 2 * conv.padding[1] + 1
    )
