"""Shot noise, alone and with Gaussian read noise."""

from __future__ import annotations

import numpy as np

from n2n_cli.images.pixels import to_float
from n2n_cli.nn.functional import Array
from n2n_cli.noise.gaussian import Gaussian
from n2n_cli.noise.model import NoiseModel, Strength, within


class Poisson(NoiseModel):
    """Shot noise: a Poisson number of photons, divided by the mean number on white.

    Parameters
    ----------
    peak : Strength or float
        Mean number of photons on a white pixel; fewer photons mean more noise.
    """

    name, example, needed = "poisson", "poisson:30", "photons on white, from 0.1 to 1000000"

    def __init__(self, peak: Strength | float) -> None:
        self.peak = within(self, peak, 0.1, 1e6)
        self.floor = "the mean of the pictures, divided by the photons on white"

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        peak = self.peak.draw(rng)
        counts = rng.poisson(np.clip(to_float(source), 0, 1) * peak)
        return (counts / peak).astype(np.float32)

    def __str__(self) -> str:
        return f"poisson:{self.peak}"


class PoissonGaussian(NoiseModel):
    """Shot noise and Gaussian read noise of the sensor.

    Parameters
    ----------
    peak : Strength or float
        Mean number of photons on a white pixel.
    sigma_255 : Strength or float
        Standard deviation of the read noise, in grey levels of 255.
    """

    name, example, strengths = "poisson-gaussian", "poisson-gaussian:30,5", 2
    needed = "photons on white, from 0.1 to 1000000, and from 0 to 255 grey levels"

    def __init__(self, peak: Strength | float, sigma_255: Strength | float) -> None:
        self._shots = Poisson(within(self, peak, 0.1, 1e6))
        self._reading = Gaussian(within(self, sigma_255, 0, 255))
        self.floor = f"{self._shots.floor}, and {self._reading.sigma_255.mean_square() / 255**2:.5f}"

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        return self._reading.draw(self._shots.draw(source, rng=rng), rng=rng)

    def __str__(self) -> str:
        return f"poisson-gaussian:{self._shots.peak},{self._reading.sigma_255}"
