"""Synthetic movie of a microscope.

Static structure, moving particles, flashing cells, bleaching and photon noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from n2n_cli.nn.functional import Array

_PEDESTAL, _READ_NOISE = 100.0, 3.0  # counts
_CELLS, _PARTICLES, _FIBRES = 6, 5, 14


@dataclass(frozen=True)
class SyntheticMovie:
    """A movie and its ground truth.

    Attributes
    ----------
    noisy : (T, H, W) uint16 array
        Counts: photons and a pedestal of 100.
    clean : (T, H, W) array
        Their expectation.
    moving : (T, H, W) boolean array
        Pixels that a particle covers in the frame, or in the one before or after.
    cells : (K, H, W) boolean array
        Flashing cells.
    """

    noisy: Array
    clean: Array
    moving: Array
    cells: Array

    @property
    def static(self) -> Array:
        """Pixels that neither move nor flash."""
        return ~self.moving & ~self.cells.any(axis=0)


def synthetic_movie(
    frames: int = 120, side: int = 128, *, photons: float = 20.0, bleaching: float = 0.25, seed: int = 0
) -> SyntheticMovie:
    """Draw a movie.

    Parameters
    ----------
    photons : float
        Mean of the brightest static structure, in the first frame.
    bleaching : float
        Share of the brightness that is lost until the last frame.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side].astype(float)
    static = _fibres(y, x, rng)
    cells = np.zeros((_CELLS, side, side), bool)
    flashes = np.zeros((frames, _CELLS))
    for i in range(_CELLS):
        cy, cx = rng.uniform(12, side - 12, 2)
        cells[i] = np.hypot(y - cy, x - cx) < rng.uniform(3.5, 6)
        for start in rng.integers(0, frames, max(1, frames // 25)):
            since = np.arange(frames) - start
            flashes[:, i] += np.where(
                since >= 0, np.exp(-np.maximum(since, 0) / 8) - np.exp(-np.maximum(since, 0) / 1.5), 0
            )
    paths = [
        (rng.uniform(10, side - 10, 2), rng.normal(size=2), rng.uniform(0.4, 3.0), rng.uniform(2.5, 4.5))
        for _ in range(_PARTICLES)
    ]
    clean, covered = np.empty((frames, side, side)), np.zeros((frames, side, side), bool)
    for t in range(frames):
        scene = static.copy()
        for i in range(_CELLS):
            scene[cells[i]] += 0.25 + 0.9 * flashes[t, i]
        for start, way, speed, radius in paths:
            at = start + t * speed * way / np.linalg.norm(way)
            cy, cx = side - 1 - np.abs((at + 3 * np.sin(t / 7)) % (2 * side - 2) - (side - 1))
            blob = np.clip(radius + 0.5 - np.hypot(y - cy, x - cx), 0, 1)
            scene = scene * (1 - blob) + 0.9 * blob
            covered[t] |= blob > 0
        clean[t] = scene * photons * (1 - bleaching * t / max(1, frames - 1))
    noisy = rng.poisson(clean) + rng.normal(_PEDESTAL, _READ_NOISE, clean.shape)
    moving = covered.copy()
    moving[1:] |= covered[:-1]
    moving[:-1] |= covered[1:]
    return SyntheticMovie(np.clip(np.rint(noisy), 0, 65535).astype(np.uint16), clean + _PEDESTAL, moving, cells)


def _fibres(y: Array, x: Array, rng: np.random.Generator) -> Array:
    """Thin curved lines on a smooth background, from 0 to 1."""
    side = len(y)
    scene = 0.15 + 0.1 * np.sin(y / side * 5) * np.cos(x / side * 4)
    for _ in range(_FIBRES):
        angle, place = rng.uniform(0, np.pi), rng.uniform(-0.2, 1.2) * side
        along = np.cos(angle) * x + np.sin(angle) * y
        across = -np.sin(angle) * x + np.cos(angle) * y - place + side / 2 * np.sin(angle)
        across = across + rng.uniform(2, 8) * np.sin(along / rng.uniform(8, 25))
        scene += rng.uniform(0.2, 0.6) * np.exp(-np.square(across) / (2 * rng.uniform(0.7, 1.8) ** 2))
    scene *= 1 + 0.15 * np.sin(x * 1.1) * np.sin(y * 0.9)
    return np.asarray(scene / scene.max())
