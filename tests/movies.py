"""Small noisy movies of a generated scene, shared by several test files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from n2n_cli.nn.functional import Array
from tests.values.frames import blobs


def still(count: int, height: int = 40, width: int = 48, peak: float = 200, seed: int = 0) -> Array:
    """Expected photons of a static scene, (count, height, width)."""
    signal = peak * blobs(max(height, width), np.random.default_rng(seed))[:height, :width] + 10
    return np.repeat(signal[None], count, axis=0)


def counted(expected: Array, seed: int = 0) -> Array:
    """Counts in uint16 with photon noise and an offset of 100."""
    rng = np.random.default_rng([8, seed])
    return (rng.poisson(expected) + 100 + np.rint(rng.normal(0, 2, expected.shape))).astype(np.uint16)


def write_movie(path: Path, frames: Array, description: str = "") -> Path:
    """Write a TIFF file with one page per frame and ImageJ's description."""
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(
        path, save_all=True, append_images=images[1:], **({"description": description} if description else {})
    )
    return path
