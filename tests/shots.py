"""Small noisy shots of generated scenes, shared by several test files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.data.alignment import Exposure
from n2n_cli.data.dead_leaves import dead_leaves_picture
from n2n_cli.data.scenes import Shots
from n2n_cli.data.shots import Scene
from n2n_cli.images import Picture, write_picture
from n2n_cli.images.pixels import to_integer
from n2n_cli.nn.functional import Array, Pair


def scene(h: int, w: int, seed: int = 0) -> Array:
    """Clean scene, (h, w, 3) floats from 0.15 to 0.85, so that noise is not clipped."""
    return 0.15 + 0.7 * dead_leaves_picture(max(h, w, 32), rng=np.random.default_rng(seed))[:h, :w].astype(np.float32)


def noisy(clean: Array, sigma_255: float = 10, seed: int = 0, dtype: DTypeLike = np.uint8) -> Array:
    """Noisy shot of a scene, rounded to the levels of `dtype`."""
    return to_integer(clean + np.random.default_rng([7, seed]).normal(0, sigma_255 / 255, clean.shape), dtype)


def write_burst(folder: Path, shots: Sequence[Array]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, shot in enumerate(shots):
        write_picture(folder / f"{i}.png", Picture(shot))
    return folder


def write_bursts(folder: Path, scenes: int = 3, shots: int = 3, size: Pair = (40, 48)) -> Path:
    for i in range(scenes):
        clean = scene(*size, seed=i)
        write_burst(folder / f"scene{i}", [noisy(clean, seed=10 * i + j) for j in range(shots)])
    return folder


def in_memory(pixels: Sequence[Array], pairs: Sequence[Pair], exposures: Sequence[Exposure] = ()) -> Shots:
    """Scene that exists only in memory."""
    names = tuple(Path(f"{i}.png") for i in range(len(pixels)))
    return Shots(Scene("scene", names, tuple(pairs)), list(pixels), list(exposures) or [Exposure()] * len(pixels))
