"""Normal noise: of each value by itself, or such as neighbours share."""

from __future__ import annotations

import math

import numpy as np

from n2n_cli.images.pixels import to_float
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.noise.model import NoiseModel, Strength, within


class Gaussian(NoiseModel):
    """Independent normal noise on every value.

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
        """(H, W, C) noise of variance 1."""
        return rng.standard_normal(shape, dtype=np.float32)

    def __str__(self) -> str:
        return f"gaussian:{self.sigma_255}"


class Grain(Gaussian):
    """Normal noise, in half of the views such as pictures have that a camera or a scanner has processed.

    That is correlated between neighbouring pixels, as after a Gaussian blur, and between channels: some of it is gray,
    or all. A network that has seen nothing but independent noise takes any other for detail, and keeps it.

    Parameters
    ----------
    sigma_255 : Strength or float
        Standard deviation in grey levels of 255, of all of it.
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
            # Of the variance, between channels; of a gray picture's noise all is.
            shared = min(1, rng.uniform(0, 1.25))
            gray = rng.standard_normal((*shape[:2], 1), dtype=np.float32)
            noise = np.float32(math.sqrt(1 - shared)) * noise + np.float32(math.sqrt(shared)) * gray
            noise = blurred(noise, self.blur.draw(rng))
        return noise

    def __str__(self) -> str:
        return f"grain:{self.sigma_255},{self.blur}"


def blurred(noise: Array, sigma: float) -> Array:
    """(H, W, C) white noise, blurred as if it went on beyond its edges with the opposite ones; its variance stays."""
    reach = math.ceil(3 * sigma)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    taps /= np.linalg.norm(taps)
    for axis in (0, 1):
        noise = sum(
            (np.float32(tap) * np.roll(noise, shift, axis) for shift, tap in enumerate(taps, -reach)),
            start=np.zeros_like(noise),
        )
    return noise
