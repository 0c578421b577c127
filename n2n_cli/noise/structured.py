"""Structured noise: blurred noise of microscopes, and row noise of sensors."""

from __future__ import annotations

import math

import numpy as np

from n2n_cli.images.pixels import to_float
from n2n_cli.nn.functional import Array
from n2n_cli.noise.gaussian import Gaussian, blurred
from n2n_cli.noise.model import NoiseModel, Strength, within
from n2n_cli.noise.poisson import Poisson


class Blurred(NoiseModel):
    """Blurred shot noise of a single detector, the same in all channels.

    Microscopes have such noise after scanning, resizing or averaging.

    Parameters
    ----------
    peak : Strength or float
        Mean number of photons on a white pixel.
    blur : Strength or float
        Standard deviation of the blur, in pixels; it does not change the variance of the noise.
    """

    name, example, strengths = "blurred", "blurred:30,0.5", 2
    needed = "photons on white, from 0.1 to 1000000, and from 0 to 8 pixels"

    def __init__(self, peak: Strength | float, blur: Strength | float) -> None:
        self._shots = Poisson(within(self, peak, 0.1, 1e6))
        self.blur = within(self, blur, 0, 8)
        self.floor = self._shots.floor

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        clean = to_float(source)
        gray = np.clip(clean.mean(axis=2, keepdims=True), 0, 1)
        noise = self._shots.draw(gray, rng=rng) - gray
        return clean + blurred(noise, self.blur.draw(rng))

    def __str__(self) -> str:
        return f"blurred:{self._shots.peak},{self.blur}"


class Row(NoiseModel):
    """Gaussian noise, plus an offset that all pixels of a row share.

    A random fraction of the offsets' variance is shared by all channels.

    Parameters
    ----------
    row : Strength or float
        Standard deviation of the offsets, in grey levels of 255.
    sigma_255 : Strength or float
        Standard deviation of the noise of each value, in grey levels of 255.

    References
    ----------
    Wei, Fu, Yang, Huang (2020), "A Physics-based Noise Formation Model for Extreme Low-light Raw Denoising",
    arXiv:2003.12751, section 3.2: row noise.
    """

    name, example, strengths = "row", "row:2,10", 2
    needed = "from 0 to 255 grey levels, and from 0 to 255 grey levels"

    def __init__(self, row: Strength | float, sigma_255: Strength | float) -> None:
        self.row = within(self, row, 0, 255)
        self._noise = Gaussian(within(self, sigma_255, 0, 255))
        variance = (self.row.mean_square() + self._noise.sigma_255.mean_square()) / 255**2
        self.floor = f"the noise variance, {variance:.5f}"

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        view = self._noise.draw(source, rng=rng)
        h, _, channels = view.shape
        shared, row = rng.random(), self.row.draw(rng) / 255
        offsets = math.sqrt(1 - shared) * rng.standard_normal((h, 1, channels), dtype=np.float32)
        offsets += math.sqrt(shared) * rng.standard_normal((h, 1, 1), dtype=np.float32)
        view += np.float32(row) * offsets
        return view

    def __str__(self) -> str:
        return f"row:{self.row},{self._noise.sigma_255}"
