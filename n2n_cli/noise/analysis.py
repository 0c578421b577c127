"""Noise analysis: luma, chroma, correlation, dependence on brightness.

Noise is measured by frequency, in the DCT coefficients of blocks of 16x16 pixels. In every band of frequencies, texture
adds to the energy of the noise, but little in smooth blocks. So the mean energy of the noise is one of the quantiles of
the blocks' energies. The right quantile depends on the picture: near the median if all blocks are smooth, low if most
have texture, high if compression left noise in few of them. A small network chooses it from the quantiles of all bands.
It was trained on freely licensed photographs with many types of synthetic noise, and on every second pair of CC15 and
PolyU (`python -m benchmarks.noise_analysis`).

References
----------
Donoho, Johnstone (1994), "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81(3), section 4.3: the level of
noise is an order statistic of transform coefficients.
Liu, Tanaka, Okutomi (2013), "Single-image noise level estimation for blind denoising", IEEE TIP 22(12): only blocks
without texture are used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from n2n_cli.nn.functional import Array
from n2n_cli.noise.spectrum import BANDS, COUNTS, EDGES, SIDE, Spectrum, measure
from n2n_cli.noise.traces import impulse_share, jpeg_grid

LEVELS = 8
"""Number of brightness levels, from black to white."""
LAGS = 4
"""Maximum distance at which correlation is measured, in pixels."""
CORRELATED = 0.2
"""Minimum correlation of noise that counts as correlated."""
LITTLE = 0.5
"""Maximum noise of a picture that counts as nearly free of it, in grey levels of 255."""
WEIGHTS = Path(__file__).parent / "quantile_choice.npz"
"""Weights of the network that chooses quantiles."""
QUANTILES = 0.01, 0.03, 0.08, 0.2, 0.4, 0.6, 0.8, 0.95
"""Quantiles of the blocks' energies."""
TINY = 1e-3
"""Energy added before taking logarithms, in squared grey levels of 255."""
PAIRS = [(i, j) for i in range(BANDS) for j in range(i, BANDS)]
"""Bands by pair: (i, j) and (j, i) share one rank, since pictures have no preferred axis."""
RANKS = -4.0, 9.0
"""Limits of a rank: 0 is the first quantile, 7 the last; each step beyond is a factor of e."""
_FEW, _SHARE = 24, 0.03  # minimum number, and minimum fraction, of blocks at a brightness level
_UNEVEN = 2.0  # minimum ratio of strongest to weakest noise for which brightness is reported
IMPULSES = 0.005  # minimum fraction of impulses that is reported; texture and white noise reach 0.0035


@dataclass(frozen=True)
class NoiseAnalysis:
    """Noise of a picture.

    Standard deviations are in grey levels of 255, or in the picture's own units after `scaled`.

    Attributes
    ----------
    sigma : float
        Standard deviation, root mean square over red, green and blue, as PSNR measures it; NaN if the picture is too
        small.
    luma : float
        Standard deviation of luma (ITU-R BT.601).
    chroma : float
        Standard deviation of blue - luma and red - luma, root mean square; 0 for a gray picture.
    luma_correlation, chroma_correlation : tuple of float
        Correlation between pixels at distances of 1, 2, 3 and 4 pixels, mean of across and down, from -1 to 1, from the
        power spectrum; 0 without noise.
    by_brightness : tuple of float
        Standard deviation of luma at 8 levels of brightness: where luma is 0 to 32, 32 to 64, ... 224 to 255. NaN where
        a picture has few pixels of that brightness.
    jpeg_grid : float
        Strength of JPEG's 8x8 grid, see `traces.jpeg_grid`: below 0.05 none, from 0.2 visible.
    impulses : float
        Fraction of pixels that are certainly wrong, see `traces.impulse_share`: about half of the replaced pixels.
    grey_level : float
        Size of a grey level of 255 in the unit of the standard deviations: 1, or 1/255 of the range of measured values.
    measured : bool
        True if standard deviations are in the units of a picture's measured values.
    """

    sigma: float = math.nan
    luma: float = math.nan
    chroma: float = math.nan
    luma_correlation: tuple[float, ...] = (0.0,) * LAGS
    chroma_correlation: tuple[float, ...] = (0.0,) * LAGS
    by_brightness: tuple[float, ...] = (math.nan,) * LEVELS
    jpeg_grid: float = 0.0
    impulses: float = 0.0
    grey_level: float = 1.0
    measured: bool = False

    @property
    def strongest(self) -> tuple[int, int] | None:
        """Brightness range of the strongest noise, in grey levels of 255.

        None if the noise varies little.
        """
        known = [(level, i) for i, level in enumerate(self.by_brightness) if level == level]
        if not known or max(known)[0] <= _UNEVEN * min(known)[0]:
            return None
        step, i = 256 // LEVELS, max(known)[1]
        return i * step, min(255, (i + 1) * step)

    def scaled(self, unit: float) -> NoiseAnalysis:
        """Convert to the units of measured values, of which a grey level has `unit`."""
        return replace(
            self,
            grey_level=unit,
            measured=True,
            sigma=unit * self.sigma,
            luma=unit * self.luma,
            chroma=unit * self.chroma,
            by_brightness=tuple(unit * level for level in self.by_brightness),
        )

    def __str__(self) -> str:
        if self.sigma != self.sigma:
            return "picture too small to measure"
        unit = "the picture's own units" if self.measured else "grey levels of 255"
        parts = [f"sigma {self._number(self.luma)} ({unit})"]
        if self.chroma > 0:
            parts = [f"luma {self._number(self.luma)}, chroma {self._number(self.chroma)} ({unit})"]
        if max(self.luma, self.chroma) > LITTLE * self.grey_level:
            parts += self._extents()
            if (strongest := self.strongest) is not None:
                parts.append("strongest at brightness {} to {}".format(*strongest) + " of 255" * self.measured)
        else:
            parts.insert(0, "little or none")
        if self.impulses > IMPULSES:
            parts.append(f"at least {100 * self.impulses:.1f}% of the pixels are wrong")
        return ", ".join(parts)

    def _extents(self) -> list[str]:
        luma, chroma = _extent(self.luma_correlation), _extent(self.chroma_correlation)
        if max(luma, chroma) == 1:
            return []
        words = [f"{extent}{' or more' if extent > LAGS else ''}" for extent in (luma, chroma)]
        if not self.chroma or luma == chroma:
            return [f"correlated over {words[0]} pixels"]
        if luma == 1:
            return [f"chroma correlated over {words[1]} pixels"]
        return [f"correlated over {words[0]} pixels (chroma {words[1]})"]

    def _number(self, sigma: float) -> str:
        return f"{sigma:.3g}" if self.measured else f"{sigma:.1f}"


def analyse_noise(pixels: Array) -> NoiseAnalysis:
    """Measure the noise of a picture.

    The error of standard deviations is below 25% on most photographs from 5 grey levels on, for white and correlated
    noise, also after rounding and compression. Clipped areas are left out. Texture that fills the whole picture counts
    as noise, up to 8 grey levels in a clean picture. Chroma noise far below luma noise cannot be distinguished from
    coloured texture. At most 2048 blocks are used, evenly spread.

    Parameters
    ----------
    pixels : (H, W, C) array
        Integers, or floats in [0, 1]; blocks with values that are not finite are left out.

    Returns
    -------
    NoiseAnalysis
        Analysis whose `sigma` is NaN if a side is shorter than 16 pixels, or no value is finite.
    """
    if min(pixels.shape[:2]) < SIDE:
        return NoiseAnalysis()
    spectrum = measure(pixels)
    if not len(spectrum.brightness):
        return NoiseAnalysis()
    ranks = _ranks(spectrum)
    luma = _energies(spectrum.luma, ranks[0])
    channels, chroma = luma, np.zeros_like(luma)
    if spectrum.chroma is not None:
        channels, chroma = _energies(spectrum.channels, ranks[2]), _energies(spectrum.chroma, ranks[1])
    return NoiseAnalysis(
        math.sqrt(_variance(channels)),
        math.sqrt(_variance(luma)),
        math.sqrt(_variance(chroma)),
        _correlation(luma),
        _correlation(chroma),
        _by_brightness(spectrum, ranks[0], _variance(luma)),
        jpeg_grid(pixels),
        impulse_share(pixels),
    )


def _extent(correlation: tuple[float, ...]) -> int:
    """Extent of correlation along an axis, in pixels: 1 for white noise."""
    return 1 + next((lag for lag, value in enumerate(correlation) if value <= CORRELATED), len(correlation))


def log_quantiles(energies: Array) -> Array:
    """Logarithms of quantiles of (blocks, bands) energies: (bands, quantiles).

    The band of the mean gets the values of its neighbours: the mean of a block is its brightness, not noise.
    """
    ordered = np.sort(energies.T, axis=1)
    places = np.round(np.array(QUANTILES) * (ordered.shape[1] - 1)).astype(int)
    logs: Array = np.log(ordered[:, places] + np.float32(TINY))
    logs[0] = (logs[1] + logs[BANDS]) / 2
    return logs


def features(luma: Array, chroma: Array | None) -> Array:
    """Flatten (bands, quantiles) logarithms of luma and chroma to network input."""
    first, second = (np.array([i * BANDS + j for i, j in pairs]) for pairs in (PAIRS[1:], [p[::-1] for p in PAIRS[1:]]))
    parts = [(x[first] + x[second]).ravel() / 2 for x in (luma, np.zeros_like(luma) if chroma is None else chroma)]
    return np.concatenate([*parts, [float(chroma is None)]])


@cache
def _weights() -> tuple[Array, ...]:
    with np.load(WEIGHTS, allow_pickle=False) as file:
        return tuple(file[name].astype(np.float32) for name in file.files)


def _ranks(spectrum: Spectrum) -> Array:
    """Ranks of noise energy among quantiles, (3, bands): luma, chroma, channel mean."""
    chroma = None if spectrum.chroma is None else log_quantiles(spectrum.chroma)
    x = features(log_quantiles(spectrum.luma), chroma)
    *hidden, weight, bias = _weights()
    for w, b in zip(hidden[::2], hidden[1::2], strict=True):
        x = np.maximum(w @ x + b, 0)
    chosen = (weight @ x + bias).reshape(3, len(PAIRS))
    ranks = np.empty((3, BANDS, BANDS))
    for k, (i, j) in enumerate(PAIRS):
        ranks[:, i, j] = ranks[:, j, i] = chosen[:, k]
    return np.clip(ranks.reshape(3, -1), *RANKS)


def _energies(energies: Array, ranks: Array) -> Array:
    """Noise energies, (bands,), at the given ranks."""
    logs = log_quantiles(energies)
    last = len(QUANTILES) - 1
    inside = [np.interp(rank, np.arange(last + 1), row) for rank, row in zip(ranks, logs, strict=True)]
    beyond = np.minimum(ranks, 0) + np.maximum(ranks - last, 0)
    found: Array = np.maximum(np.exp(inside + beyond) - TINY, 0)
    return found


def _variance(energies: Array) -> float:
    return float(COUNTS @ energies) / SIDE**2


def _correlation(energies: Array) -> tuple[float, ...]:
    """Correlation at distances of 1 to LAGS pixels, mean of across and down.

    The energies are samples of the power spectrum.
    """
    widths = np.diff(EDGES)
    power = energies.reshape(BANDS, BANDS)
    means = power @ widths + widths @ power  # sum of both axes' own spectra, in bands
    if not means.sum() > 0:
        return (0.0,) * LAGS
    middles = (np.array(EDGES[:-1]) + EDGES[1:] - 1) / 2
    # Integrate by the trapezoidal rule over frequencies 0 to SIDE.
    spectrum = np.exp(np.interp(np.arange(SIDE + 1), middles, np.log(means + TINY)))
    spectrum[[0, -1]] /= 2
    waves = np.cos(math.pi / SIDE * np.outer(np.arange(LAGS + 1), np.arange(SIDE + 1)))
    covariance = waves @ spectrum
    return tuple(float(value) for value in covariance[1:] / covariance[0])


def _by_brightness(spectrum: Spectrum, ranks: Array, variance: float) -> tuple[float, ...]:
    """Standard deviation of luma at each brightness level, from its blocks' ranks.

    The variances are scaled so that their mean over the picture is `variance`.
    """
    level = np.clip(spectrum.brightness * (LEVELS / 256), 0, LEVELS - 1).astype(int)
    counts = np.bincount(level, minlength=LEVELS)
    known = np.flatnonzero(counts >= max(_FEW, _SHARE * len(level)))
    found = np.full(LEVELS, np.nan)
    found[known] = [_variance(_energies(spectrum.luma[level == i], ranks)) for i in known]
    mean = float(counts[known] @ found[known]) / max(1, counts[known].sum())
    if mean > 0:
        found *= variance / mean
    return tuple(np.sqrt(found).tolist())
