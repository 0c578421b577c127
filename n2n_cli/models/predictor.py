"""Predictor: a compiled network that denoises images of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np

from n2n_cli import engine
from n2n_cli.engine.executor import Executor
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
    """Denoises images of any size.

    Parameters
    ----------
    kernel : Kernel
        Keeps channels, height and width.
    parameters : sequence of Parameter
        All that the kernel uses.
    channels : int, optional
        Channels of the images that it takes; by default as `channels_of` says.
    threads : int, optional
        By default one for each core that this process may use. Results do not depend on it but for rounding.
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
        """The predictor of a network."""
        parameters = [parameter for _, parameter in network.named_parameters()]
        return cls(engine.kernel_of(network), parameters, channels, threads=threads)

    @property
    def channels(self) -> int:
        """Channels of the images that it takes.

        Raises
        ------
        ShapeError
            When none were given, and the network takes no images of 1 to 4 channels, or does not keep their size.
        """
        return channels_of(self.executor.kernel.geometry) if self._channels is None else self._channels

    @property
    def threads(self) -> int:
        """Threads that it computes with."""
        return self.executor.threads

    def as_ensemble(self) -> Predictor:
        """A predictor whose output is the average over eight flips and rotations of the image."""
        return self._with(SelfEnsemble(self.executor.kernel), self.channels)

    def for_channels(self, channels: int) -> Predictor:
        """A predictor for images of other channels: gray for a network of colours, or any channels one by one."""
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
            In [0, 1], or what `before` brings there.
        before, after : function
            Applied to the input and to the output of the network, a tile at a time.
        out : (N, C, H, W) array, optional
            Takes the result of `after`.
        memory : int, optional
            Bytes that may be taken beside `images` and `out`; by default as `engine.tiling.apply` says.
        margin : int
            Pixels of the images' mirror image that the network sees around them.

        Returns
        -------
        (N, C, H, W) array
            The network's output; a network without a final Sigmoid may leave [0, 1].

        Raises
        ------
        ShapeError
            When the array does not fit the network.
        MemoryLimitError
            When `memory` does not hold the smallest tile.
        """
        if images.ndim != 4:
            raise ShapeError(f"`predict` got an array of shape {images.shape}, it needs (N, C, H, W)")
        with np.errstate(over="ignore", invalid="ignore"), one_blas_thread():
            return apply(
                self.executor,
                images,
                before=before,
                after=after,
                out=out,
                memory=memory,
                margin=margin,
            )


def channels_of(network: Geometry) -> int:
    """The first of 3, 1, 2 and 4 channels of which a network takes images, and keeps them and their size.

    Raises
    ------
    ShapeError
        When there is none.
    """
    for channels in (3, 1, 2, 4):  # RGB and gray before what only a configuration asks for
        shape = (1, channels, 64 * network.period(0), 64 * network.period(1))
        with suppress(ShapeError):
            if network.output_shape(shape) == shape:
                return channels
    raise ShapeError("this model's network takes no pictures of 1 to 4 channels, or does not keep their size")
