"""Dead-leaves pictures, generated from a seed, for training without photographs.

A dead-leaves picture is like a forest floor: leaves of all sizes fall at random, and each hides the leaves below. It
has the sharp edges, the occlusion and the falling power spectrum of photographs. Here a leaf is an ellipse or a box,
coloured from the picture's own palette, shaded, and sometimes textured.

References
----------
Lee, Mumford and Huang (2001), Occlusion models for natural images, IJCV 41: leaves of radius r with density r^-3 make
pictures that look the same at every scale.
Achddou, Gousseau and Ladjal (2021), Synthetic images as a regularity prior for image restoration neural networks, SSVM:
a denoiser trained on dead leaves. The ranges below are ours, set by comparing statistics with those of photographs.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from n2n_cli.data.leaves import Integers, Leaves, drop_leaves, topmost_leaves
from n2n_cli.errors import ArgumentError

Floats = NDArray[np.float32]

LARGEST = 8192
"""Maximum side, in pixels; sample indices of much larger pictures exceed 32 bits."""
SHEETS, SHEET = 4, 256
"""Number of textures of a picture, and their side in pixels; textures repeat as tiles."""

# Black to white, blue to red, green to magenta: the axes along which the colours of photographs vary independently.
_AXES = np.array([[1, 1, 1], [0.65, 0.05, -0.8], [0.4, -0.7, 0.35]])


def dead_leaves(count: int, size: int = 256, *, seed: int, threads: int | None = None) -> NDArray[np.uint8]:
    """Generate pictures; picture i depends only on `seed`, `size` and i.

    Parameters
    ----------
    count : int
    size : int
        Side of each picture, in pixels.
    seed : int
    threads : int, optional
        Pictures generated at the same time; one per processor by default.

    Returns
    -------
    (count, size, size, 3) uint8 array

    Raises
    ------
    ArgumentError
        When `count` or `seed` is negative, `threads` is not positive, or `size` is not from 1 to `LARGEST`.
    """
    threads = (os.cpu_count() or 1) if threads is None else threads
    for name, value, least in (("count", count, 0), ("size", size, 1), ("seed", seed, 0), ("threads", threads, 1)):
        if value < least:
            raise ArgumentError(name, value, f"at least {least}")
    if size > LARGEST:
        raise ArgumentError("size", size, f"at most {LARGEST} pixels")
    pictures = np.empty((count, size, size, 3), np.uint8)

    def make(i: int) -> None:
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, i])))
        pictures[i] = np.rint(dead_leaves_picture(size, rng=rng) * 255)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(make, range(count)))  # list() waits for each result and raises its error
    return pictures


def dead_leaves_picture(size: int, *, rng: np.random.Generator) -> Floats:
    """Generate one picture.

    Parameters
    ----------
    size : int
        Side of the picture, in pixels.
    rng : numpy.random.Generator

    Returns
    -------
    (size, size, 3) float32 array in [0, 1]
    """
    leaves = drop_leaves(size, rng=rng)
    colour = _Colours(leaves, size, rng=rng)
    samples = topmost_leaves(leaves, size)  # (S*S, size*size)
    pixels = np.arange(size * size, dtype=np.int32)
    picture = colour(samples[0], pixels)
    edges = np.flatnonzero((samples != samples[0]).any(axis=0)).astype(np.int32)
    picture[edges] = sum(colour(leaf[edges], edges) for leaf in samples) / np.float32(len(samples))
    return _blur(picture.reshape(size, size, 3), np.float32(rng.uniform(0, 0.15)))


class _Colours:
    """Colours of the leaves of a picture at its pixels.

    Colours are logits, so light and texture fade towards black and white and need no clipping.
    """

    def __init__(self, leaves: Leaves, size: int, *, rng: np.random.Generator) -> None:
        n, centres = len(leaves.x), np.stack([leaves.x, leaves.y])
        # Neighbouring leaves are often alike: the position in the palette is slow waves plus noise.
        waves = np.cos(rng.normal(0, 4 / size, (4, 2)) @ centres + rng.uniform(0, 2 * np.pi, (4, 1))).sum(axis=0)
        order = rng.uniform(0, 1)
        place = np.sqrt(order / 2) * waves + np.sqrt(1 - order) * rng.standard_normal(n)
        light = rng.normal(-0.15, 0.5) + rng.uniform(0.5, 1.5) * place
        hue = _walk(place, rng=rng) * rng.lognormal(np.log(0.5), 0.6) + rng.normal(0.15, 0.45)
        hue_2 = _walk(place, rng=rng) * rng.lognormal(np.log(0.25), 0.6) + rng.normal(0, 0.15)
        flat = (np.stack([light, hue, hue_2], axis=1) + rng.normal(0, 0.07, (n, 3))) @ _AXES
        tint = 1 + rng.normal(0, 0.12, (n, 2)) @ _AXES[1:]
        slope = rng.normal(0, 0.4, (2, n)) / np.maximum(leaves.a, 4)
        roughness = rng.lognormal(np.log(0.2), 0.8) * rng.lognormal(0, 0.8, n)
        texture = np.where(rng.random(n) < 0.7, np.minimum(roughness, 1.5), 0)
        self.size = size
        self.table = np.column_stack([flat, tint, -(slope * centres).sum(axis=0), *slope, texture]).astype(np.float32)
        self.corner = rng.integers((SHEETS, SHEET, SHEET), size=(n, 3), dtype=np.int32)
        self.sheets = np.stack([_texture(rng=rng) for _ in range(SHEETS)])

    def __call__(self, leaf: Integers, pixel: Integers) -> Floats:
        """Colours (n, 3) in [0, 1] of (n,) leaves at (n,) pixel indices y * size + x."""
        y, x = np.divmod(pixel, np.int32(self.size))
        sheet, dy, dx = self.corner.take(leaf, axis=0).T
        texture = self.sheets.take((sheet * SHEET + (y + dy) % SHEET) * SHEET + (x + dx) % SHEET)
        row = self.table.take(leaf, axis=0)
        shade = row[:, 6] + row[:, 7] * x.astype(np.float32) + row[:, 8] * y.astype(np.float32) + row[:, 9] * texture
        logit = row[:, :3] + row[:, 3:6] * shade[:, None]
        colour: Floats = np.clip(1.05 / (1 + np.exp(-logit)) - 0.015, 0, 1)
        return colour


def _walk(place: NDArray[np.float64], *, rng: np.random.Generator) -> NDArray[np.float64]:
    """Random walk along the palette, evaluated at each place; 0 in the middle."""
    steps = np.cumsum(rng.normal(0, 0.5, 25))
    walk: NDArray[np.float64] = np.interp(place, np.linspace(-3, 3, 25), steps - steps[12])
    return walk


def _texture(*, rng: np.random.Generator) -> Floats:
    """Generate a (SHEET, SHEET) tile of mean 0, variance 1: 1/f^s noise, or ripples."""
    fy, fx = np.fft.fftfreq(SHEET)[:, None], np.fft.rfftfreq(SHEET)
    angle, stretch = rng.uniform(0, np.pi), np.exp(rng.uniform(0, 1.2))
    cos, sin = np.cos(angle), np.sin(angle)
    f = np.hypot((cos * fx + sin * fy) * stretch, (cos * fy - sin * fx) / stretch)  # stretched like hair or bark
    f[0, 0] = np.inf
    waves = rng.standard_normal((*f.shape, 2), np.float32).view(np.complex64)[..., 0]
    noise = np.fft.irfft2(waves * (f ** -rng.uniform(0.5, 2.5)).astype(np.float32), (SHEET, SHEET))
    noise /= noise.std()
    kind = rng.random()
    if kind < 0.2:
        noise = np.tanh(3 * noise)
    elif kind < 0.4:
        k = np.rint(SHEET * np.exp(rng.uniform(np.log(0.03), np.log(0.3))) * np.array([cos, sin]))
        ramp = np.arange(SHEET) * (2 * np.pi / SHEET)
        noise = np.sin(k[0] * ramp + k[1] * ramp[:, None] + rng.uniform(0, 2) * noise)
    texture: Floats = ((noise - noise.mean()) / noise.std()).astype(np.float32)
    return texture


def _blur(picture: Floats, weight: np.float32) -> Floats:
    """Blur as a lens does: neighbours along both axes have weight `weight`."""
    for _ in range(2):
        padded = np.pad(picture, ((1, 1), (0, 0), (0, 0)), "edge")
        picture = (picture + weight * (padded[:-2] + padded[2:] - 2 * picture)).swapaxes(0, 1)
    return picture
