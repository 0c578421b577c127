"""Transposed convolution."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.errors import ArgumentError, ShapeError
from n2n_cli.nn import arguments
from n2n_cli.nn import functional as F
from n2n_cli.nn.arguments import IntOrPair
from n2n_cli.nn.conv import Convolution
from n2n_cli.nn.functional import Array, Pair, Shape


class TransposeConv2d(Convolution):
    """Transposed convolution, as `torch.nn.ConvTranspose2d`.

    The gradient of a `Conv2d` with the same weight with respect to its input: every input pixel adds the kernel, scaled
    by the pixel's value, to the output.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation : int or (rows, columns)
        In pixels, as in the convolution: the kernels of neighbouring pixels are `stride` apart, and `padding` pixels
        are removed from every side of the output.
    output_padding : int or (rows, columns)
        Pixels added at the bottom and the right, fewer than the stride or the dilation. A strided convolution maps
        several input sizes to the same output size; this selects one of them.
    bias : bool
        If True, a learned constant is added to every output channel.
    rng : numpy.random.Generator, optional
        Draws weight and bias, uniform in +-1/sqrt(out_channels * K_h * K_w), as PyTorch does.
    dtype : dtype
        Dtype of the parameters: float32 in use, float64 for gradient checks.

    Attributes
    ----------
    weight : Parameter of shape (C_in, C_out, K_h, K_w)
    bias : Parameter of shape (C_out,), or None

    Raises
    ------
    ArgumentError
        From the constructor, if an argument is out of range.
    ShapeError
        From `forward`, if `x` is not (N, in_channels, H, W) or the padding removes the whole output.

    References
    ----------
    Dumoulin and Visin (2016), arXiv:1603.07285, relation 14: output size.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: IntOrPair = 0,
        output_padding: IntOrPair = 0,
        bias: bool = True,
        dilation: IntOrPair = 1,
        *,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation)
        self.output_padding = arguments.pair("output_padding", output_padding, 0)
        if any(self.output_padding[a] >= max(self.stride[a], self.dilation[a]) for a in (0, 1)):
            raise ArgumentError("output_padding", output_padding, "below the stride or the dilation")
        self._draw(self.in_channels, self.out_channels, bias, rng, dtype)

    def forward(self, x: Array) -> Array:
        """(N, C_in, H, W) -> (N, C_out, H_out, W_out).

        H_out = (H - 1)*stride - 2*padding + dilation*(K - 1) + output_padding + 1.
        """
        patches = np.tensordot(x, self.weight.data, axes=(1, 0))  # (N, H, W, C_out, K, K)
        y = F.fold(patches, self.output_shape(x.shape), self.stride, self.padding, self.dilation)
        if self.bias is not None:
            y += self.bias.data[:, None, None]
        self.keep(x)
        return y

    def backward(self, grad_output: Array) -> Array:
        """Gradient with respect to `x`; adds the parameter gradients to `grad`."""
        (x,) = self.use_up()
        self.check_gradient(grad_output.shape, self.output_shape(x.shape))
        patches = F.unfold(grad_output, self.kernel_size, self.stride, self.padding, self.dilation)
        patches = patches[:, : x.shape[2], : x.shape[3]]  # (N, H, W, C_out, K, K); output padding may add one more
        self.weight.grad += np.tensordot(x, patches, axes=([0, 2, 3], [0, 1, 2]))
        if self.bias is not None:
            self.bias.grad += grad_output.sum(axis=(0, 2, 3))
        grad = np.tensordot(patches, self.weight.data, axes=([3, 4, 5], [1, 2, 3]))  # (N, H, W, C_in)
        return np.moveaxis(grad, -1, 1)

    def output_shape(self, shape: Shape) -> Shape:
        self.check_shape(shape, self.in_channels)
        h, w = ((shape[2 + a] - 1) * self.stride[a] + self._extra(a) for a in (0, 1))
        if h < 1 or w < 1:
            rows, columns = (max(1, 1 - (self._extra(a) - 1) // self.stride[a]) for a in (0, 1))
            raise ShapeError(f"{self} got an input of shape {shape}, it needs H >= {rows} and W >= {columns}")
        return (shape[0], self.out_channels, h, w)

    def _extra(self, axis: int) -> int:
        """Output size along an axis for an input of one pixel; may be below 1."""
        reach = self.dilation[axis] * (self.kernel_size[axis] - 1)
        return reach + 1 + self.output_padding[axis] - 2 * self.padding[axis]

    def step(self, axis: int) -> Fraction:
        return Fraction(1, self.stride[axis])

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        # The taps that contribute to an output repeat every `stride` outputs, shifted by one input pixel, so the first
        # and the last `stride` outputs determine the span.
        stride, reach = self.stride[axis], range(self.kernel_size[axis])
        ends = {*range(start, min(stop, start + stride)), *range(max(start, stop - stride), stop)}
        places = [i + self.padding[axis] - t * self.dilation[axis] for i in ends for t in reach]
        inputs = [place // stride for place in places if place % stride == 0]
        # With large padding, or gaps between the kernels, outputs may depend on fewer inputs than this; but a crop of
        # the input has to extend to their position for its output to contain them.
        first, last = start // stride, -((self._extra(axis) - stop) // stride) + 1
        return min([first, *inputs]), max([last, *(i + 1 for i in inputs)])

    def __repr__(self) -> str:
        size: Pair = self.kernel_size
        text = f"TransposeConv2d({self.in_channels}, {self.out_channels}, kernel_size={size}, stride={self.stride}"
        for name, value, default in (
            ("padding", self.padding, (0, 0)),
            ("output_padding", self.output_padding, (0, 0)),
            ("dilation", self.dilation, (1, 1)),
        ):
            if value != default:
                text += f", {name}={value}"
        return text + (")" if self.bias is not None else ", bias=False)")
