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
"""Side of the cells that JPEG compresses independently at half colour resolution, in pixels."""


class Rounded(Gaussian):
    """Gaussian noise, clipped at black and white and rounded to 8 bits in inputs only.

    Parameters
    ----------
    sigma_255 : Strength or float
        Standard deviation before clipping, in grey levels of 255.
    """

    name, example = "rounded", "rounded:0-50"

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        return to_float(to_integer(super().draw(source, rng=rng), np.uint8))

    def draw_target(self, source: Array, *, rng: np.random.Generator) -> Array:
        return super().draw(source, rng=rng)

    def __str__(self) -> str:
        return f"rounded:{self.sigma_255}"


class Jpeg(NoiseModel):
    """Gaussian noise and JPEG artefacts; targets have only the noise.

    Artefacts have a non-zero mean, which a network would learn from targets.

    Parameters
    ----------
    quality : Strength or float
        Quality in libjpeg's scale; rounded.
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
    """Compress a picture by JPEG, with random grid position and colour resolution.

    Parameters
    ----------
    picture : (H, W, C) float array
        Picture of 1 or 3 channels; values are clipped to [0, 1].
    quality : int
        JPEG quality, from 1 to 100.
    """
    return drawn_jpeg(quality, rng=rng)(picture)


def drawn_jpeg(quality: int, *, rng: np.random.Generator) -> Callable[[Array], Array]:
    """Draw grid position and colour resolution; return a function that uses them."""
    # Imported here: every command imports the noise models, and few compress.
    from PIL import Image

    top, left = rng.integers(_GRID, size=2)
    subsampling = int(rng.integers(3))  # full colour resolution, half of the columns, or half of rows and columns

    def compress(picture: Array) -> Array:
        whole = np.pad(to_integer(picture, np.uint8), ((top, 0), (left, 0), (0, 0)), "edge")
        mode = {} if whole.shape[2] == 1 else {"subsampling": subsampling}
        with io.BytesIO() as file:
            Image.fromarray(whole[..., 0] if whole.shape[2] == 1 else whole).save(file, "jpeg", quality=quality, **mode)
            back = np.asarray(Image.open(file))
        return to_float(back.reshape(whole.shape)[top:, left:])

    return compress
