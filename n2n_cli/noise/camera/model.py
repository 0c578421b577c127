"""Noise model `camera`: all stages in their order."""

from __future__ import annotations

import math

import numpy as np

from n2n_cli.images.pixels import LUMA, to_float, to_integer
from n2n_cli.nn.functional import Array
from n2n_cli.noise.camera.sensor import Sensor
from n2n_cli.noise.camera.smoothing import smoothed
from n2n_cli.noise.camera.tone import ToneCurve
from n2n_cli.noise.compression import drawn_jpeg
from n2n_cli.noise.model import NoiseModel, Strength, within

QUALITIES = 75, 99
"""Lowest and highest JPEG quality, in libjpeg's scale."""


class Camera(NoiseModel):
    """Noise of a camera's JPEG, with a random camera for every view.

    The noise has zero mean, as in real shots compared with the mean of many; a network would learn another mean as a
    shift of dark colours. Only the noise passes through the stages, JPEG included: the content does not change. Targets
    have the sensor's noise, smoothed as in inputs, but neither clipping nor JPEG.

    Parameters
    ----------
    shot : Strength or float
        Variance of shot noise on a white raw picture, before gains: 0.0002 is about ISO 100, 0.01 ISO 3200.
    mosaic : bool
        Use a Bayer mosaic and demosaicing.
    matrix : bool
        Use a colour matrix.
    curve : bool
        Use a tone curve.
    smoothing, sharpening : bool
        Use noise reduction, and sharpening of brightness.
    jpeg : bool
        Use JPEG with random position of its 8x8 grid, quality and colour resolution.
    rounding : bool
        Clip and round to 8 bits, which JPEG includes.

    References
    ----------
    Guo, Yan, Zhang, Zuo, Zhang (2019), "Toward Convolutional Blind Denoising of Real Photographs", arXiv:1807.04686,
    section 3.1: noise in raw space, demosaicing, response curve, JPEG. The modules of the stages name further ones.
    """

    name, example = "camera", "camera:0.0001~0.015"
    needed = "the variance of shot noise on white, from 0.000001 to 0.1"
    floor = "the variance of the cameras' noise"

    def __init__(
        self,
        shot: Strength | float,
        *,
        mosaic: bool = True,
        matrix: bool = True,
        curve: bool = True,
        smoothing: bool = True,
        sharpening: bool = True,
        jpeg: bool = True,
        rounding: bool = True,
    ) -> None:
        self.shot = within(self, shot, 1e-6, 0.1)
        self.mosaic, self.matrix, self.curve = mosaic, matrix, curve
        self.smoothing, self.sharpening = smoothing, sharpening
        self.jpeg, self.rounding = jpeg, rounding

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        view = self._noisy(source, clipped=True, rng=rng)
        if self.jpeg:
            compress = drawn_jpeg(int(rng.integers(QUALITIES[0], QUALITIES[1] + 1)), rng=rng)
            clean = to_float(source)
            view = clean + (compress(view) - compress(clean))
        return to_float(to_integer(view, np.uint8)) if self.rounding or self.jpeg else view

    def draw_target(self, source: Array, *, rng: np.random.Generator) -> Array:
        return self._noisy(source, clipped=False, rng=rng)

    def _noisy(self, source: Array, *, clipped: bool, rng: np.random.Generator) -> Array:
        clean = to_float(source)
        colours = np.broadcast_to(clean, (*clean.shape[:2], 3))
        curve = ToneCurve.drawn(rng) if self.curve else ToneCurve(1, 0, math.inf)
        sensor = Sensor.drawn(self.shot.draw(rng), matrix=self.matrix, rng=rng)
        light = curve.light(colours)
        noise = sensor.noise(light, mosaic=self.mosaic, rng=rng)
        if clipped:  # half the difference of opposite noise has zero mean for any curve
            noise = (curve.display(light + noise) - curve.display(light - noise)) / 2
        else:
            noise = curve.slope(light) * noise
        noise = smoothed(noise, smoothing=self.smoothing, sharpening=self.sharpening, rng=rng)
        view: Array = clean + (noise if clean.shape[2] == 3 else noise @ LUMA)
        return view

    def __str__(self) -> str:
        return f"camera:{self.shot}"
