"""Simulated movement in stacks of frames.

Where the scene moves, its frames have no targets, so a network of several frames would learn only from still areas and
would blend the positions of a moving object. Patches of the scene, moved from frame to frame in inputs and targets
alike, teach the network to follow the frame that it denoises: they have the noise of the movie, and known targets.
"""

from __future__ import annotations

import numpy as np

from n2n_cli.nn.functional import Array

_MOST = 10
"""Maximum number of patches in a crop."""
_RADII = (1.5, 8.0)
_SPEED = 3.0
"""Standard deviation of the speed, in pixels per input frame."""
_CANDIDATES = 3
_CONTRAST = 0.3
"""Standard deviation of the change in brightness of a patch, as a fraction of the value range."""


def add_moving_patches(noisy: Array, target: Array, frames: int, *, rng: np.random.Generator) -> tuple[Array, Array]:
    """Move up to ten elliptic pieces of the scene through a stack of frames.

    Parameters
    ----------
    noisy, target : (H, W, frames * channels) arrays
    frames : int

    Returns
    -------
    noisy, target : new arrays of the same shapes
    """
    results = noisy.copy(), target.copy()
    side = np.array(noisy.shape[:2])
    y, x = np.ogrid[: side[0], : side[1]]
    brightness = noisy.mean(axis=2)
    for _ in range(rng.integers(_MOST + 1)):
        at, radii, speed = rng.uniform(0, side), rng.uniform(*_RADII, 2), rng.normal(0, _SPEED, 2)
        sources = rng.integers(0, side, (_CANDIDATES, 2))
        # A patch that looks like its surroundings would not visibly move.
        here = brightness[tuple(at.astype(int))]
        source = max(sources, key=lambda place: abs(float(brightness[tuple(place)]) - float(here)))
        contrast = np.float32(rng.normal(0, _CONTRAST))
        for k in range(frames):
            step = np.rint(speed * (k - frames // 2)).astype(int)
            inside = ((y - at[0] - step[0]) / radii[0]) ** 2 + ((x - at[1] - step[1]) / radii[1]) ** 2 < 1
            rows, columns = np.nonzero(inside)
            places = [
                (own - int(at[axis]) - step[axis] + source[axis]) % side[axis]
                for axis, own in enumerate((rows, columns))
            ]
            part = slice(k * noisy.shape[2] // frames, (k + 1) * noisy.shape[2] // frames)
            for result, scene in zip(results, (noisy, target), strict=True):
                result[rows, columns, part] = scene[places[0], places[1], part] + contrast
    return results
