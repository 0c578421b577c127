"""Kernels of nearest-neighbour upsampling, pixel shuffle and max pooling."""

from __future__ import annotations

import numpy as np

from n2n_cli.engine.channels_last import empty_nchw
from n2n_cli.engine.kernel import TrainableKernel
from n2n_cli.engine.tape import do
from n2n_cli.nn.functional import Array, Pair, Shape
from n2n_cli.nn.pooling import MaxPool2d
from n2n_cli.nn.shuffle import PixelShuffle, PixelUnshuffle
from n2n_cli.nn.upsampling import NearestUpsampling


class UpsamplingKernel(TrainableKernel):
    """`nn.NearestUpsampling`."""

    tapes = True

    def __init__(self, module: NearestUpsampling) -> None:
        super().__init__(module)
        self._scale_factor = module.scale_factor

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, H*rows, W*columns)."""
        shape = self.geometry.output_shape(x.shape)
        y = empty_nchw(shape, x.dtype)
        (n, c, h, w), (rows, columns) = x.shape, self._scale_factor
        do(np.copyto, y.reshape(n, c, h, rows, w, columns), x[:, :, :, None, :, None])
        self.keep(shape)
        return y

    def backward(self, grad_output: Array) -> Array:
        (shape,) = self.use_up()
        self.check_gradient(grad_output.shape, shape)
        (n, c, h, w), (rows, columns) = shape, self._scale_factor
        grad = empty_nchw((n, c, h // rows, w // columns), grad_output.dtype)
        do(np.copyto, grad, grad_output[:, :, ::rows, ::columns])
        for i, j in list(np.ndindex(rows, columns))[1:]:
            do(np.add, grad, grad_output[:, :, i::rows, j::columns], out=grad)
        return grad


class ShuffleKernel(TrainableKernel):
    """`nn.PixelShuffle` or `nn.PixelUnshuffle`, each the other's backward pass."""

    tapes = True

    def __init__(self, module: PixelShuffle | PixelUnshuffle) -> None:
        super().__init__(module)
        self._packs = isinstance(module, PixelUnshuffle)
        self._factor = module.downscale_factor if isinstance(module, PixelUnshuffle) else module.upscale_factor

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> the module's output shape."""
        self.keep(x.shape)
        return self._moved(x, self.geometry.output_shape(x.shape), packs=self._packs)

    def backward(self, grad_output: Array) -> Array:
        (x_shape,) = self.use_up()
        self.check_gradient(grad_output.shape, self.geometry.output_shape(x_shape))
        return self._moved(grad_output, x_shape, packs=not self._packs)

    def _moved(self, x: Array, shape: Shape, *, packs: bool) -> Array:
        """Rearrange blocks of pixels to channels, or channels to blocks."""
        y, factor = empty_nchw(shape, x.dtype), self._factor
        large, small = (x, y) if packs else (y, x)
        n, c, h, w = large.shape
        blocks = large.reshape(n, c, h // factor, factor, w // factor, factor)
        packed = small.reshape(n, c, factor, factor, h // factor, w // factor)
        for i, j in np.ndindex(factor, factor):
            block, pixel = blocks[:, :, :, i, :, j], packed[:, :, i, j]
            do(np.copyto, pixel if packs else block, block if packs else pixel)
        return y


class MaxPoolKernel(TrainableKernel):
    """`nn.MaxPool2d`."""

    tapes = True

    def __init__(self, module: MaxPool2d) -> None:
        super().__init__(module)
        self._kernel_size: Pair = module.kernel_size
        self._stride: Pair = module.stride

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, H_out, W_out)."""
        shape = self.geometry.output_shape(x.shape)
        taps = self._taps(x, shape)
        y = empty_nchw(shape, x.dtype)
        do(np.copyto, y, taps[0])
        for tap in taps[1:]:
            do(np.maximum, y, tap, out=y)
        if self.training:
            self.keep(_firsts(taps, y), x.shape, shape)
        return y

    def backward(self, grad_output: Array) -> Array:
        firsts, x_shape, shape = self.use_up()
        self.check_gradient(grad_output.shape, shape)
        grad = empty_nchw(x_shape, grad_output.dtype)
        overlap = any(self._kernel_size[a] > self._stride[a] for a in (0, 1))
        if overlap or any(self._kernel_size[a] * shape[2 + a] < x_shape[2 + a] for a in (0, 1)):
            do(np.copyto, grad, 0)
        part = empty_nchw(shape, grad_output.dtype) if overlap else None
        for first, tap in zip(firsts, self._taps(grad, shape), strict=True):
            if part is None:
                do(np.multiply, grad_output, first, out=tap)
            else:
                do(np.multiply, grad_output, first, out=part)
                do(np.add, tap, part, out=tap)
        return grad

    def _taps(self, x: Array, shape: Shape) -> list[Array]:
        """Views of the values at each window position, over all windows.

        (N, C, H_out, W_out) each; positions are row by row.
        """
        (sh, sw), (_, _, h, w) = self._stride, shape
        return [
            x[:, :, i : i + (h - 1) * sh + 1 : sh, j : j + (w - 1) * sw + 1 : sw]
            for i, j in np.ndindex(*self._kernel_size)
        ]


def _firsts(taps: list[Array], largest: Array) -> list[Array]:
    """For every window position, a mask of the windows that have their maximum there.

    If several values of a window are equal to the maximum, only the first counts.
    """
    firsts: list[Array] = []
    found = empty_nchw(largest.shape, np.bool_)
    do(np.copyto, found, False)
    for tap in taps:
        first = empty_nchw(largest.shape, np.bool_)
        do(np.equal, tap, largest, out=first)
        do(np.greater, first, found, out=first)
        do(np.logical_or, found, first, out=found)
        firsts.append(first)
    return firsts
