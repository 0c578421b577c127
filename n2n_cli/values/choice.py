"""Choice of the transform of a picture's values.

Display pictures, such as 8-bit photographs, are divided by the maximum of their type. Measured values (counts,
exposures, heights) are mapped by an offset and a scale from robust statistics or, if their noise grows with the signal
as photon noise does, by a variance-stabilising transform.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Literal, TypeAlias, get_args

import numpy as np

from n2n_cli.errors import ArgumentError, ImageError
from n2n_cli.images import INSTRUMENTS, Picture
from n2n_cli.nn.functional import Array
from n2n_cli.noise.measuring import spread_tiles
from n2n_cli.noise.stabilisation import NoiseFit, fit_noise
from n2n_cli.values.transform import FAR, Values, parse_values

Mode: TypeAlias = Literal["auto", "display", "linear", "photons"]
MODES: tuple[Mode, ...] = get_args(Mode)

SAMPLED = 8
"""Maximum number of pages, besides the first, from which a file's transform should be chosen."""
_ENDS = (0.001, 0.999)
"""Quantiles that define the range, so that a few hot pixels do not."""
_COLOUR_CHUNKS = {b"gAMA", b"cHRM", b"sRGB", b"cICP"}  # of PNG
_FILLED, _NEAR_ONE = 0.35, (-0.5, 0.25, 1.5)
"""A 16-bit picture is for display if its upper quantile is at least this share of the maximum; floats, if their lower
quantile is at least the first of three bounds and the upper one lies between the other two."""
_COUNTED = 0.2
"""Maximum error of the noise fit (`NoiseFit.error`) for which a gray display picture may be photon counts."""
_LINE = 0.6
"""The same for pictures that are certainly not for display."""
_LEAST_GAIN = 0.0024
"""Minimum gain of photon counts in a display picture, as a share of the range: compression and texture cause smaller
ones."""
_PLAIN_GAIN, _PLAIN_COUNTED = 0.02, 0.5
"""Gain from which photon noise is obvious, and the maximum error of the fit for such gains."""
_UNLIKE_TEXTURE = 0.008
"""Gain from which the noise is too strong to be texture."""
_WHITE = 3.0
"""Maximum ratio of the noise variances at a distance of two pixels and of one, for photon counts; a larger ratio means
texture."""
_ENOUGH = 2**18
"""Number of values that makes quantiles precise enough."""
_NOISE_SIDES = (8, 16, 32, 64)  # sides, in pixels, of the blocks whose means distinguish a signal from noise
_LEAST_BLOCKS = 24


def choose_values(first: Picture, others: Iterable[Picture] = (), mode: Mode = "auto") -> tuple[Values, str]:
    """Choose the transform of a file's values.

    Parameters
    ----------
    first : Picture
        The first page of the file.
    others : iterable of Picture
        Other pages, spread over the file; those with another number of channels or type are not used.
    mode : "auto", "display", "linear" or "photons"

    Returns
    -------
    values : Values
    text : str
        Description for the user.

    Raises
    ------
    ArgumentError
        If the mode is unknown.
    ImageError
        If the mode is "photons" and the noise does not grow with the signal, or cannot be measured.
    """
    if mode not in MODES:
        raise ArgumentError("values", mode, "one of " + ", ".join(MODES))
    dtype = first.pixels.dtype
    empty: tuple[float, ...] = () if first.nodata is None else (first.nodata,)
    display = Values("display", high=1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max), empty=empty)
    if mode == "display" or (mode == "auto" and dtype == np.uint8 and first.pixels.shape[2] == 3):
        return display, f"{_depth(dtype)}, display"
    channels = first.pixels.shape[2]
    pages = (page.pixels for page in chain([first], others) if page.pixels.dtype == dtype)
    tiles = [tile for pixels in pages if pixels.shape[2] == channels for tile in spread_tiles(pixels)]  # (H, W, C)
    found = _statistics(tiles, dtype, display.empty)
    if found is None:
        return replace(display, reason="it holds no values"), f"{_depth(dtype)}, no values"
    low, high, empty = found
    linear = Values("linear", low, high if high > low else low + 1, empty=empty)
    text = f"{_depth(dtype)}, {low:.4g} to {high:.4g}" + ("" if dtype.kind == "f" else " counts")
    if high <= low:
        same = display if mode == "auto" and _is_display(first, low, high) else linear
        return replace(same, reason="its values are constant"), text
    planes = [tile[..., c].astype(np.float64) for tile in tiles for c in range(tile.shape[2])]
    valid = [~linear.missing(tile[..., c]) for tile in tiles for c in range(tile.shape[2])]
    fit = fit_noise(planes, valid)
    counted = fit is not None and channels == 1 and _is_counted(fit, planes, valid, high - low)
    if mode == "auto" and not counted and _is_display(first, low, high):
        return replace(display, empty=empty), f"{_depth(dtype)}, display"
    if fit is not None and mode == "auto" and _is_noise(planes, valid, fit.middle):
        return replace(linear, reason="its values cannot be distinguished from noise"), text
    if fit is None:
        if mode == "photons":
            raise ImageError("it is too small to measure its noise", hint="use `--values linear`")
        return linear.stretched(), f"{text}; linear"
    grows = fit.gain > 0 and fit.error < _LINE and fit.at(fit.dark) < 0.9 * fit.at(fit.bright)
    if mode == "photons" and fit.gain <= 0:
        raise ImageError("its noise does not grow with its signal, as photon noise does", hint="use `--values linear`")
    if mode == "photons" or (mode == "auto" and (counted or grows)):
        noise = f"photon noise, gain {fit.gain:.3g}, read noise {fit.at(fit.dark):.3g}"
        return linear.stabilised(
            fit.gain / (high - low), (fit.gain * low + fit.variance) / (high - low) ** 2
        ), f"{text}; {noise}"
    sigma = math.sqrt(fit.middle)
    return linear.stretched(sigma / (high - low)), f"{text}; linear, noise {sigma:.3g}"


def values_by_text(text: str, first: Picture, others: Iterable[Picture] = ()) -> Values:
    """Transform for the text in a configuration: a mode, or the transform itself."""
    modes = [mode for mode in MODES if mode == text]
    return choose_values(first, others, modes[0])[0] if modes else parse_values(text)


def _depth(dtype: np.dtype[np.generic]) -> str:
    kind = {"u": "", "i": " signed", "f": " float"}[dtype.kind]
    return f"{8 * dtype.itemsize} bit{kind}"


def _statistics(
    tiles: Sequence[Array], dtype: np.dtype[np.generic], tagged: tuple[float, ...]
) -> tuple[float, float, tuple[float, ...]] | None:
    """Range of the values, and the values that mark missing data.

    A value at the end of the range that is far from all others also marks missing data. None if there are no values.
    """
    x = np.concatenate([tile.ravel() for tile in tiles])
    x = x[:: len(x) // _ENOUGH | 1]
    x = x[~Values("display", empty=tagged).missing(x)].astype(np.float64)
    empty = list(tagged)
    while len(x):
        low, high = (float(end) for end in np.quantile(x, _ENDS))
        for end in (x.min(), x.max()):
            rest = x[x != end]
            if len(rest) == len(x) or not len(rest):
                continue
            inner_low, inner_high = np.quantile(rest, _ENDS)
            spread = inner_high - inner_low
            if low <= end <= high and spread and max(inner_low - end, end - inner_high) > FAR * spread:
                empty.append(float(end))
                x = rest
                break
        else:
            return low, high, tuple(empty)
    return None


def _is_display(picture: Picture, low: float, high: float) -> bool:
    """True if the values of a picture are screen brightness, from black to white."""
    dtype = picture.pixels.dtype
    if picture.format in INSTRUMENTS:
        return False
    if dtype == np.uint8:
        return True
    if dtype == np.uint16:
        return _has_colours_of_screens(picture) or high >= _FILLED * np.iinfo(dtype).max
    least, some, most = _NEAR_ONE
    return dtype.kind == "f" and low >= least and some <= high <= most


def _has_colours_of_screens(picture: Picture) -> bool:
    stored = picture.metadata.get("stored")
    parts = () if stored is None else stored.parts
    return "icc_profile" in picture.metadata or any(part.key in _COLOUR_CHUNKS for part in parts)


def _is_counted(fit: NoiseFit, planes: Sequence[Array], valid: Sequence[Array], spread: float) -> bool:
    """True if the noise is certainly photon noise."""
    if fit.gain < _LEAST_GAIN * spread or fit.at(fit.dark) > 0.6 * fit.at(fit.bright):
        return False
    if fit.error > (_COUNTED if fit.gain < _PLAIN_GAIN * spread else _PLAIN_COUNTED):
        return False
    if fit.gain > _UNLIKE_TEXTURE * spread:
        return True
    apart = fit_noise([plane[::2, ::2] for plane in planes], [good[::2, ::2] for good in valid])
    return apart is not None and apart.mean < _WHITE * fit.mean


def _is_noise(planes: Sequence[Array], valid: Sequence[Array], variance: float) -> bool:
    """True if block means, for all sizes of blocks, vary no more than in white noise."""
    judged = False
    for side in _NOISE_SIDES:
        means = np.concatenate([_block_means(plane, good, side) for plane, good in zip(planes, valid, strict=True)])
        if len(means) < _LEAST_BLOCKS:
            break
        judged = True
        if means.var(ddof=1) * side**2 > variance * (1.1 + 5 * math.sqrt(2 / len(means))):
            return False
    return judged


def _block_means(plane: Array, valid: Array, side: int) -> Array:
    h, w = (size // side * side for size in plane.shape)
    shape = h // side, side, w // side, side
    count = valid[:h, :w].reshape(shape).sum(axis=(1, 3))
    total = np.where(valid[:h, :w], plane[:h, :w], 0).reshape(shape).sum(axis=(1, 3))
    full = count >= side**2 / 2
    means: Array = total[full] / count[full]
    return means
