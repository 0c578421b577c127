"""Noise reduction and sharpening of cameras, applied to their noise.

In flat areas of camera JPEGs (half of the CC15 and PolyU pictures), brightness noise is like white noise after a blur
of about 0.7 pixels, and colour noise like white noise after a blur of 1.3 to 2.5 pixels plus a much wider one. Cameras
smooth colour more, because the eye sees less detail in it.
"""

from __future__ import annotations

import math

import numpy as np

from n2n_cli.images.pixels import LUMA
from n2n_cli.nn.functional import Array


def smoothed(noise: Array, *, smoothing: bool, sharpening: bool, rng: np.random.Generator) -> Array:
    """Apply a camera's noise reduction and sharpening, of random strengths, to noise.

    Parameters
    ----------
    noise : (H, W, 3) float array
        Noise in display values; its edges are periodic.
    smoothing, sharpening : bool
        Stages to apply.
    """
    h, w, _ = noise.shape
    squared = np.square(np.fft.fftfreq(h))[:, None] + np.square(np.fft.rfftfreq(w))
    brightness, colour = np.ones_like(squared), np.ones_like(squared)
    fine, coarse = rng.uniform(0.3, 1), math.exp(rng.uniform(math.log(0.9), math.log(5)))
    far, kept, amount = rng.uniform(0, 0.7), max(0, rng.uniform(-0.1, 0.15)), max(0, rng.uniform(-1, 1))
    if smoothing:
        brightness = _blur(squared, fine)
        colour = (1 - far) * _blur(squared, coarse) + far * _blur(squared, 4 * coarse)
        colour = kept * brightness + (1 - kept) * colour
    if sharpening:
        brightness = brightness * (1 + amount * (1 - _blur(squared, 1)))  # an unsharp mask of 1 pixel
    luma = noise @ LUMA  # (H, W, 1)
    planes = np.concatenate((luma, noise[..., ::2] - luma), axis=2)  # brightness, red and blue differences
    filters = np.stack((brightness, colour, colour), axis=2).astype(np.float32)
    planes = np.fft.irfft2(np.fft.rfft2(planes, axes=(0, 1)) * filters, (h, w), axes=(0, 1)).astype(np.float32)
    luma, red, blue = np.moveaxis(planes, 2, 0)
    red, blue = red + luma, blue + luma
    green = (luma - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return np.stack((red, green, blue), axis=2)


def _blur(squared: Array, sigma: float) -> Array:
    """Transfer function of a Gaussian blur by `sigma` pixels, at squared frequencies."""
    transfer: Array = np.exp(-2 * math.pi**2 * sigma**2 * squared)
    return transfer
