"""The convolution that enlarges."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.engine.channels_last import channels_first, channels_last, col2im, im2col, product, total
from n2n_cli.engine.pool import empty
from n2n_cli.engine.tape import do
from n2n_cli.errors import ArgumentError, ShapeError
from n2n_cli.nn import arguments
from n2n_cli.nn.arguments import IntOrPair
from n2n_cli.nn.conv import Convolution
from n2n_cli.nn.functional import Array, Pair, Shape


class TransposeConv2d(Convolution):
    """Put a kernel, times its value, at the place of every pixel, and add up: as `torch.nn.ConvTranspose2d`.

    It is the gradient of a `Conv2d` of the same weight with respect to its input.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation : int or (rows, columns)
        In pixels, as in the convolution: the kernels of neighbours are `stride` apart, `padding` is cut off all round.
    output_padding : int or (rows, columns)
        Pixels that are added at the bottom and the right, below the stride or the dilation: a convolution with a stride
        gives one size for several, and this says which it was.
    bias : bool
        Whether a constant is added to every output channel.
    rng : numpy.random.Generator, optional
        Draws weight and bias, uniform in +-1/sqrt(out_channels * K_h * K_w), as PyTorch does.
    dtype : dtype
        Of the parameters: float32 in use, float64 for gradient checks.

    Attributes
    ----------
    weight : Parameter of shape (C_in, C_out, K_h, K_w)
    bias : Parameter of shape (C_out,), or None

    Raises
    ------
    ArgumentError
        From the constructor, when an argument is out of range.
    ShapeError
        From `forward`, when `x` is not (N, in_channels, H, W) or the padding leaves nothing of it.

    References
    ----------
    Dumoulin and Visin (2016), arXiv:1603.07285, relation 14: size of the output.
    """

    tapes = True

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
        n, c_out, h_out, w_out = shape = self.output_shape(x.shape)
        rows = channels_last(x).reshape(-1, self.in_channels)  # (N*H*W, C_in)
        filters = empty((self.in_channels, *self.kernel_size, c_out), self.weight.data.dtype)
        do(np.copyto, filters, self.weight.data.transpose(0, 2, 3, 1))
        filters = filters.reshape(self.in_channels, -1)
        self._keep(rows, filters, x.shape, shape)
        patches = product(rows, filters).reshape(n, *x.shape[2:], *self.kernel_size, c_out)
        if self._abutting:
            return self._side_by_side(patches)
        y = col2im(patches, (n, h_out, w_out, c_out), self.stride, self.padding, self.dilation)
        if self.bias is not None:
            do(np.add, y, self.bias.data, out=y)
        return channels_first(y)

    def backward(self, grad_output: Array) -> Array:
        """Gradient with respect to `x`; the parameters' own is added to their `grad`."""
        columns, filters, x_shape = self._accumulate(grad_output)
        n, c, h, w = x_shape
        return channels_first(product(columns, filters.T).reshape(n, h, w, c))

    def accumulate(self, grad_output: Array) -> None:
        self._accumulate(grad_output)

    def _accumulate(self, grad_output: Array) -> tuple[Array, Array, Shape]:
        """Add the parameters' gradients; gives what every kernel sees of the gradient, the filters, and x's shape."""
        rows, filters, x_shape, shape = self._use_up()
        self._check_gradient(grad_output.shape, shape)
        grad_nhwc, size = channels_last(grad_output), (x_shape[2], x_shape[3])
        columns = im2col(grad_nhwc, self.kernel_size, self.stride, self.padding, size, self.dilation, ones=False)
        by_tap = product(rows.T, columns).reshape(self.in_channels, *self.kernel_size, self.out_channels)
        do(np.add, self.weight.grad, by_tap.transpose(0, 3, 1, 2), out=self.weight.grad)
        if self.bias is not None:
            do(np.add, self.bias.grad, total(grad_nhwc, axis=(0, 1, 2)), out=self.bias.grad)
        return columns, filters, x_shape

    @property
    def _abutting(self) -> bool:
        """Whether the kernels tile the output, so that there is nothing to add up."""
        return (
            self.kernel_size == self.stride
            and self.dilation == (1, 1)
            and self.padding == self.output_padding == (0, 0)
        )

    def _side_by_side(self, patches: Array) -> Array:
        """(N, H, W, K_h, K_w, C_out) -> (N, C_out, H*K_h, W*K_w), with the bias."""
        n, h, w, kh, kw, c = patches.shape
        y, patches = empty((n, h, kh, w, kw, c), patches.dtype), patches.swapaxes(2, 3)
        if self.bias is None:
            do(np.copyto, y, patches)
        else:
            do(np.add, patches, self.bias.data, out=y)
        return channels_first(y.reshape(n, h * kh, w * kw, c))

    def output_shape(self, shape: Shape) -> Shape:
        self._check_shape(shape, self.in_channels)
        h, w = ((shape[2 + a] - 1) * self.stride[a] + self._extra(a) for a in (0, 1))
        if h < 1 or w < 1:
            rows, columns = (max(1, 1 - (self._extra(a) - 1) // self.stride[a]) for a in (0, 1))
            raise ShapeError(f"{self} got an input of shape {shape}, it needs H >= {rows} and W >= {columns}")
        return (shape[0], self.out_channels, h, w)

    def _extra(self, axis: int) -> int:
        """Output pixels along an axis for an input of one pixel; perhaps none, or less."""
        reach = self.dilation[axis] * (self.kernel_size[axis] - 1)
        return reach + 1 + self.output_padding[axis] - 2 * self.padding[axis]

    def step(self, axis: int) -> Fraction:
        return Fraction(1, self.stride[axis])

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        # Which taps hit an output repeats every `stride` outputs, one input on: so the first and the last of them tell.
        stride, reach = self.stride[axis], range(self.kernel_size[axis])
        ends = {*range(start, min(stop, start + stride)), *range(max(start, stop - stride), stop)}
        places = [i + self.padding[axis] - t * self.dilation[axis] for i in ends for t in reach]
        inputs = [place // stride for place in places if place % stride == 0]
        # Much padding, or kernels with gaps between them: a part of the picture gives these outputs only if it goes on
        # to where they lie, whatever they depend on.
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
