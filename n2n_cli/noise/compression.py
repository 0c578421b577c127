"""Noise of picture files: JPEG artefacts, clipping and rounding to 8 bits."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

from n2n_cli.images.pixels import to_float, to_integer
from n2n_cli.nn.functional import Array
from n2n_cli.noise.gaussian import Gaussian
from n2n_cli.noise.model import NoiseModel, Strength, within

_GRID = 16
"""Side of the cells, in pixels, that JPEG compresses by themselves at half the colour resolution."""


class Rounded(Gaussian):
    """Normal noise in a file of 8 bits: clipped at black and white, and rounded. Targets are neither.

    Parameters
    ----------
    sigma_255 : Strength or float
        Standard deviation in grey levels of 255, before.
    """

    name, example = "rounded", "rounded:0-50"

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        return to_float(to_integer(super().draw(source, rng=rng), np.uint8))

    def draw_target(self, source: Array, *, rng: np.random.Generator) -> Array:
        return super().draw(source, rng=rng)

    def __str__(self) -> str:
        return f"rounded:{self.sigma_255}"


class Jpeg(NoiseModel):
    """JPEG artefacts of a picture with normal noise. Targets have the noise alone: artefacts have a mean.

    Parameters
    ----------
    quality : Strength or float
        In libjpeg's scale; rounded.
    sigma_255 : Strength or float
        Standard deviation of the noise before compression, in grey levels of 255.
    """

    name, example, strengths = "jpeg", "jpeg:40-95,0-5", 2
    needed = "a quality from 1 to 100, and from 0 to 255 grey levels"

    def __init__(self, quality: Strength | float, sigma_255: Strength | float) -> None:
        self.quality = within(self, quality, 1, 100)
        self._noise = Gaussian(within(self, sigma_255, 0, 255))
        self.floor = self._noise.floor

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        return compressed(self._noise.draw(source, rng=rng), round(self.quality.draw(rng)), rng=rng)

    def draw_target(self, source: Array, *, rng: np.random.Generator) -> Array:
        return self._noise.draw(source, rng=rng)

    def __str__(self) -> str:
        return f"jpeg:{self.quality},{self._noise.sigma_255}"


def compressed(picture: Array, quality: int, *, rng: np.random.Generator) -> Array:
    """A picture as a JPEG file holds it, its grid at a random place, its colours at a random resolution.

    Parameters
    ----------
    picture : (H, W, C) float array
        Of 1 or 3 channels; what is outside [0, 1] is clipped.
    quality : int
        From 1 to 100.
    """
    return drawn_jpeg(quality, rng=rng)(picture)


def drawn_jpeg(quality: int, *, rng: np.random.Generator) -> Callable[[Array], Array]:
    """Draw a place of the grid and a resolution of colours; return the function that compresses a picture so."""
    # Only now: every command reads what noise there is, and hardly one compresses.
    from PIL import Image

    top, left = rng.integers(_GRID, size=2)
    subsampling = int(rng.integers(3))  # colours at full resolution, half of the columns, or half of both

    def compress(picture: Array) -> Array:
        whole = np.pad(to_integer(picture, np.uint8), ((top, 0), (left, 0), (0, 0)), "edge")
        mode = {} if whole.shape[2] == 1 else {"subsampling": subsampling}
        with io.BytesIO() as file:
            Image.fromarray(whole[..., 0] if whole.shape[2] == 1 else whole).save(file, "jpeg", quality=quality, **mode)
            back = np.asarray(Image.open(file))
        return to_float(back.reshape(whole.shape)[top:, left:])

    return compress
