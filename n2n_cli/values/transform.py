"""Reversible transforms between a picture's values and network input."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from n2n_cli.images import Picture
from n2n_cli.nn.functional import Array
from n2n_cli.noise.analysis import NoiseAnalysis, analyse_noise
from n2n_cli.noise.stabilisation import stabilise, unstabilise

MOST_NOISE = 25 / 255
"""Maximum standard deviation of the noise in network input."""
FAR = 3.0
"""Distance from the range, in multiples of its width, from which a value is an outlier: a hot pixel, the core of a
star, missing data."""
_EMPTY = 1e30
"""Magnitude from which a float is not a measurement but marks missing data."""


@dataclass(frozen=True)
class Values:
    """A reversible transform from the values x of a picture to network input u.

    v = (x - low) / (high - low) and u = (t - start) / span, where t is v or, for photons, v after variance
    stabilisation.

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
        Values, in the picture's units, that mark missing data.
    reason : str
        Reason why there is nothing to denoise; empty if there is.
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
        """x -> v, float32. Values that are not finite remain so."""
        v = x.astype(np.float64)  # a large offset would cost float32 its precision
        v -= self.low
        v /= self.high - self.low
        with np.errstate(over="ignore"):
            return v.astype(np.float32)

    def restored(self, v: Array) -> Array:
        """v -> x, float64."""
        x: Array = v.astype(np.float64)
        x *= self.high - self.low
        x += self.low
        return x

    def seen(self, v: Array) -> Array:
        """v -> u, the network input."""
        if self.kind == "photons":
            v = stabilise(v, self.gain, self.variance)
        return np.asarray((v - np.float32(self.start)) / np.float32(self.span), np.float32)

    def signal(self, u: Array) -> Array:
        """u -> v. For photons, u is a mean of stabilised values; v is the mean signal."""
        t = u * np.float32(self.span) + np.float32(self.start)
        return np.asarray(unstabilise(t, self.gain, self.variance) if self.kind == "photons" else t, np.float32)

    def no_data(self, x: Array) -> Array:
        """Mask of the values that are not measurements: not finite, or missing data."""
        mask = np.zeros(x.shape, bool)
        if x.dtype.kind == "f":
            mask |= ~np.isfinite(x) | (np.abs(x) >= np.float32(_EMPTY))
        for value in self.empty:
            mask |= _equal(x, value)
        return mask

    def missing(self, x: Array) -> Array:
        """Mask of the values to keep unchanged: no data, and outliers."""
        mask = self.no_data(x)
        if self.measured:
            with np.errstate(invalid="ignore", over="ignore"):
                v = self.normalised(x)
                mask |= (v > 1 + FAR) | (v < -FAR)
        return mask

    def fitting(self, other: Values) -> Values | None:
        """This transform, adapted to a picture whose own transform is `other`.

        None if their ranges have little in common.
        """
        reach = self.high - self.low
        if not (self.low - reach <= other.low and other.high <= self.high + FAR * reach and other.measured):
            return None
        return replace(self, empty=other.empty, sigma=math.inf)

    def stretched(self, sigma: float = 0.0) -> Values:
        """Linear transform, scaled so that the noise is at most `MOST_NOISE`.

        Parameters
        ----------
        sigma : float
            Standard deviation of the noise of v; 0 if it is not known.
        """
        span = max(1.0, sigma / MOST_NOISE)
        own = replace(self, gain=0.0, variance=0.0, start=0.0)  # `self` may be variance-stabilising
        return replace(own, kind="linear", span=span, sigma=sigma / span if sigma else math.inf, reason="")

    def stabilised(self, gain: float, variance: float) -> Values:
        """Transform that makes noise of the variance gain * v + variance uniform."""
        start, stop = (float(end) for end in stabilise(np.array([0.0, 1.0]), gain, variance))
        span = max(stop - start, 1 / MOST_NOISE)
        return replace(self, kind="photons", gain=gain, variance=variance, start=start, span=span, sigma=1 / span)

    def to_text(self) -> str:
        """Text of the transform for a configuration, such as "linear:91~185"."""
        numbers = f"{self.kind}:{self.low!r}~{self.high!r}"
        return f"{numbers},{self.gain!r},{self.variance!r}" if self.kind == "photons" else numbers


def _equal(x: Array, value: float) -> Array:
    """x == value; False everywhere if the type of `x` cannot represent the value."""
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):
            value = float(np.asarray(value).astype(x.dtype))  # rounded as in the file's own type
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
        If the text does not describe a transform.
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
        raise ValueError("a kind of transform with its numbers")
    return values.stabilised(gain, variance)
