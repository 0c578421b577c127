"""Measurement of the shift and the exposure of one shot relative to another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from n2n_cli.images.pixels import to_float
from n2n_cli.nn.functional import Array, Pair
from n2n_cli.noise.measuring import deviation

_MAX_SIDE = 1024
"""Maximum side of the measured area in the middle of a picture, in pixels."""
_MIN_PEAK = 7.0
"""Minimum peak, in standard deviations of the correlation; noise reaches 5 in a million values."""
_MIN_RISE = 2.0
"""Minimum height of the peak above the value at no shift: noise moves low peaks by a pixel."""
_MIN_CHANGE = 1 / 255
"""Minimum change of brightness that is reported."""
_MAX_CLIPPED = 0.1
"""Maximum fraction of black or white pixels in a block; more would bias its mean."""
_MIN_BLOCKS = 16
_MIN_CORRELATION = 0.5
"""Minimum correlation between the halves of blocks; a flatter shot has no measurable gain."""
_BIWEIGHT, _ROUNDS = 4.685, 30


@dataclass(frozen=True)
class Exposure:
    """Brightness of a shot relative to the first one: first = gain * shot + offset.

    Attributes
    ----------
    change : float
        Root mean square of the correction, in [0, 1].
    error : float
        Standard error of `change` that noise alone causes in shots of equal brightness.
    """

    gain: float = 1.0
    offset: float = 0.0
    change: float = 0.0
    error: float = 0.0

    @property
    def differs(self) -> bool:
        """True if the change exceeds one grey level of 255 and its standard error."""
        return self.change > max(_MIN_CHANGE, 4 * self.error)

    def __str__(self) -> str:
        return f"{self.gain:.3f} * shot {'-' if self.offset < 0 else '+'} {abs(self.offset):.4f}"

    def __call__(self, pixels: Array) -> Array:
        """Match the brightness of float pixels to the first shot, without clipping."""
        return pixels * np.float32(self.gain) + np.float32(self.offset)


def measure_shift(first: Array, shot: Array) -> Pair | None:
    """Measure the shift of a shot relative to the first one, by phase correlation.

    Noise does not move the peak of the correlation. The spectrum is weighted by a Gaussian of one pixel, because
    pictures have less structure than noise at the highest frequencies.

    Parameters
    ----------
    first, shot : (H, W, C) arrays
        Integers, or floats in [0, 1]. Brightness and contrast do not matter.

    Returns
    -------
    (rows, columns) or None
        shot[y + rows, x + columns] shows first[y, x]; at most a quarter of a side. None if the pictures have more noise
        than structure, or show different things.

    References
    ----------
    Kuglin and Hines (1975), "The phase correlation image alignment method".
    """
    a, b = (_middle(picture).mean(axis=2, dtype=np.float64) for picture in (first, shot))
    window = np.outer(*(np.hanning(side + 2)[1:-1] for side in a.shape))
    spectra = [np.fft.rfft2((picture - picture.mean()) * window) for picture in (a, b)]
    cross = np.conj(spectra[0]) * spectra[1]
    cross /= np.abs(cross) + 1e-12
    rows, columns = np.fft.fftfreq(a.shape[0]), np.fft.rfftfreq(a.shape[1])
    cross *= np.exp(-2 * math.pi**2 * (rows[:, None] ** 2 + columns**2))
    surface = np.fft.irfft2(cross, a.shape)
    spread = float(surface.std())
    near = [np.r_[0 : side // 4 + 1, side - side // 4 : side] for side in a.shape]  # negative shifts are at the end
    found = surface[np.ix_(*near)]
    at = np.unravel_index(int(found.argmax()), found.shape)
    if not found[at] > _MIN_PEAK * spread:  # also where the pictures are flat
        return None
    if found[at] - surface[0, 0] < _MIN_RISE * spread:
        return 0, 0
    shift = [int(places[i]) for places, i in zip(near, at, strict=True)]
    dy, dx = (step if step <= side // 4 else step - side for step, side in zip(shift, a.shape, strict=True))
    return dy, dx


def common_area(shifts: Sequence[Pair], height: int, width: int) -> list[tuple[slice, slice]]:
    """Find the area common to all shots, as rows and columns of each; may be empty.

    Parameters
    ----------
    shifts : sequence of (rows, columns)
        Results of `measure_shift`; (0, 0) for the first shot.
    """
    spans = []
    for axis, side in enumerate((height, width)):
        start = max(-shift[axis] for shift in shifts)
        stop = max(start, side - max(shift[axis] for shift in shifts))
        spans.append((start, stop))
    (top, bottom), (left, right) = spans
    return [(slice(top + dy, bottom + dy), slice(left + dx, right + dx)) for dy, dx in shifts]


def measure_exposure(first: Array, shot: Array) -> Exposure:
    """Measure the brightness of a shot relative to the first one of its scene.

    Neither noise nor moving objects bias the result. A line is fitted to the means of blocks, over all channels,
    without clipped blocks. Noise in the shot would flatten a least-squares line, so the fit uses instrumental
    variables: each block's pixels are split into two halves with independent noise, and gain = cov(one half of the
    shot, other half of the first) / cov(one half of the shot, other half of the shot). Tukey's biweight gives little or
    no weight to blocks that do not fit the line, such as moving objects.

    Parameters
    ----------
    first, shot : (H, W, C) arrays
        Aligned; integers, or floats in [0, 1].

    References
    ----------
    Wald (1940), "The fitting of straight lines if both variables are subject to error"; Beaton and Tukey (1974), "The
    fitting of power series, meaning polynomials, illustrated on band-spectroscopic data": the weights.
    """
    halves = np.stack([_half_means(_middle(first)), _half_means(_middle(shot))])  # (2 shots, 2 halves, blocks)
    halves = halves[..., np.isfinite(halves).all(axis=(0, 1))]
    blocks = halves.shape[2]
    if blocks < _MIN_BLOCKS:
        return Exposure()
    y, x = halves.mean(axis=1)
    gain, offset = equal = 1.0, float(np.median(y - x))  # starting here gets past more than an unweighted fit does
    for _ in range(_ROUNDS):
        residuals = y - gain * x - offset
        weights = np.clip(1 - np.square(residuals / (_BIWEIGHT * max(deviation(residuals), 1e-9))), 0, None) ** 2
        (y_one, y_other), (x_one, x_other) = halves - np.average(halves, axis=2, weights=weights)[..., None]
        spread = np.sum(weights * x_one * x_other)
        alike = spread > _MIN_CORRELATION * np.sqrt(np.sum(weights * x_one**2) * np.sum(weights * x_other**2))
        # An edge may run between the halves, so a half of x is compared with the same half of y.
        covariance = np.sum(weights * (x_other * y_one + x_one * y_other)) / 2
        if not (alike and covariance > 0):  # too flat to have a gain, or shots of different things
            gain, offset = equal
            break
        gain = float(covariance / spread)
        offset = float(np.average(y - gain * x, weights=weights))
    residuals = y - gain * x - offset
    # Two parameters, gain and offset, are estimated from the blocks.
    error = deviation(residuals - np.median(residuals)) * math.sqrt(2 / blocks)
    return Exposure(gain, offset, math.sqrt(float(np.mean(np.square(gain * x + offset - x)))), error)


def _middle(picture: Array) -> Array:
    """The middle of a picture as floats in [0, 1]."""
    y, x = (max(0, side - _MAX_SIDE) // 2 for side in picture.shape[:2])
    return to_float(picture[y : y + _MAX_SIDE, x : x + _MAX_SIDE])


def _half_means(picture: Array) -> Array:
    """(2, blocks) means over a chessboard's two colours, NaN for clipped blocks."""
    side = max(2, min(8, min(picture.shape[:2]) // 16 * 2))
    h, w = (length // side for length in picture.shape[:2])
    blocks = picture[: h * side, : w * side].reshape(h, side, w, side, -1).swapaxes(1, 2)
    blocks = blocks.reshape(h * w, side * side, -1)  # (blocks, pixels, C)
    black = np.indices((side, side)).sum(axis=0).reshape(-1) % 2 == 0
    means = np.stack([blocks[:, half].mean(axis=(1, 2), dtype=np.float64) for half in (black, ~black)])
    clipped = np.mean((blocks == 0) | (blocks == 1), axis=(1, 2)) >= _MAX_CLIPPED  # unclipped floats are hardly 0 or 1
    return np.where(clipped, np.nan, means)
