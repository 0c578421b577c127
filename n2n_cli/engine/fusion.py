"""Faster ways to do what the plain modules do, chosen by `Sequential`; the plain modules stay and are their oracle.

Results are those of the plain modules up to rounding. Parameters, their gradients and their names are the modules' own.
Inside, arrays are channels-last, memory comes from the thread's pool, a bias is a product with a column of ones, and a
ReLU is done in place where its input was just made.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from n2n_cli.engine.convolution import ColumnConv, RowConv
from n2n_cli.engine.doubling import DoubledConv
from n2n_cli.engine.narrow import BorderedNarrowConv, NarrowConv
from n2n_cli.engine.upsampling import UpsampledConv
from n2n_cli.engine.winograd import WinogradConv
from n2n_cli.nn.activations import ReLU
from n2n_cli.nn.conv import Conv2d
from n2n_cli.nn.module import Module
from n2n_cli.nn.upsampling import NearestUpsampling

_NARROW = 16
"""Output channels up to which `NarrowConv` is the faster one."""

_WIDE = 48
"""Values in one row of a patch from which on `RowConv` is the faster one."""


_DEEP = 16
"""Channels from which on `WinogradConv` is the faster one."""


class Step(NamedTuple):
    """A module that does the work of the modules up to number `last`."""

    last: int
    module: Module


def fuse(modules: Sequence[Module]) -> list[Step]:
    """The steps that do the work of `modules` one after the other."""
    steps: list[Step] = []
    i = 0
    while i < len(modules):
        module, following = modules[i], modules[i + 1 : i + 3]
        upsampling = module if isinstance(module, NearestUpsampling) else None
        conv = following[0] if upsampling and following else module
        if not isinstance(conv, Conv2d) or (upsampling and not _keeps_size(conv)):
            steps.append(Step(i, module))
            i += 1
            continue
        i += 2 if upsampling else 1
        relu = modules[i] if i < len(modules) and isinstance(modules[i], ReLU) else None
        i += 1 if relu else 0
        if upsampling and upsampling.scale_factor == (2, 2) and conv.kernel_size == (3, 3):
            steps.append(Step(i - 1, DoubledConv(upsampling, conv, relu)))
        elif upsampling:
            steps.append(Step(i - 1, UpsampledConv(upsampling, conv, relu)))
        elif relu is None and conv.out_channels <= _NARROW < conv.in_channels and _keeps_size(conv):
            after_doubling = bool(steps) and isinstance(steps[-1].module, DoubledConv) and conv.kernel_size == (3, 3)
            steps.append(Step(i - 1, (BorderedNarrowConv if after_doubling else NarrowConv)(conv)))
        elif _by_windows(conv):
            steps.append(Step(i - 1, WinogradConv(conv, relu)))
        elif _by_rows(conv):
            steps.append(Step(i - 1, RowConv(conv, relu)))
        else:
            steps.append(Step(i - 1, ColumnConv(conv, relu)))
    for (_, first), (_, second) in itertools.pairwise(steps):
        if isinstance(first, DoubledConv) and isinstance(second, DoubledConv | BorderedNarrowConv):
            first.gives_border = second.takes_border = True
    return steps


def _by_windows(conv: Conv2d) -> bool:
    """Whether Winograd's form saves more products than it takes itself."""
    return (
        conv.kernel_size == (3, 3)
        and conv.stride == conv.dilation == (1, 1)
        and max(conv.padding) <= 2
        and min(conv.in_channels, conv.out_channels) >= _DEEP
    )


def _by_rows(conv: Conv2d) -> bool:
    """Whether its patches are worth saving: large ones, that overlap."""
    return (
        conv.stride == (1, 1)
        and conv.kernel_size[0] > 1
        and conv.kernel_size[1] * min(conv.in_channels, conv.out_channels) >= _WIDE
        and all(conv.padding[a] <= conv.dilation[a] * (conv.kernel_size[a] - 1) for a in (0, 1))
    )


def _keeps_size(conv: Conv2d) -> bool:
    """Whether it has stride 1, no dilation, and an odd kernel with the padding that keeps a picture's size."""
    return (
        conv.stride == conv.dilation == (1, 1)
        and conv.kernel_size[0] == 2 * conv.padding[0] + 1
        and conv.kernel_size[1] == 2 * conv.padding[1] + 1
    )
