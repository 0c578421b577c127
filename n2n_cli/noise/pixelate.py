"""Noise of downscaling by picking single pixels."""

from __future__ import annotations

import numpy as np

from n2n_cli.errors import ArgumentError
from n2n_cli.images.pixels import to_float
from n2n_cli.nn.functional import Array
from n2n_cli.noise.model import NoiseModel, Strength, within


class Pixelate(NoiseModel):
    """Downscaling that picks a random source pixel from each block.

    This is the noise of the EPFL EE-559 project: white, of mean 0, absent in flat areas and strong at edges. Pixels of
    the clean picture are the means of the blocks.

    Parameters
    ----------
    block : Strength or float
        Side of a block, in source pixels; a single number.
    """

    name, example, needed = "pixelate", "pixelate:8", "a whole number from 2 to 64 pixels"
    floor = "the mean variance inside a block"

    def __init__(self, block: Strength | float) -> None:
        side = within(self, block, 2, 64)
        if side.low != side.high or side.low != int(side.low):
            raise ArgumentError(self.name, str(side), self.needed)
        self.scale = int(side.low)

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        h, w = source.shape[0] // self.scale, source.shape[1] // self.scale
        picks = rng.integers(self.scale * self.scale, size=(h, w), dtype=np.int32)  # the same for all channels
        rows = np.arange(h, dtype=np.int32)[:, None] * self.scale + picks // self.scale
        columns = np.arange(w, dtype=np.int32) * self.scale + picks % self.scale
        return to_float(source[rows, columns])

    def clean(self, source: Array) -> Array:
        h, w = source.shape[0] // self.scale, source.shape[1] // self.scale
        whole = to_float(source[: h * self.scale, : w * self.scale])
        blocks = whole.reshape(h, self.scale, w, self.scale, source.shape[2])
        mean: Array = blocks.mean(axis=(1, 3), dtype=np.float64).astype(np.float32)  # (H, W, C)
        return mean

    def __str__(self) -> str:
        return f"pixelate:{self.scale}"
