"""Predictor: a compiled network that denoises images of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from n2n_cli import engine
from n2n_cli.engine.executor import Executor
from n2n_cli.engine.finite import check_finite
from n2n_cli.engine.kernel import Kernel
from n2n_cli.engine.tiling import apply
from n2n_cli.errors import ShapeError
from n2n_cli.models.channels import ForChannels
from n2n_cli.models.self_ensemble import SelfEnsemble
from n2n_cli.nn import Module, Parameter
from n2n_cli.nn.functional import Array
from n2n_cli.nn.geometry import Geometry
from n2n_cli.system.blas import one_blas_thread
from n2n_cli.system.cpu import available_cores


class Predictor:
    """A compiled network that denoises images of any size.

    Parameters
    ----------
    kernel : Kernel
        The compiled network; its output has the shape of its input.
    parameters : sequence of Parameter
        All parameters of the kernel.
    channels : int, optional
        Number of channels of the images. Default: see `channels_of`.
    threads : int, optional
        Number of threads. Default: one per available core. Results do not depend on it, except for rounding.
    """

    def __init__(
        self,
        kernel: Kernel,
        parameters: Sequence[Parameter],
        channels: int | None = None,
        *,
        threads: int | None = None,
    ) -> None:
        self.executor = Executor(kernel, parameters, threads=available_cores() if threads is None else threads)
        self._channels = channels
        self._for_channels: dict[int, Predictor] = {}

    @classmethod
    def of(cls, network: Module, channels: int | None = None, *, threads: int | None = None) -> Predictor:
        """Compile a network into a predictor."""
        parameters = network.parameters()
        return cls(engine.kernel_of(network), parameters, channels, threads=threads)

    @property
    def channels(self) -> int:
        """Number of channels of the images.

        Raises
        ------
        ShapeError
            If no number was given, and the network takes no images of 1 to 4 channels or changes their size.
        """
        return channels_of(self.executor.kernel.geometry) if self._channels is None else self._channels

    @property
    def threads(self) -> int:
        """Number of threads that the predictor computes with."""
        return self.executor.threads

    def as_ensemble(self) -> Predictor:
        """Predictor that averages over eight flips and rotations of the image."""
        return self._with(SelfEnsemble(self.executor.kernel), self.channels)

    def for_channels(self, channels: int) -> Predictor:
        """Predictor for images with another number of channels; see `ForChannels`."""
        if channels == self.channels:
            return self
        if channels not in self._for_channels:
            kernel = ForChannels(self.executor.kernel, channels, self.channels)
            self._for_channels[channels] = self._with(kernel, channels)
        return self._for_channels[channels]

    def _with(self, kernel: Kernel, channels: int) -> Predictor:
        return Predictor(kernel, self.executor.parameters, channels, threads=self.threads)

    def predict(
        self,
        images: Array,
        *,
        before: Callable[[Array], Array] = lambda part: part,
        after: Callable[[Array], Array] = lambda part: part,
        out: Array | None = None,
        memory: int | None = None,
        margin: int = 0,
    ) -> Array:
        """Denoise images.

        Parameters
        ----------
        images : (N, C, H, W) array
            In [0, 1], or in a range that `before` maps to it.
        before, after : function
            Applied to the input and to the output of the network, tile by tile.
        out : (N, C, H, W) array, optional
            Receives the result of `after`.
        memory : int, optional
            Maximum memory besides `images` and `out`, in bytes. Default: see `engine.tiling.apply`.
        margin : int
            Minimum width of the reflection padding around the images, in pixels.

        Returns
        -------
        (N, C, H, W) array
            The network's output. Without a final Sigmoid, values may lie outside [0, 1].

        Raises
        ------
        ShapeError
            If the array does not fit the network.
        MemoryLimitError
            If `memory` is too small for the smallest tile.
        DivergenceError
            If a value of the output, or of the input of a Sigmoid, is not finite.
        """
        if images.ndim != 4:
            raise ShapeError(f"`predict` got an array of shape {images.shape}, it needs (N, C, H, W)")
        with np.errstate(over="ignore", invalid="ignore"), one_blas_thread():
            return apply(
                self.executor,
                images,
                before=before,
                after=lambda y: after(_checked(y)),
                out=out,
                memory=memory,
                margin=margin,
            )


def _checked(output: Array) -> Array:
    check_finite(output)
    return output


def channels_of(network: Geometry) -> int:
    """Number of channels of the images that a network takes and returns.

    The first of 3, 1, 2 and 4 for which the output has the shape of the input.

    Raises
    ------
    ShapeError
        If there is none.
    """
    for channels in (3, 1, 2, 4):  # RGB and gray first: 2 and 4 are rare
        shape = (1, channels, 64 * network.period(0), 64 * network.period(1))
        with suppress(ShapeError):
            if network.output_shape(shape) == shape:
                return channels
    raise ShapeError("this model's network takes no pictures of 1 to 4 channels, or does not keep their size")
