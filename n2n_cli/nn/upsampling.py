"""Nearest-neighbour upsampling."""

from __future__ import annotations

from fractions import Fraction

from n2n_cli.nn import arguments
from n2n_cli.nn import functional as F
from n2n_cli.nn.arguments import IntOrPair
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.module import Module


class NearestUpsampling(Module):
    """Repeat every pixel along rows and columns, as `torch.nn.UpsamplingNearest2d`.

    Followed by a convolution it is a learned upsampling without the checkerboard artefacts of a transposed convolution
    (Odena, Dumoulin, Olah 2016, doi:10.23915/distill.00003).

    Parameters
    ----------
    scale_factor : int or (rows, columns)
        Number of repetitions of a pixel along each axis.
    """

    def __init__(self, scale_factor: IntOrPair = 2) -> None:
        super().__init__()
        self.scale_factor = arguments.pair("scale_factor", scale_factor, 1)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, H*rows, W*columns)."""
        self.keep(self.output_shape(x.shape))
        return F.upsample(x, self.scale_factor)

    def backward(self, grad_output: Array) -> Array:
        """Gradient with respect to `x`: the sum over the copies of each pixel."""
        (shape,) = self.use_up()
        self.check_gradient(grad_output.shape, shape)
        return F.block_sum(grad_output, self.scale_factor)

    def output_shape(self, shape: Shape) -> Shape:
        self.check_shape(shape)
        n, c, h, w = shape
        return (n, c, h * self.scale_factor[0], w * self.scale_factor[1])

    def step(self, axis: int) -> Fraction:
        return Fraction(1, self.scale_factor[axis])

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        return start // self.scale_factor[axis], (stop - 1) // self.scale_factor[axis] + 1

    def __repr__(self) -> str:
        return f"NearestUpsampling(scale_factor={self.scale_factor})"
