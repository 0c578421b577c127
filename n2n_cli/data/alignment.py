"""How one shot of a scene differs from another as a whole: by a shift in whole pixels, and in brightness.

Both are measured where every pixel has noise of its own. A shift shows as a peak of the phase correlation, whose place
noise does not move. A line that is fitted through noisy pairs of values is too flat, since noise spreads the values
along one axis; so each half of a block's pixels tells how bright the block is, and the other half is only looked up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from n2n_cli.images.pixels import to_float
from n2n_cli.nn.functional import Array, Pair

_SIDE = 1024
"""Pixels: of a larger picture, the middle is looked at."""
_PEAK = 7.0
"""Standard deviations of the correlation; the highest of a million values of noise alone is at 5."""
_MARGIN = 2.0
"""Standard deviations that a shift has to be likelier by than none: noise moves a low peak by a pixel."""
_LEVEL = 1 / 255
"""A change of brightness below one grey level is not told."""
_CUT = 0.1  # share of a block's pixels at black or white, where its mean is no longer that of the light
_LEAST = 16  # blocks that tell a brightness
_ALIKE = 0.5  # correlation between the halves of blocks, below which a picture is as good as flat
_BIWEIGHT, _MEDIAN_OF_NORMAL, _ROUNDS = 4.685, 0.6745, 30


@dataclass(frozen=True)
class Exposure:
    """What makes a shot as bright as the first one of its scene: first = gain * shot + offset, in [0, 1].

    Attributes
    ----------
    change : float
        Root mean square of what that changes in the shot's light, in [0, 1].
    error : float
        The same of what the noise alone makes of two shots that are equally bright, at one standard error.
    """

    gain: float = 1.0
    offset: float = 0.0
    change: float = 0.0
    error: float = 0.0

    @property
    def differs(self) -> bool:
        """Whether the shots are not equally bright: by a grey level of 255 at least, and not by chance."""
        return self.change > max(_LEVEL, 4 * self.error)

    def __str__(self) -> str:
        return f"{self.gain:.3f} * shot {'-' if self.offset < 0 else '+'} {abs(self.offset):.4f}"

    def __call__(self, pixels: Array) -> Array:
        """Float pixels of the shot, as bright as the first; they are not clipped."""
        return pixels * np.float32(self.gain) + np.float32(self.offset)


def measure_shift(first: Array, shot: Array) -> Pair | None:
    """How far a shot is moved against the first one of its scene: shot[y + rows, x + columns] shows first[y, x].

    Parameters
    ----------
    first, shot : (H, W, C) arrays
        Integers, or floats in [0, 1]. Brightness and contrast do not matter.

    Returns
    -------
    (rows, columns), at most a quarter of a side, or None where the pictures do not tell: they have more noise than
    structure, or show different things.

    References
    ----------
    Kuglin and Hines (1975), "The phase correlation image alignment method". The spectrum is weighted by a Gaussian of
    one pixel: in the highest frequencies, pictures have less structure than noise.
    """
    a, b = (_middle(picture).mean(axis=2, dtype=np.float64) for picture in (first, shot))
    window = np.outer(*(np.hanning(side + 2)[1:-1] for side in a.shape))
    spectra = [np.fft.rfft2((picture - picture.mean()) * window) for picture in (a, b)]
    cross = np.conj(spectra[0]) * spectra[1]
    cross /= np.abs(cross) + 1e-12
    rows, columns = np.fft.fftfreq(a.shape[0]), np.fft.rfftfreq(a.shape[1])
    cross *= np.exp(-2 * math.pi**2 * (rows[:, None] ** 2 + columns**2))
    surface = np.fft.irfft2(cross, a.shape)
    deviation = float(surface.std())
    near = [np.r_[0 : side // 4 + 1, side - side // 4 : side] for side in a.shape]  # negative shifts are at the end
    found = surface[np.ix_(*near)]
    at = np.unravel_index(int(found.argmax()), found.shape)
    if not found[at] > _PEAK * deviation:  # also where the pictures are flat
        return None
    if found[at] - surface[0, 0] < _MARGIN * deviation:
        return 0, 0
    shift = [int(places[i]) for places, i in zip(near, at, strict=True)]
    dy, dx = (step if step <= side // 4 else step - side for step, side in zip(shift, a.shape, strict=True))
    return dy, dx


def common_area(shifts: Sequence[Pair], height: int, width: int) -> list[tuple[slice, slice]]:
    """Rows and columns of every shot that show what all of them show; they may be none.

    Parameters
    ----------
    shifts : sequence of (rows, columns)
        As `measure_shift` gives them; that of the first shot is (0, 0).
    """
    spans = []
    for axis, side in enumerate((height, width)):
        start = max(-shift[axis] for shift in shifts)
        stop = max(start, side - max(shift[axis] for shift in shifts))
        spans.append((start, stop))
    (top, bottom), (left, right) = spans
    return [(slice(top + dy, bottom + dy), slice(left + dx, right + dx)) for dy, dx in shifts]


def measure_exposure(first: Array, shot: Array) -> Exposure:
    """How a shot differs in brightness from the first one of its scene, whatever their noise, and whatever moved.

    Means of blocks are compared, all channels together, without those that are black or white. The line through them is
    that of instrumental variables: of the two halves of a block's pixels, gain = cov(other half of the shot, one half
    of the first) / cov(other half of the shot, one half of the shot), where independent noise drops out. Blocks that do
    not fit lose their weight by Tukey's biweight.

    Parameters
    ----------
    first, shot : (H, W, C) arrays
        Aligned; integers, or floats in [0, 1].

    References
    ----------
    Wald (1940), "The fitting of straight lines if both variables are subject to error"; Theil (1950), for medians of
    slopes, with which it begins; Beaton and Tukey (1974) for the weights.
    """
    reference, pixels = _middle(first), _middle(shot)
    block = max(2, min(8, min(pixels.shape[:2]) // 16 * 2))
    halves = np.stack([_half_means(reference, block), _half_means(pixels, block)])  # (2 shots, 2 halves, blocks)
    whole = _is_whole(reference, block) & _is_whole(pixels, block)
    if np.count_nonzero(whole) >= max(_LEAST, whole.size // 10):
        halves = halves[..., whole]
    if halves.shape[2] < _LEAST:
        return Exposure()
    gain, offset = _line(*halves)
    y, x = halves.mean(axis=1)
    left = y - gain * x - offset
    # Of two numbers that are told from so many, gain and offset.
    error = float(np.median(np.abs(left - np.median(left)))) / _MEDIAN_OF_NORMAL * math.sqrt(2 / len(x))
    return Exposure(gain, offset, math.sqrt(float(np.mean(np.square(gain * x + offset - x)))), error)


def _line(first: Array, shot: Array) -> tuple[float, float]:
    """Gain and offset of first = gain * shot + offset, from the two halves of blocks, each (2, blocks)."""
    (one, other), (y, x) = shot, (first.mean(axis=0), shot.mean(axis=0))
    flat = 1.0, float(np.median(y - x))
    if not _covariance(one, other) > _ALIKE * math.sqrt(_covariance(one, one) * _covariance(other, other)):
        return flat  # how steep the line is cannot be told
    gain = (_slope(one, other, first[1]) + _slope(other, one, first[0])) / 2
    offset = float(np.median(y - gain * x))
    for _ in range(_ROUNDS):
        left = y - gain * x - offset
        scale = float(np.median(np.abs(left))) / _MEDIAN_OF_NORMAL
        if scale <= 1e-9:  # as good as equal
            break
        weights = np.square(np.clip(1 - np.square(left / (_BIWEIGHT * scale)), 0, None))
        spread = 2 * _covariance(one, other, weights)
        if not spread > 0:
            break
        before = gain, offset
        # The halves show different pixels, and an edge may part them: each is told by the same half of the first shot.
        gain = (_covariance(other, first[0], weights) + _covariance(one, first[1], weights)) / spread
        offset = float(np.average(y - gain * x, weights=weights))
        if math.isclose(gain, before[0], rel_tol=1e-7) and math.isclose(offset, before[1], abs_tol=1e-7):
            break
    return (gain, offset) if gain > 0 else flat  # shots that do not show the same have no gain


def _slope(instrument: Array, x: Array, y: Array) -> float:
    """Median slope of y over x between blocks of the darker and of the brighter half, as the instrument has them."""
    order = np.argsort(instrument, kind="stable")
    half = len(order) // 2
    low, high = order[:half], order[-half:]
    run = x[high] - x[low]
    return float(np.median((y[high] - y[low])[run > 0] / run[run > 0])) if (run > 0).any() else 1.0


def _covariance(a: Array, b: Array, weights: Array | None = None) -> float:
    a, b = (values - np.average(values, weights=weights) for values in (a, b))
    return float(np.average(a * b, weights=weights))


def _middle(picture: Array) -> Array:
    """The middle of a picture as floats in [0, 1]."""
    (h, w), most = picture.shape[:2], _SIDE
    y, x = max(0, h - most) // 2, max(0, w - most) // 2
    return to_float(picture[y : y + most, x : x + most])


def _blocks(picture: Array, block: int) -> Array:
    """(H, W, C) -> (blocks, pixels of a block, C), without what is left over at the far sides."""
    h, w = (side // block for side in picture.shape[:2])
    cut = picture[: h * block, : w * block].reshape(h, block, w, block, -1).swapaxes(1, 2)
    return cut.reshape(h * w, block * block, -1)


def _half_means(picture: Array, block: int) -> tuple[Array, Array]:
    """Means over the two colours of a chessboard's squares in every block."""
    blocks = _blocks(picture, block)
    black = np.indices((block, block)).sum(axis=0).reshape(-1) % 2 == 0
    one, other = (blocks[:, chosen].mean(axis=(1, 2), dtype=np.float64) for chosen in (black, ~black))
    return one, other


def _is_whole(picture: Array, block: int) -> Array:
    """Whether a block is neither black nor white."""
    blocks = _blocks(picture, block)  # of floats that nothing cut off, hardly a value is just 0 or 1
    whole: Array = np.mean((blocks == 0) | (blocks == 1), axis=(1, 2)) < _CUT
    return whole
