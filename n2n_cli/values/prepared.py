"""Conversion of pictures to network input and back; brightness of dark areas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from n2n_cli.images import Picture
from n2n_cli.nn.functional import Array
from n2n_cli.noise.stabilisation import FEW_PHOTONS, stabilised_variance
from n2n_cli.values.local_means import BLOCK, LocalMeans, bands
from n2n_cli.values.outstanding import keep_outstanding
from n2n_cli.values.transform import Values

_ROWS_AT_ONCE = 8  # rows of blocks corrected at a time
_FEW_LEVELS = 500
"""Range of integers from which rounding errors are too small to matter."""
_SHIFTED = 0.01
"""Local mean of rounding errors, in levels, from which an area is dithered."""

_DARK, _SHADOW = 8 / 255, 24 / 255
"""Mean of a block, as a share of the maximum, up to which its brightness is fully kept, and from which it is not."""
_CLIPPED, _WEAK = 0.02, 3 / 255
"""Share of black pixels from which noise counts as clipped, unless its standard deviation, as a share of the maximum,
is below the second value. Clipped noise makes the input brighter than the ground truth, so its mean is not kept."""


class Prepared:
    """A picture converted to network input, and the conversion back.

    Attributes
    ----------
    own : Picture
        The original picture.
    values : Values
    picture : Picture
        Network input, floats; missing values are filled in from their surroundings.
    missing : (H, W, C) boolean array
        Mask of the values that are returned unchanged: see `Values.missing`.
    kept : int
        Number of values that are returned unchanged.
    """

    def __init__(self, picture: Picture, values: Values) -> None:
        self.own, self.values = picture, values
        pixels = picture.pixels
        seen = np.empty(pixels.shape, np.float32)
        missing = np.empty(pixels.shape, bool)
        for rows in bands(pixels.shape):
            part = pixels[rows]
            missing[rows] = values.missing(part)
            v = values.normalised(np.where(missing[rows], np.asarray(values.low).astype(part.dtype), part))
            seen[rows] = values.seen(v)
        self.kept = int(np.count_nonzero(missing))
        self.missing = missing
        if self.kept:
            channels = zip(np.moveaxis(seen, -1, 0), np.moveaxis(missing, -1, 0), strict=True)
            for channel, lost in channels:
                channel[...] = _filled(channel, lost)
        if values.kind == "photons":
            _fill_up_noise(seen, values)
        self.picture = replace(picture, pixels=seen, notes=(), nodata=None)

    def finish(self, denoised: Array, strength: float = 1.0) -> Picture:
        """Convert (H, W, C) denoised floats, which are overwritten, to a picture."""
        own, values, seen = self.own, self.values, self.picture.pixels
        dtype = own.pixels.dtype
        means = LocalMeans(seen.shape)
        keep_outstanding(denoised, seen, self.missing, values.sigma)
        for rows in bands(seen.shape):
            signal = values.signal(denoised[rows])
            known = ~self.missing[rows]
            noisy = values.normalised(np.where(known, own.pixels[rows], np.asarray(values.low).astype(dtype)))
            means.add(rows.start, noisy - signal, known.astype(np.float32))
            denoised[rows] = signal
        means.smooth()
        for rows in bands(seen.shape):
            denoised[rows] += means.rows(rows.start, rows.stop)
            if strength != 1:
                denoised[rows] *= np.float32(strength)
                denoised[rows] += np.float32(1 - strength) * values.normalised(own.pixels[rows])
        pixels = self._stored(denoised)
        if dtype.kind != "f":
            self._avoid_missing(pixels)
        if self.kept:
            pixels[self.missing] = own.pixels[self.missing]
        return replace(own, pixels=pixels)

    def _avoid_missing(self, pixels: Array) -> None:
        """Change integers by one where they equal a value that marks missing data."""
        top = np.iinfo(pixels.dtype).max
        for value in self.values.empty:
            hit = replace(self.values, empty=(value,)).no_data(pixels)
            pixels[hit] += np.asarray(-1 if value >= top else 1).astype(pixels.dtype)

    def _stored(self, v: Array) -> Array:
        """Convert (H, W, C) normalised values to the picture's own type.

        Plain rounding to integers shifts the mean of smooth areas that lie between two integers. A dither in these
        areas rounds as many pixels up as the mean needs.
        """
        values, dtype = self.values, self.own.pixels.dtype
        pixels = np.empty(v.shape, dtype)
        if dtype.kind == "f":
            for rows in bands(v.shape):
                pixels[rows] = values.restored(v[rows])
            return pixels
        limits, errors = np.iinfo(dtype), LocalMeans(v.shape)
        coarse = values.high - values.low < _FEW_LEVELS
        for dithered in (False, True) if coarse else (False,):
            for rows in bands(v.shape):
                x = values.restored(v[rows])
                aimed = x + errors.rows(rows.start, rows.stop) * _dither(rows, v.shape[1]) if dithered else x
                pixels[rows] = np.clip(np.rint(aimed), limits.min, limits.max)
                if coarse and not dithered:
                    errors.add(rows.start, x - pixels[rows], np.ones_like(x))
            if coarse:
                errors.smooth()
                errors.means = (np.abs(errors.means) > _SHIFTED).astype(np.float64)
        return pixels


def _dither(rows: slice, width: int) -> Array:
    """(rows, width, 1) values from -1/2 to 1/2, spread evenly over every small area.

    The additive recurrence of Roberts (2018), "The unreasonable effectiveness of quasirandom sequences".
    """
    place = 0.7548776662466927 * np.arange(rows.start, rows.stop)[:, None] + 0.5698402909980532 * np.arange(width)
    dither: Array = (place % 1 - 0.5)[..., None]
    return dither


def _fill_up_noise(seen: Array, values: Values) -> None:
    """Add noise, in place, where few photons leave less noise than elsewhere.

    A network infers the noise level from the surroundings: near an almost noiseless background it keeps all noise.
    """
    photons = LocalMeans(seen.shape)
    for rows in bands(seen.shape):
        v = values.signal(seen[rows])
        photons.add(rows.start, v / values.gain + values.variance / values.gain**2, np.ones_like(v))
    photons.smooth(times=0)
    if photons.means.min() >= FEW_PHOTONS:
        return
    rng = np.random.default_rng(0)
    for rows in bands(seen.shape):
        deficit = 1 - stabilised_variance(photons.rows(rows.start, rows.stop))
        noise = rng.standard_normal(deficit.shape, dtype=np.float32)
        seen[rows] += noise * np.sqrt(np.maximum(deficit, 0)).astype(np.float32) * np.float32(values.sigma)


def _filled(x: Array, missing: Array) -> Array:
    """Replace missing values of an (H, W) array by means of the nearest known ones."""
    if not missing.any() or missing.all():
        return np.where(missing, np.float32(0), x) if missing.any() else x
    h, w = x.shape
    pad = [(0, h % 2), (0, w % 2)]
    cells = ((h + 1) // 2, 2, (w + 1) // 2, 2)
    count = np.pad(~missing, pad).reshape(cells).sum(axis=(1, 3))
    total = np.pad(np.where(missing, np.float32(0), x), pad).reshape(cells).sum(axis=(1, 3))
    coarse = _filled(np.divide(total, count, out=np.zeros_like(total), where=count > 0), count == 0)
    nearest = coarse.repeat(2, axis=0).repeat(2, axis=1)[:h, :w]
    return np.where(missing, nearest, x)


def keep_dark_means(noisy: Array, denoised: Array) -> None:
    """Correct the mean of dark areas of a denoised display picture, in place.

    Parameters
    ----------
    noisy, denoised : (H, W, C) arrays of uint8 or uint16
    """
    top = float(np.iinfo(denoised.dtype).max)
    seen, made = _by_block(noisy), _by_block(denoised)
    dark = (made[:, :, BLOCK // 2, BLOCK // 2] < _SHADOW * top).any(axis=2)
    if not dark.any():
        return
    shape = np.count_nonzero(dark), BLOCK**2, denoised.shape[2]
    x, y = (part[dark].reshape(shape).astype(np.float32) for part in (seen, made))
    difference = x - y
    removed, light, black = (_block_means(part) for part in (difference, y, (x == 0).astype(np.float32)))
    variance = _block_means(np.square(difference)) - np.square(removed)
    kept = (light < _SHADOW * top) & ~((black > _CLIPPED) & (variance > (_WEAK * top) ** 2))
    means = LocalMeans(denoised.shape)
    scale = np.zeros((*dark.shape, denoised.shape[2]))
    within = tuple(slice(size) for size in dark.shape)
    means.sums[within][dark] = removed * kept
    means.weights[within][dark] = kept
    scale[dark] = np.clip((_SHADOW - light / top) / (_SHADOW - _DARK), 0, 1)
    rest = [(0, whole - part) for whole, part in zip(means.sums.shape, scale.shape, strict=True)]
    means.smooth(np.pad(scale, rest, "edge"))  # incomplete blocks at the edges get the scale of their neighbours
    for start in range(0, len(scale), _ROWS_AT_ONCE):
        near = means.means[max(0, start - 1) : start + _ROWS_AT_ONCE + 1]
        if near.any():
            rows = slice(start * BLOCK, (start + _ROWS_AT_ONCE) * BLOCK)
            part = denoised[rows]
            part[...] = np.clip(np.rint(part + means.rows(rows.start, rows.start + len(part))), 0, top)


def _block_means(x: Array) -> Array:
    """(blocks, pixels, C) -> (blocks, C); `np.mean` over the middle axis is slow."""
    means: Array = np.einsum("npc->nc", x) / x.shape[1]
    return means


def _by_block(pixels: Array) -> Array:
    """(H, W, C) -> view (H // 8, W // 8, 8, 8, C), without incomplete blocks."""
    rows, columns = (size // BLOCK for size in pixels.shape[:2])
    whole = pixels[: rows * BLOCK, : columns * BLOCK]
    return whole.reshape(rows, BLOCK, columns, BLOCK, pixels.shape[2]).swapaxes(1, 2)
