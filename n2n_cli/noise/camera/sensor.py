"""Camera sensor: white balance, colour matrix, shot and read noise, Bayer mosaic.

References
----------
Brooks, Mildenhall, Xue, Chen, Sharlet, Barron (2019), "Unprocessing Images for Learned Raw Denoising",
arXiv:1811.11127, section 3 and appendix: the distributions of gains, matrices and noise levels, fitted to the Darmstadt
Noise Dataset.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from n2n_cli.nn.functional import Array
from n2n_cli.noise.camera.demosaicing import BILINEAR, MALVAR, demosaic

_XYZ_TO_CAMERA = np.array(
    [
        [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
        [[0.4913, -0.0541, -0.0202], [-0.6130, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]],
        [[0.8380, -0.2630, -0.0639], [-0.2887, 1.0725, 0.2496], [-0.0627, 0.1427, 0.5438]],
        [[0.6596, -0.2079, -0.0562], [-0.4782, 1.3016, 0.1933], [-0.0970, 0.1581, 0.5181]],
    ]
)
"""Colour matrices of four cameras of the Darmstadt Noise Dataset."""
_SRGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


@dataclass(frozen=True)
class Sensor:
    """A camera's sensor, and the conversion of its colours to linear sRGB.

    Parameters
    ----------
    shot : float
        Variance of shot noise on white.
    read : float
        Variance of read noise.
    gains : (3,) array
        White-balance factors of red, green and blue.
    matrix : (3, 3) array
        Matrix from linear sRGB to the camera's colours.
    """

    shot: float
    read: float
    gains: Array
    matrix: Array

    @classmethod
    def drawn(cls, shot: float, *, matrix: bool, rng: np.random.Generator) -> Sensor:
        """Draw a random camera; without `matrix`, its colours are linear sRGB."""
        read = math.exp(2.18 * math.log(shot) + 1.2 + 0.26 * rng.standard_normal())
        brightness = 1 / max(0.5, rng.normal(0.8, 0.1))
        gains = brightness * np.array([rng.uniform(1.9, 2.4), 1, rng.uniform(1.5, 1.9)])
        shares = rng.random(len(_XYZ_TO_CAMERA))
        to_camera = np.eye(3)
        if matrix:
            to_camera = np.tensordot(shares / shares.sum(), _XYZ_TO_CAMERA, axes=1) @ _SRGB_TO_XYZ
            to_camera /= to_camera.sum(axis=1, keepdims=True)  # white stays white
        return cls(shot, read, gains.astype(np.float32), to_camera.astype(np.float32))

    def noise(self, light: Array, *, mosaic: bool, rng: np.random.Generator) -> Array:
        """Draw the noise of a picture, in linear sRGB.

        Parameters
        ----------
        light : (H, W, 3) float array
            The clean picture in linear sRGB.
        mosaic : bool
            Measure one colour per pixel and interpolate the others.

        Returns
        -------
        (H, W, 3) float32
        """
        raw = np.clip(light @ self.matrix.T / self.gains, 0, 1)
        deviation = np.sqrt(np.float32(self.shot) * raw + np.float32(self.read))
        noise = rng.standard_normal(light.shape, dtype=np.float32) * deviation
        if mosaic:
            red = int(rng.integers(2)), int(rng.integers(2))
            noise = demosaic(noise, red, MALVAR if rng.integers(2) else BILINEAR)
        back: Array = (noise * self.gains) @ np.linalg.inv(self.matrix).T
        return back
