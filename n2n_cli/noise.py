"""Noise models: what turns a clean picture into the noisy ones that a network learns from.

A model is written `name:strength`, as in `gaussian:25`. It draws independent noisy views of a clean picture and never
clips or rounds them: that would give the noise a mean, which Noise2Noise then learns (Lehtinen et al. 2018, section 2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from n2n_cli.errors import ArgumentError
from n2n_cli.nn.functional import Array
from n2n_cli.pixels import to_float


class NoiseModel(Protocol):
    """A way to draw noisy views of a picture.

    Attributes
    ----------
    scale : int
        Pixels of the source, along each axis, that make one pixel of a view.
    floor : str
        Where the Noise2Noise loss levels off, for the log.
    """

    scale: int
    floor: str

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        """(H*scale, W*scale, C) source, integer or in [0, 1] -> (H, W, C) float32 view, noisy."""

    def clean(self, source: Array) -> Array:
        """(H*scale, W*scale, C) source -> (H, W, C) float32: the mean of all views."""


class Gaussian:
    """Independent normal noise of one standard deviation on every value.

    Parameters
    ----------
    sigma_255 : float
        Standard deviation in grey levels of 255.
    """

    scale = 1

    def __init__(self, sigma_255: float) -> None:
        if not 0 <= sigma_255 <= 255:
            raise ArgumentError("sigma", sigma_255, "from 0 to 255 grey levels, as in `gaussian:25`")
        self.sigma = np.float32(sigma_255 / 255)
        self.floor = f"the noise variance, {self.sigma**2:.5f}"

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        view = rng.standard_normal(source.shape, dtype=np.float32)
        view *= self.sigma
        view += to_float(source)
        return view

    def clean(self, source: Array) -> Array:
        return to_float(source)

    def __str__(self) -> str:
        return f"gaussian:{self.sigma * 255:g}"


class Pixelate:
    """Shrinking by a block size, where each pixel of a view is one random source pixel of its block.

    This is the noise of the EPFL EE-559 project: white, of zero mean, nothing in flat areas, strong at edges. The clean
    picture is the mean of each block.

    Parameters
    ----------
    block : int
        Side of a block, in source pixels.
    """

    floor = "the mean variance inside a block"

    def __init__(self, block: float) -> None:
        if not 2 <= block <= 64 or block != int(block):
            raise ArgumentError("block", block, "a whole number from 2 to 64 pixels, as in `pixelate:8`")
        self.scale = int(block)

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


NOISE_MODELS: dict[str, Callable[[float], NoiseModel]] = {"gaussian": Gaussian, "pixelate": Pixelate}


def parse_noise(text: str) -> NoiseModel:
    """The noise model that `text` names: `gaussian:25`, `pixelate:8`.

    Raises
    ------
    ArgumentError
        When the name is unknown or the strength is not a number in its range.
    """
    needed = "a noise model and its strength, as `gaussian:25` (grey levels) or `pixelate:8` (pixels)"
    name, _, strength = text.partition(":")
    if name not in NOISE_MODELS:
        raise ArgumentError("noise", text, needed)
    try:
        value = float(strength)
        return NOISE_MODELS[name](value)
    except ArgumentError as error:
        raise ArgumentError("noise", text, f"{needed}; the {error.name} of {name} has to be {error.needed}") from None
    except (ValueError, OverflowError):
        raise ArgumentError("noise", text, needed) from None
