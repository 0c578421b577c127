"""Fluxes of stars in denoised frames: `python -m benchmarks.stars`.

Draws fields of stars in electrons (a sky of 180 that grows by a third across the frame, read noise 7), denoises them by
the bundled model, and prints a table: the error of the sky and of the whole frame before and after, and the change of
the flux in apertures around the stars, in percent of the flux of all stars of a range.
"""

from __future__ import annotations

import argparse
import math
from itertools import pairwise

import numpy as np

from n2n_cli import denoise
from n2n_cli.nn.functional import Array
from n2n_cli.system import blas

_SKY, _SLOPE, _READ_NOISE = 180.0, 0.3, 7.0  # electrons; share of the sky
_FLUXES = (1_500, 5_000, 15_000, 50_000, 300_000)  # electrons; bounds of the ranges
_STARS = ((2.0, "Gaussian"), (3.2, "Gaussian"), (5.0, "Gaussian"), (2.5, "Moffat"), (4.0, "Moffat"))
_MOFFAT = 3.0  # exponent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stars", description=__doc__)
    parser.add_argument("--side", type=int, default=512, help="height and width, in pixels")
    parser.add_argument("--spacing", type=int, default=51, help="distance between stars, in pixels")
    options = parser.parse_args()
    blas.prepare_blas()
    ranges = [f"{low:,} to {high:,}" for low, high in pairwise(_FLUXES)]
    print(f"| FWHM | sky | frame | {' | '.join(ranges)} |\n{'| --- ' * (3 + len(ranges))}|")
    for seed, (fwhm, shape) in enumerate(_STARS):
        rng = np.random.default_rng(seed)
        sky, stars, places, fluxes = _field(options.side, options.spacing, fwhm, shape, rng)
        noisy = rng.poisson(sky + stars) + rng.normal(0, _READ_NOISE, sky.shape)
        made = denoise(noisy.astype(np.float32), values="photons") - sky
        noisy -= sky
        errors = [
            f"{_rms((noisy - stars)[where]):.1f}, {_rms((made - stars)[where]):.1f}"
            for where in (stars < 0.5, stars > -1)
        ]
        found = [_fluxes(frame, places, 1.6 * fwhm) for frame in (stars, noisy, made)]
        changes = [
            _change([one[(fluxes >= low) & (fluxes < high)] for one in found]) for low, high in pairwise(_FLUXES)
        ]
        print(f"| {' | '.join([f'{fwhm:g}, {shape}', *errors, *changes])} |", flush=True)


def _field(side: int, spacing: int, fwhm: float, shape: str, rng: np.random.Generator) -> tuple[Array, ...]:
    """Electrons of the sky and of the stars, places and fluxes of these."""
    y, x = np.mgrid[:side, :side].astype(float)
    sky = _SKY * (1 + _SLOPE * (x / side - 0.5))
    centres = np.arange(spacing / 2, side - spacing / 4, spacing)
    places = np.stack(np.meshgrid(centres, centres), -1).reshape(-1, 2)
    places += rng.uniform(-spacing / 5, spacing / 5, places.shape)
    fluxes = np.exp(rng.uniform(math.log(_FLUXES[0]), math.log(_FLUXES[-1]), len(places)))
    stars = np.zeros(sky.shape)
    for (row, column), flux in zip(places, fluxes, strict=True):
        square = (y - row) ** 2 + (x - column) ** 2
        if shape == "Moffat":
            width = fwhm / 2 / math.sqrt(2 ** (1 / _MOFFAT) - 1)
            light = (1 + square / width**2) ** -_MOFFAT
        else:
            light = np.exp(-square * 4 * math.log(2) / fwhm**2)
        stars += flux * light / light.sum()
    return sky, stars, places, fluxes


def _fluxes(frame: Array, places: Array, radius: float) -> Array:
    y, x = np.mgrid[: len(frame), : frame.shape[1]]
    radius = max(4.0, radius)
    return np.array([frame[(y - row) ** 2 + (x - column) ** 2 <= radius**2].sum() for row, column in places])


def _change(found: list[Array]) -> str:
    truth, noisy, made = (fluxes.sum() for fluxes in found)
    return f"{100 * (noisy / truth - 1):+.1f}, {100 * (made / truth - 1):+.1f}"


def _rms(x: Array) -> float:
    return math.sqrt(float(np.mean(np.square(x))))


if __name__ == "__main__":
    main()
