"""Tone curves of cameras: from linear light to display values.

References
----------
Brooks et al. (2019), arXiv:1811.11127, section 3.1: gamma compression, and the S-curve 3x^2 - 2x^3 after it.
Reinhard, Stark, Shirley, Ferwerda (2002), "Photographic tone reproduction for digital images", equation 4: the
shoulder, which compresses highlights. Without it, bright areas are noisier than those measured in camera JPEGs.
Cameras differ (Grossberg and Nayar 2003, "What is the space of camera response functions?", CVPR), so the curve's
parameters are random here.
"""

from __future__ import annotations

import math

import numpy as np

from n2n_cli.nn.functional import Array

_LINEAR = 0.04
"""Weight of a straight line in the inverse gamma curve: keeps the slope at black finite, as in sRGB."""
_POINTS = 1024
"""Number of points of the lookup tables."""


class ToneCurve:
    """An increasing curve from light in [0, 1] to display values in [0, 1].

    Parameters
    ----------
    gamma : float
        Exponent.
    contrast : float
        Weight of the S-curve, from 0 to 1.
    shoulder : float
        Light at which the slope of highlights is about halved; infinite for no compression.
    """

    def __init__(self, gamma: float, contrast: float, shoulder: float) -> None:
        encoded = np.linspace(0, 1, _POINTS)
        linear = 0.0 if gamma == 1 else _LINEAR
        light = (1 - linear) * encoded**gamma + linear * encoded
        light /= 1 + (1 - light) / shoulder
        display = encoded + contrast * (encoded * encoded * (3 - 2 * encoded) - encoded)
        # Searching among uneven light values would be the slowest step. Tables over the square root of light need no
        # search, and are fine where the curve is steep.
        squares = encoded * encoded
        self._light = np.interp(encoded, display, light).astype(np.float32)
        self._display = np.interp(squares, light, display).astype(np.float32)
        self._slopes = np.interp(squares, light, np.gradient(display, light)).astype(np.float32)

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> ToneCurve:
        """Draw the curve of a random camera."""
        return cls(rng.uniform(1.8, 2.6), rng.uniform(0.4, 1), math.exp(rng.uniform(math.log(0.5), math.log(4))))

    def display(self, light: Array) -> Array:
        """Convert light to display values; light is clipped to [0, 1]."""
        return _looked_up(self._display, np.sqrt(np.clip(light, 0, 1)))

    def light(self, display: Array) -> Array:
        """Convert display values to light: the inverse of `display`."""
        return _looked_up(self._light, np.clip(display, 0, 1))

    def slope(self, light: Array) -> Array:
        """Slope of the curve at given light."""
        return _looked_up(self._slopes, np.sqrt(np.clip(light, 0, 1)))


def _looked_up(table: Array, places: Array) -> Array:
    """Interpolate a table linearly at places from 0 (first value) to 1 (last value)."""
    places = places * np.float32(len(table) - 1)
    index = np.minimum(places.astype(np.intp), len(table) - 2)
    value: Array = table[index] + (places - index.astype(np.float32)) * np.diff(table)[index]
    return value
