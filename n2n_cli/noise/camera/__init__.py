"""Noise of digital cameras: from photons in linear light to an 8-bit JPEG.

Noise is drawn at the sensor and passed through the camera's stages. The result is the clean picture, as sharp as it is,
plus the change that the noise causes after all stages.

model        noise model `camera`, with the stages in their order
sensor       gains, colour matrix, shot and read noise, Bayer mosaic
demosaicing  two demosaicing methods
tone         tone curves
smoothing    noise reduction and sharpening
"""

from n2n_cli.noise.camera.model import Camera

__all__ = ["Camera"]
