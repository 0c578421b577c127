"""Noise of digital cameras: from the photons in linear light to the noise in an 8-bit JPEG.

Noise is made where it arises and then goes the way of the picture; the picture itself stays as sharp as it was. What
comes out is the clean picture, plus the difference that the noise makes after each stage.

model        the stages in their order, and the noise model `camera`
sensor       gains, colour matrix, shot and read noise, Bayer mosaic
demosaicing  a full colour at every pixel, by two methods
tone         tone curves
smoothing    noise reduction and sharpening
"""

from n2n_cli.noise.camera.model import Camera

__all__ = ["Camera"]
