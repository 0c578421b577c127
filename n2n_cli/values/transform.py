"""Reversible transforms between a picture's values and the values that a network sees."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from n2n_cli.images import Picture
from n2n_cli.nn.functional import Array
from n2n_cli.noise.analysis import NoiseAnalysis, analyse_noise
from n2n_cli.noise.stabilisation import stabilise, unstabilise

HEADROOM = 1.0
"""Range that the network's [0, 1] covers, as a multiple of that of the values."""
MOST_NOISE = 25 / 255
"""Maximum standard deviation of the noise as the network sees it."""
FAR = 3.0
"""Distance from the range, in ranges, from which a value is outlying: a hot pixel, the core of a star, no data."""
_EMPTY = 1e30
"""Magnitude from which a float is no measurement, but stands for missing data."""


@dataclass(frozen=True)
class Values:
    """A reversible transform: u = (t - start) / span, where t = v, or v stabilised, and v = (x - low) / (high - low).

    Attributes
    ----------
    kind : "display", "linear" or "photons"
    low, high : float
        In the picture's units.
    gain, variance : float
        Noise variance of v: gain * v + variance. Used for photons.
    start, span : float
    sigma : float
        Standard deviation of the noise of u; infinite if it is not known.
    empty : tuple of float
        Values, in the picture's units, that stand for missing data.
    reason : str
        If not empty, why there is nothing to denoise.
    """

    kind: Literal["display", "linear", "photons"]
    low: float = 0.0
    high: float = 1.0
    gain: float = 0.0
    variance: float = 0.0
    start: float = 0.0
    span: float = 1.0
    sigma: float = math.inf
    empty: tuple[float, ...] = ()
    reason: str = ""

    @property
    def measured(self) -> bool:
        """False for display pictures."""
        return self.kind != "display"

    def normalised(self, x: Array) -> Array:
        """The picture's values -> v, float32. Values that are not finite stay so."""
        v = x.astype(np.float64)  # a large offset would cost float32 its precision
        v -= self.low
        v /= self.high - self.low
        with np.errstate(over="ignore"):
            return v.astype(np.float32)

    def restored(self, v: Array) -> Array:
        """v -> the picture's values, float64."""
        x: Array = v.astype(np.float64)
        x *= self.high - self.low
        x += self.low
        return x

    def seen(self, v: Array) -> Array:
        """v -> u, what a network sees."""
        if self.kind == "photons":
            v = stabilise(v, self.gain, self.variance)
        return np.asarray((v - np.float32(self.start)) / np.float32(self.span), np.float32)

    def signal(self, u: Array) -> Array:
        """u -> v. For photons, u is taken as a mean, and v is the mean of the signal."""
        t = u * np.float32(self.span) + np.float32(self.start)
        return np.asarray(unstabilise(t, self.gain, self.variance) if self.kind == "photons" else t, np.float32)

    def lacking(self, x: Array) -> Array:
        """Mask of the values that are no measurements: not finite, or missing data."""
        mask = np.zeros(x.shape, bool)
        if x.dtype.kind == "f":
            mask |= ~np.isfinite(x) | (np.abs(x) >= np.float32(_EMPTY))
        for value in self.empty:
            mask |= _equal(x, value)
        return mask

    def missing(self, x: Array) -> Array:
        """Mask of the values to keep as they are: those that are lacking, and outlying ones."""
        mask = self.lacking(x)
        if self.measured:
            with np.errstate(invalid="ignore", over="ignore"):
                v = self.normalised(x)
                mask |= (v > 1 + FAR) | (v < -FAR)
        return mask

    def fitting(self, other: Values) -> Values | None:
        """This transform for a picture whose own transform is `other`; None if their ranges have little in common."""
        reach = self.high - self.low
        if not (self.low - reach <= other.low and other.high <= self.high + FAR * reach and other.measured):
            return None
        return replace(self, empty=other.empty, sigma=math.inf)

    def stretched(self, sigma: float = 0.0) -> Values:
        """Linear values with headroom, and with not more noise than a network knows.

        Parameters
        ----------
        sigma : float
            Standard deviation of the noise of v; 0 if it is not known.
        """
        span = max(HEADROOM, sigma / MOST_NOISE)
        own = replace(self, gain=0.0, variance=0.0, start=0.0)  # a variance-stabilising transform has others
        return replace(own, kind="linear", span=span, sigma=sigma / span if sigma else math.inf, reason="")

    def stabilised(self, gain: float, variance: float) -> Values:
        """Values whose noise, of the variance gain * v + variance, is made uniform."""
        start, stop = (float(end) for end in stabilise(np.array([0.0, 1.0]), gain, variance))
        span = max(HEADROOM * (stop - start), 1 / MOST_NOISE)
        return replace(self, kind="photons", gain=gain, variance=variance, start=start, span=span, sigma=1 / span)

    def to_text(self) -> str:
        """The transform as a configuration holds it, such as "linear:91~185"."""
        numbers = f"{self.kind}:{self.low!r}~{self.high!r}"
        return f"{numbers},{self.gain!r},{self.variance!r}" if self.kind == "photons" else numbers


def _equal(x: Array, value: float) -> Array:
    """x == value, where a type that cannot hold the value has it nowhere."""
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):
            value = float(np.asarray(value).astype(x.dtype))  # as the file's own type rounds it
        mask: Array = x == value
        return mask
    limits = np.iinfo(x.dtype)
    holds = value == round(value) and limits.min <= value <= limits.max if math.isfinite(value) else False
    return np.equal(x, int(value)) if holds else np.zeros(x.shape, bool)


def noise_of(picture: Picture, values: Values) -> NoiseAnalysis:
    """Noise of a picture, in grey levels of 255, or in the units of measured values.

    Blocks of pixels with missing values are left out.
    """
    pixels = picture.pixels
    if not values.measured and pixels.dtype.kind != "f":
        return analyse_noise(pixels)
    known = values.normalised(pixels)
    known[values.missing(pixels)] = np.nan
    found = analyse_noise(known)
    return found.scaled((values.high - values.low) / 255) if values.measured else found


def parse_values(text: str) -> Values:
    """Read a transform from `Values.to_text`.

    Raises
    ------
    ValueError
        When the text is none.
    """
    kind, _, numbers = text.partition(":")
    ends, *noise = numbers.split(",")
    low, high = (float(end) for end in ends.split("~"))
    values = Values("linear", low, high)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError("a range from a lower to a higher value")
    if kind == "linear" and not noise:
        return values.stretched()
    gain, variance = (float(number) for number in noise)
    if kind != "photons" or not (gain > 0 and math.isfinite(gain) and math.isfinite(variance)):
        raise ValueError("a kind of values with its numbers")
    return values.stabilised(gain, variance)
