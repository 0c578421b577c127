"""Gaussian noise, independent or correlated between neighbours and channels."""

from __future__ import annotations

import math

import numpy as np

from n2n_cli.images.pixels import to_float
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.noise.model import NoiseModel, Strength, within


class Gaussian(NoiseModel):
    """Independent Gaussian noise on every value.

    Parameters
    ----------
    sigma_255 : Strength or float
        Standard deviation in grey levels of 255.
    """

    name, example, needed = "gaussian", "gaussian:25", "from 0 to 255 grey levels"

    def __init__(self, sigma_255: Strength | float) -> None:
        self.sigma_255 = within(self, sigma_255, 0, 255)
        self.floor = f"the noise variance, {self.sigma_255.mean_square() / 255**2:.5f}"

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        sigma = np.float32(self.sigma_255.draw(rng) / 255)
        view = self._standard(source.shape, rng=rng)
        view *= sigma
        view += to_float(source)
        return view

    def _standard(self, shape: Shape, *, rng: np.random.Generator) -> Array:
        """Draw (H, W, C) noise of variance 1."""
        return rng.standard_normal(shape, dtype=np.float32)

    def __str__(self) -> str:
        return f"gaussian:{self.sigma_255}"


class Grain(Gaussian):
    """Gaussian noise, correlated in half of the views as after a camera's processing.

    Correlated noise is blurred by a Gaussian and partly or fully shared by all channels. A network trained only on
    independent noise takes correlated noise for detail and keeps it.

    Parameters
    ----------
    sigma_255 : Strength or float
        Standard deviation of the noise, in grey levels of 255.
    blur : Strength or float
        Standard deviation of the blur, in pixels.
    """

    name, example, strengths = "grain", "grain:0-50,0-1", 2
    needed = "from 0 to 255 grey levels, and from 0 to 8 pixels"

    def __init__(self, sigma_255: Strength | float, blur: Strength | float) -> None:
        super().__init__(sigma_255)
        self.blur = within(self, blur, 0, 8)

    def _standard(self, shape: Shape, *, rng: np.random.Generator) -> Array:
        noise = super()._standard(shape, rng=rng)
        if rng.integers(2):
            # Fraction of the variance that all channels share; without effect on a gray picture.
            shared = min(1, rng.uniform(0, 1.25))
            gray = rng.standard_normal((*shape[:2], 1), dtype=np.float32)
            noise = np.float32(math.sqrt(1 - shared)) * noise + np.float32(math.sqrt(shared)) * gray
            noise = blurred(noise, self.blur.draw(rng))
        return noise

    def __str__(self) -> str:
        return f"grain:{self.sigma_255},{self.blur}"


def blurred(noise: Array, sigma: float) -> Array:
    """Blur (H, W, C) white noise with periodic edges, keeping its variance."""
    reach = math.ceil(3 * sigma)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    taps /= np.linalg.norm(taps)
    for axis in (0, 1):
        noise = sum(
            (np.float32(tap) * np.roll(noise, shift, axis) for shift, tap in enumerate(taps, -reach)),
            start=np.zeros_like(noise),
        )
    return noise
