"""Convolution."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.errors import ShapeError
from n2n_cli.nn import arguments
from n2n_cli.nn import functional as F
from n2n_cli.nn.arguments import IntOrPair
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.init import uniform_fan_in
from n2n_cli.nn.module import Module, Parameter


class Convolution(Module):
    """Base of `Conv2d` and `TransposeConv2d`: checked arguments, weight and bias."""

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair,
        padding: IntOrPair,
        dilation: IntOrPair,
    ) -> None:
        super().__init__()
        self.in_channels = arguments.integer("in_channels", in_channels, 1)
        self.out_channels = arguments.integer("out_channels", out_channels, 1)
        self.kernel_size = arguments.pair("kernel_size", kernel_size, 1)
        self.stride = arguments.pair("stride", stride, 1)
        self.padding = arguments.pair("padding", padding, 0)
        self.dilation = arguments.pair("dilation", dilation, 1)

    def _draw(self, first: int, second: int, bias: bool, rng: np.random.Generator | None, dtype: DTypeLike) -> None:
        """Draw the weight, of shape (first, second, K_h, K_w), and the bias.

        The fan-in is `second * K_h * K_w`, as in PyTorch.
        """
        rng = rng or np.random.default_rng()
        fan_in = second * self.kernel_size[0] * self.kernel_size[1]
        self.weight = Parameter(uniform_fan_in((first, second, *self.kernel_size), fan_in, rng=rng, dtype=dtype))
        self.bias = None
        if arguments.flag("bias", bias):
            self.bias = Parameter(uniform_fan_in((self.out_channels,), fan_in, rng=rng, dtype=dtype))


class Conv2d(Convolution):
    """Cross-correlate each image of a batch with a bank of filters.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation : int or (rows, columns)
        In pixels; the padding is zeros.
    bias : bool
        If True, a learned constant is added to every output channel.
    rng : numpy.random.Generator, optional
        Draws weight and bias, uniform in +-1/sqrt(fan_in), fan_in = in_channels * K_h * K_w, as PyTorch does.
    dtype : dtype
        Dtype of the parameters: float32 in use, float64 for gradient checks.

    Attributes
    ----------
    weight : Parameter of shape (C_out, C_in, K_h, K_w)
    bias : Parameter of shape (C_out,), or None

    Raises
    ------
    ArgumentError
        From the constructor, if an argument is out of range.
    ShapeError
        From `forward`, if `x` is not (N, in_channels, H, W) or is smaller than the kernel.

    References
    ----------
    Dumoulin and Visin (2016), arXiv:1603.07285, relation 15: output size.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: IntOrPair = 0,
        dilation: IntOrPair = 1,
        bias: bool = True,
        *,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation)
        self._draw(self.out_channels, self.in_channels, bias, rng, dtype)

    def forward(self, x: Array) -> Array:
        """(N, C_in, H, W) -> (N, C_out, H_out, W_out).

        H_out = (H + 2*padding - dilation*(K - 1) - 1) // stride + 1.
        """
        patches = F.unfold(
            x, self.kernel_size, self.stride, self.padding, self.dilation
        )  # (N, H_out, W_out, C_in, K, K)
        y = np.tensordot(patches, self.weight.data, axes=([3, 4, 5], [1, 2, 3]))  # (N, H_out, W_out, C_out)
        if self.bias is not None:
            y += self.bias.data
        self.keep(patches, x.shape)
        return np.moveaxis(y, -1, 1)

    def backward(self, grad_output: Array) -> Array:
        """Gradient with respect to `x`; adds the parameter gradients to `grad`."""
        patches, x_shape = self.use_up()
        self.check_gradient(grad_output.shape, self.output_shape(x_shape))
        self.weight.grad += np.tensordot(grad_output, patches, axes=([0, 2, 3], [0, 1, 2]))
        if self.bias is not None:
            self.bias.grad += grad_output.sum(axis=(0, 2, 3))
        grad_patches = np.tensordot(grad_output, self.weight.data, axes=(1, 0))  # (N, H_out, W_out, C_in, K, K)
        return F.fold(grad_patches, x_shape, self.stride, self.padding, self.dilation)

    def output_shape(self, shape: Shape) -> Shape:
        self.check_shape(shape, self.in_channels)
        h, w = (
            F.conv_output_size(shape[2 + a], self.kernel_size[a], self.stride[a], self.padding[a], self.dilation[a])
            for a in (0, 1)
        )
        if h < 1 or w < 1:
            rows, columns = (
                max(1, self.dilation[a] * (self.kernel_size[a] - 1) + 1 - 2 * self.padding[a]) for a in (0, 1)
            )
            raise ShapeError(f"{self} got an input of shape {shape}, it needs H >= {rows} and W >= {columns}")
        return (shape[0], self.out_channels, h, w)

    def step(self, axis: int) -> Fraction:
        return Fraction(self.stride[axis])

    def period(self, axis: int) -> int:
        return self.stride[axis]

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        first = start * self.stride[axis] - self.padding[axis]
        last = (stop - 1) * self.stride[axis] - self.padding[axis] + self.dilation[axis] * (self.kernel_size[axis] - 1)
        return first, last + 1

    def __repr__(self) -> str:
        text = f"Conv2d({self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0, 0):
            text += f", padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        return text + (")" if self.bias is not None else ", bias=False)")
