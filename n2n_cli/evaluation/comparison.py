"""Comparison of a noisy picture, its denoised version and the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from n2n_cli.errors import ImageError, UsageError
from n2n_cli.evaluation.metrics import decibel, psnr, ssim
from n2n_cli.evaluation.sheet import Panel, Region, draw_sheet, region_side, shown_size
from n2n_cli.images import Picture
from n2n_cli.images.pixels import to_float, to_integer
from n2n_cli.nn.functional import Array
from n2n_cli.noise.analysis import analyse_noise
from n2n_cli.values.choice import Mode, choose_values
from n2n_cli.values.transform import Values

DIFFERENCE_GAIN = 8
"""Factor by which differences are amplified for display."""


@dataclass(frozen=True)
class PictureMetrics:
    """Quality of one picture.

    Attributes
    ----------
    picture : str
        "noisy" or "denoised".
    psnr, ssim : float or None
        PSNR (dB) and SSIM against the ground truth, if there is one.
    sigma_255 : float or None
        Estimated noise level in grey levels of 255, if there is no ground truth; NaN for a very small picture.
    unit : float or None
        Range of measured values, to which PSNR refers and which is shown by 255 grey levels; None for display pictures.
    """

    picture: str
    psnr: float | None = None
    ssim: float | None = None
    sigma_255: float | None = None
    unit: float | None = None

    @property
    def rms(self) -> float | None:
        """Root mean squared error of measured values, in their own units.

        None without ground truth.
        """
        return None if self.unit is None or self.psnr is None else self.unit * 10 ** (-self.psnr / 20)

    def __str__(self) -> str:
        if self.psnr is not None:
            rms = "" if self.rms is None else f"RMS error {self.rms:.4g}, "
            return f"{rms}PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.4f}"
        if self.sigma_255 is None or self.sigma_255 != self.sigma_255:
            return "too small to estimate its noise"
        if self.unit is not None:
            return f"estimated noise: sigma {self.sigma_255 / 255 * self.unit:.4g}"
        return f"estimated noise: sigma {self.sigma_255:.1f} of 255"


@dataclass(frozen=True)
class Comparison:
    """Metrics of the noisy and the denoised picture, and the content of a sheet.

    Attributes
    ----------
    metrics : (PictureMetrics, PictureMetrics)
    heading, facts : str
        Lines at the top of the sheet.
    panels : tuple of Panel
        Noisy, denoised, ground truth if known, and difference.
    regions : tuple of Region
        Regions to enlarge.
    """

    metrics: tuple[PictureMetrics, PictureMetrics]
    heading: str
    facts: str
    panels: tuple[Panel, ...]
    regions: tuple[Region, ...]

    def draw(self) -> Array:
        """Draw the sheet, (H, W, 3) uint8."""
        return draw_sheet(self.heading, self.facts, self.panels, self.regions)


def compare(
    pictures: Sequence[tuple[Path, Picture]],
    crops: Sequence[tuple[int, int, int]] | None = None,
    mode: Mode = "auto",
) -> Comparison:
    """Compare a noisy and a denoised picture, and the ground truth if it is given.

    Parameters
    ----------
    pictures : sequence of (file, picture)
        Noisy, denoised and, optionally, ground truth. If any is RGB, all are shown as RGB. Alpha is ignored.
    crops : sequence of (left, top, side), optional
        Square regions to enlarge, in pixels. Default: those with the largest error (or change, without ground truth),
        the most detail, and the least detail.
    mode : "auto", "display", "linear" or "photons"
        Kind of the values. All panels use the range of measured values in the ground truth or, without it, in the noisy
        picture.

    Raises
    ------
    ImageError
        When the sizes differ.
    UsageError
        When a crop does not lie in the pictures.
    """
    _check_sizes(pictures)
    reference = pictures[-1][1] if len(pictures) == 3 else pictures[0][1]
    values, _ = choose_values(reference, (), mode)
    floats = _to_floats([picture for _, picture in pictures], values)  # (C, H, W) each
    noisy, denoised = floats[:2]
    clean = floats[2] if len(floats) == 3 else None
    unit = values.high - values.low if values.measured else None
    metrics = _measure("noisy", noisy, clean, unit), _measure("denoised", denoised, clean, unit)
    difference = denoised - clean if clean is not None else noisy - denoised
    height, width = noisy.shape[1:]
    if crops is None:
        label = "largest change" if clean is None else "largest error"
        regions = choose_regions(denoised if clean is None else clean, difference, region_side(height, width), label)
    else:
        regions = [_region(crop, height, width) for crop in crops]
    panels = [
        Panel("noisy", str(metrics[0]), _to_rgb(noisy)),
        Panel("denoised", str(metrics[1]), _to_rgb(denoised)),
    ]
    if clean is not None:
        panels.append(Panel("clean", "the reference of PSNR and SSIM", _to_rgb(clean)))
    meaning = "noisy - denoised" if clean is None else "denoised - clean"
    np.multiply(difference, DIFFERENCE_GAIN, out=difference)
    difference += 128 / 255  # no difference is exactly the 8-bit value 128
    panels.append(Panel(f"difference x{DIFFERENCE_GAIN}", f"{meaning}, gray: no difference", _to_rgb(difference)))
    heading = "   ".join(path.name for path, _ in pictures)
    percent = 100 * shown_size(height, width)[1] / width
    facts = f"{width} x {height} pixels, shown at {percent:,.{0 if percent >= 10 else 1}f}%"
    if values.measured:
        facts += f"; values from {values.low:.4g} (black) to {values.high:.4g} (white) in all panels"
    return Comparison(metrics, heading, facts, tuple(panels), tuple(regions))


def choose_regions(reference: Array, difference: Array, side: int, label: str) -> list[Region]:
    """Choose squares with the largest difference, most detail and least detail.

    Parameters
    ----------
    reference, difference : (C, H, W) arrays
        Detail is the mean squared gradient of `reference`. A dark or bright area is chosen for least detail only if
        there is no other.
    side : int
        Side of a square, in pixels; with 0, no squares are chosen.
    label : str
        Label of the square with the largest difference.

    Returns
    -------
    list of up to three regions that do not overlap
    """
    step = max(1, side // 2)
    if side == 0 or min(reference.shape[1:]) < 2 * step:
        return []
    gray = reference.mean(axis=0)
    gradient = np.zeros_like(gray)
    gradient[1:] += np.square(np.diff(gray, axis=0))
    gradient[:, 1:] += np.square(np.diff(gray, axis=1))
    error, detail, light = (_window_means(x, step) for x in (np.square(difference).mean(axis=0), gradient, gray))
    free = np.ones(error.shape, bool)
    midtone = (light > 0.15) & (light < 0.85)
    regions = []
    for name, score in ((label, error), ("most detail", detail), ("least detail", -detail - ~midtone)):
        if not free.any():
            break
        i, j = np.unravel_index(int(np.argmax(np.where(free, score, -np.inf))), free.shape)
        free[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2] = False
        regions.append(Region(int(j) * step, int(i) * step, min(side, 2 * step), name))
    return regions


def _window_means(values: Array, step: int) -> Array:
    """Average (H, W) values over squares of side `2 * step`, `step` pixels apart."""
    h, w = (size // step for size in values.shape)
    blocks = values[: h * step, : w * step].reshape(h, step, w, step).mean(axis=(1, 3))
    means: Array = (blocks[1:, 1:] + blocks[1:, :-1] + blocks[:-1, 1:] + blocks[:-1, :-1]) / 4
    return means


def _to_floats(pictures: Sequence[Picture], values: Values) -> list[Array]:
    """Convert pictures to (C, H, W) float32 with the same number of channels.

    Missing values become black. Display pictures are divided by the maximum of their type.
    """
    channels = max(picture.pixels.shape[2] for picture in pictures)
    floats = []
    for picture in pictures:
        pixels = picture.pixels
        shown = values.normalised(pixels) if values.measured else to_float(pixels)
        if pixels.dtype.kind == "f" or values.empty:
            shown = np.where(values.no_data(pixels), np.float32(0), shown)
        shown = np.moveaxis(shown, -1, 0)
        floats.append(np.broadcast_to(shown, (channels, *shown.shape[1:])))
    return floats


def _measure(name: str, picture: Array, clean: Array | None, unit: float | None) -> PictureMetrics:
    if clean is None:
        return PictureMetrics(name, sigma_255=analyse_noise(np.moveaxis(picture, 0, -1)).sigma, unit=unit)
    if unit is None:
        return PictureMetrics(name, psnr(picture, clean), ssim(picture, clean))
    error = float(np.mean(np.square(picture - clean, dtype=np.float64)))  # not clipped, unlike PSNR of display pictures
    return PictureMetrics(name, decibel(error), ssim(picture, clean), unit=unit)


def _to_rgb(picture: Array) -> Array:
    """Convert (C, H, W) in [0, 1] to (H, W, 3) uint8."""
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
            hint="name the same picture before and after denoising, not a scaled or cropped version of it",
        )
