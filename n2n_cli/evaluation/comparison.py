"""Comparison of a picture before and after denoising, with the clean one where it is known: figures and a sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from n2n_cli.errors import ImageError, UsageError
from n2n_cli.evaluation.metrics import psnr, ssim
from n2n_cli.evaluation.sheet import Panel, Region, draw_sheet, region_side, shown_size
from n2n_cli.images import Picture
from n2n_cli.images.pixels import to_integer
from n2n_cli.nn.functional import Array
from n2n_cli.noise.level import estimate_sigma

GAIN = 8
"""How many times as strong a difference is shown."""


@dataclass(frozen=True)
class Figures:
    """What can be told of a picture.

    Attributes
    ----------
    picture : str
        "noisy" or "denoised".
    psnr, ssim : float (dB), float, or None
        Against the clean picture, where there is one.
    sigma_255 : float or None
        Where there is none: the estimated noise, in grey levels of 255; not a number for a very small picture.
    """

    picture: str
    psnr: float | None = None
    ssim: float | None = None
    sigma_255: float | None = None

    def __str__(self) -> str:
        if self.psnr is not None:
            return f"PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.4f}"
        if self.sigma_255 is None or self.sigma_255 != self.sigma_255:
            return "too small to estimate its noise"
        return f"estimated noise: sigma {self.sigma_255:.1f} of 255"


@dataclass(frozen=True)
class Comparison:
    """The figures of the noisy and the denoised picture, and the (H, W, 3) uint8 sheet that shows them."""

    figures: tuple[Figures, Figures]
    sheet: Array


def compare(
    pictures: Sequence[tuple[Path, Picture]], crops: Sequence[tuple[int, int, int]] | None = None
) -> Comparison:
    """Compare a noisy and a denoised picture, and a clean one where it is given as the third.

    Parameters
    ----------
    pictures : two or three of (file, picture)
        Gray ones are shown beside coloured ones as three equal channels. Alpha is left out.
    crops : sequence of (left, top, side), optional
        Regions to enlarge, in pixels. By default those are chosen where the denoiser is furthest from the clean picture
        (or changed most), where there is most detail, and where there is least.

    Raises
    ------
    ImageError
        When the sizes differ.
    UsageError
        When a crop does not lie in the pictures.
    """
    _check_sizes(pictures)
    reference = pictures[-1][1] if len(pictures) == 3 else pictures[0][1]
    units = _units([picture for _, picture in pictures], reference)  # (C, H, W) each
    noisy, denoised = units[:2]
    clean = units[2] if len(units) == 3 else None
    figures = _figures("noisy", noisy, clean), _figures("denoised", denoised, clean)
    difference = denoised - clean if clean is not None else noisy - denoised
    height, width = noisy.shape[1:]
    if crops is None:
        why = "largest change" if clean is None else "largest error"
        regions = telling_regions(denoised if clean is None else clean, difference, region_side(height, width), why)
    else:
        regions = [_region(crop, height, width) for crop in crops]
    panels = [
        Panel("noisy", str(figures[0]), _shown(noisy)),
        Panel("denoised", str(figures[1]), _shown(denoised)),
    ]
    if clean is not None:
        panels.append(Panel("clean", "what the others are measured against", _shown(clean)))
    meaning = "noisy - denoised" if clean is None else "denoised - clean"
    np.multiply(difference, GAIN, out=difference)
    difference += 128 / 255  # no difference is a level of its own
    panels.append(Panel(f"difference x{GAIN}", f"{meaning}, gray is none", _shown(difference)))
    names = "   ".join(path.name for path, _ in pictures)
    percent = 100 * shown_size(height, width)[1] / width
    facts = f"{width} x {height} pixels, shown at {percent:,.{0 if percent >= 10 else 1}f}%"
    return Comparison(figures, draw_sheet(names, facts, panels, regions))


def telling_regions(reference: Array, difference: Array, side: int, why: str) -> list[Region]:
    """Up to three squares that do not overlap: of the largest difference, of the most and of the least detail.

    Parameters
    ----------
    reference, difference : (C, H, W) arrays
        Detail is the mean squared gradient of `reference`; of least detail, dark and bright areas come last.
    side : int
        Of a square, in pixels; with 0 there are none.
    why : str
        The first one's label.
    """
    step = max(1, side // 2)
    if side == 0 or min(reference.shape[1:]) < 2 * step:
        return []
    gray = reference.mean(axis=0)
    gradient = np.zeros_like(gray)
    gradient[1:] += np.square(np.diff(gray, axis=0))
    gradient[:, 1:] += np.square(np.diff(gray, axis=1))
    error, detail, light = (_windows(x, step) for x in (np.square(difference).mean(axis=0), gradient, gray))
    free = np.ones(error.shape, bool)
    shaded = (light > 0.15) & (light < 0.85)
    regions = []
    for label, worth in ((why, error), ("most detail", detail), ("least detail", -detail - ~shaded)):
        if not free.any():
            break
        i, j = np.unravel_index(int(np.argmax(np.where(free, worth, -np.inf))), free.shape)
        free[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2] = False
        regions.append(Region(int(j) * step, int(i) * step, min(side, 2 * step), label))
    return regions


def _windows(values: Array, step: int) -> Array:
    """Means of (H, W) values over squares of two steps a side, one for every step."""
    h, w = (size // step for size in values.shape)
    blocks = values[: h * step, : w * step].reshape(h, step, w, step).mean(axis=(1, 3))
    means: Array = (blocks[1:, 1:] + blocks[1:, :-1] + blocks[:-1, 1:] + blocks[:-1, :-1]) / 4
    return means


def _units(pictures: Sequence[Picture], reference: Picture) -> list[Array]:
    """The pictures as (C, H, W) float32 in [0, 1], with as many channels each."""
    channels = max(picture.pixels.shape[2] for picture in pictures)
    units = []
    for picture in pictures:
        # Values of one kind are on one scale; only those of different depths have each their own.
        scale = reference if picture.pixels.dtype == reference.pixels.dtype else picture
        pixels = np.moveaxis(scale.to_unit(picture.pixels), -1, 0)
        units.append(np.broadcast_to(pixels, (channels, *pixels.shape[1:])))
    return units


def _figures(name: str, picture: Array, clean: Array | None) -> Figures:
    if clean is None:
        return Figures(name, sigma_255=estimate_sigma(np.moveaxis(picture, 0, -1)))
    return Figures(name, psnr(picture, clean), ssim(picture, clean))


def _shown(picture: Array) -> Array:
    """(C, H, W) in [0, 1] -> (H, W, 3) uint8."""
    pixels = to_integer(np.moveaxis(picture, 0, -1), np.uint8)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _region(crop: tuple[int, int, int], height: int, width: int) -> Region:
    left, top, side = crop
    if min(left, top) < 0 or side < 1 or left + side > width or top + side > height:
        raise UsageError(
            f"`--crop {left},{top},{side}` does not lie in the pictures, which have {width}x{height} pixels",
            hint="X,Y,SIZE: left and upper edge of a square and its side, in pixels",
        )
    return Region(left, top, side, "")


def _check_sizes(pictures: Sequence[tuple[Path, Picture]]) -> None:
    sizes = [f"`{path}` has {p.pixels.shape[1]}x{p.pixels.shape[0]} pixels" for path, p in pictures]
    if len({picture.pixels.shape[:2] for _, picture in pictures}) > 1:
        raise ImageError(
            f"pictures of different sizes cannot be compared: {', '.join(sizes)}",
            hint="name the same picture before and after denoising, not a scaled or cut version of it",
        )
