"""Pixel shuffle and unshuffle: rearrange pixels to channels and back."""

from __future__ import annotations

from fractions import Fraction

from n2n_cli.errors import ShapeError
from n2n_cli.nn import arguments
from n2n_cli.nn import functional as F
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.module import Module


class PixelUnshuffle(Module):
    """Rearrange square blocks of pixels to channels, as `torch.nn.PixelUnshuffle`.

    As the first layer it lets every convolution work at a lower resolution without losing information (Zhang, Zuo,
    Zhang 2018, arXiv:1710.04026).

    Parameters
    ----------
    downscale_factor : int
        Side of a block, in pixels.

    Raises
    ------
    ArgumentError
        From the constructor, if the factor is out of range.
    ShapeError
        From `forward`, if height or width of `x` is not a multiple of the factor.
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = arguments.integer("downscale_factor", downscale_factor, 1)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C * factor^2, H / factor, W / factor).

        Pixel (row, column) of a block of channel c becomes channel c * factor^2 + row * factor + column.
        """
        self.keep(self.output_shape(x.shape))
        return F.pixel_unshuffle(x, self.downscale_factor)

    def backward(self, grad_output: Array) -> Array:
        """Gradient with respect to `x`: the inverse rearrangement."""
        (shape,) = self.use_up()
        self.check_gradient(grad_output.shape, shape)
        return F.pixel_shuffle(grad_output, self.downscale_factor)

    def output_shape(self, shape: Shape) -> Shape:
        self.check_shape(shape)
        (n, c, h, w), factor = shape, self.downscale_factor
        if h % factor or w % factor:
            raise ShapeError(f"{self} got an input of shape {shape}, it needs H and W in multiples of {factor}")
        return (n, c * factor**2, h // factor, w // factor)

    def step(self, axis: int) -> Fraction:
        return Fraction(self.downscale_factor)

    def period(self, axis: int) -> int:
        return self.downscale_factor

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        return start * self.downscale_factor, stop * self.downscale_factor

    def __repr__(self) -> str:
        return f"PixelUnshuffle(downscale_factor={self.downscale_factor})"


class PixelShuffle(Module):
    """Rearrange channels to square blocks of pixels, as `torch.nn.PixelShuffle`.

    The inverse of PixelUnshuffle. After a convolution it is a learned upsampling that costs no more than the
    convolution at low resolution (Shi et al. 2016, arXiv:1609.05158).

    Parameters
    ----------
    upscale_factor : int
        Side of a block, in pixels.

    Raises
    ------
    ArgumentError
        From the constructor, if the factor is out of range.
    ShapeError
        From `forward`, if the number of channels of `x` is not a multiple of the factor squared.
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = arguments.integer("upscale_factor", upscale_factor, 1)

    def forward(self, x: Array) -> Array:
        """(N, C * factor^2, H, W) -> (N, C, H * factor, W * factor).

        The input channels are in the order of PixelUnshuffle.
        """
        self.keep(self.output_shape(x.shape))
        return F.pixel_shuffle(x, self.upscale_factor)

    def backward(self, grad_output: Array) -> Array:
        """Gradient with respect to `x`: the inverse rearrangement."""
        (shape,) = self.use_up()
        self.check_gradient(grad_output.shape, shape)
        return F.pixel_unshuffle(grad_output, self.upscale_factor)

    def output_shape(self, shape: Shape) -> Shape:
        self.check_shape(shape)
        (n, c, h, w), factor = shape, self.upscale_factor
        if c % factor**2:
            raise ShapeError(f"{self} got an input of shape {shape}, it needs C in multiples of {factor**2}")
        return (n, c // factor**2, h * factor, w * factor)

    def step(self, axis: int) -> Fraction:
        return Fraction(1, self.upscale_factor)

    def input_span(self, start: int, stop: int, axis: int) -> tuple[int, int]:
        return start // self.upscale_factor, (stop - 1) // self.upscale_factor + 1

    def __repr__(self) -> str:
        return f"PixelShuffle(upscale_factor={self.upscale_factor})"
