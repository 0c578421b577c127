"""Detection of pixels whose noise was clipped at black or white.

Clipped noise has one sign only, so its mean is not 0. A network that learns from noisy targets learns this mean, too:
black becomes dark gray. Therefore a model that already denoises such pixels must not learn from them, nor be judged by
their noisy values. A pixel counts as clipped if its denoised value is within a few standard deviations of black or
white, in a picture in which whole 2x2 cells are black or white.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from n2n_cli.data.neighbour_sampling import cells
from n2n_cli.images import Picture
from n2n_cli.nn.functional import Array

_FEW = 2e-4
"""Fraction of 2x2 cells that are wholly black, or wholly white, up to which a picture counts as not clipped there.
Impulse noise on up to a tenth of the pixels rarely fills a cell."""
_REACH = 2.5
"""Distance from black or white, in standard deviations of the noise, up to which a pixel counts as clipped. At that
distance one pixel in 160 is clipped, which moves the mean by 0.002 standard deviations."""
_KEPT = 0.25
"""Mean square that a denoiser must remove at clipped pixels so as not to count as keeping the noise, as a fraction of
the noise variance. Noise clipped at black has a mean square of half the variance."""


class Clipping:
    """Mask of the pixels whose noise was clipped, computed from the denoised picture.

    The denoised picture is used because a mask from the noisy one would depend on the noise of the pixels it selects.

    Parameters
    ----------
    pictures : sequence of Picture
        Of the same kind: one, or the parts of one. If they have floats outside [0, 1], nothing was clipped.
    sigma : float
        Standard deviation of the noise, in [0, 1].

    Attributes
    ----------
    black, white : bool
        True if noise was clipped at that end of the range.
    """

    def __init__(self, pictures: Sequence[Picture], sigma: float) -> None:
        self._sigma = sigma
        counts = np.sum([_cut_cells(picture) for picture in pictures], axis=0)
        self.black, self.white = (bool(cut > _FEW * counts[2]) for cut in counts[:2])

    @property
    def found(self) -> bool:
        """True if noise was clipped at black or at white."""
        return self.black or self.white

    def __call__(self, denoised: Array) -> Array:
        """(N, C, H, W) -> (N, 1, H, W) bool array: pixels with a clipped channel."""
        margin = _REACH * self._sigma
        cut = np.zeros((len(denoised), 1, *denoised.shape[2:]), bool)
        if self.black:
            cut |= (denoised < margin).any(axis=1, keepdims=True)
        if self.white:
            cut |= (denoised > 1 - margin).any(axis=1, keepdims=True)
        return cut

    def is_kept(self, removed: Array) -> bool:
        """True if a denoiser keeps the noise of clipped pixels.

        Parameters
        ----------
        removed : array
            Noisy minus denoised values of clipped pixels, in any shape; without values the result is False.
        """
        return bool(len(removed) and np.square(removed, dtype=np.float64).mean() < _KEPT * self._sigma**2)


def _cut_cells(picture: Picture) -> tuple[int, int, int]:
    """Numbers of 2x2 cells: with an all-black channel, with an all-white one, all.

    Cells with a fully transparent pixel are left out.
    """
    pixels = picture.pixels
    h, w, channels = (pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2, pixels.shape[2])
    visible = np.ones((h // 2, w // 2), bool) if picture.alpha is None else cells(picture.alpha[:h, :w] > 0)
    count = int(visible.sum())
    ends: tuple[float, float] = (0, 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max)
    if pixels.dtype.kind == "f" and (pixels.min() < 0 or pixels.max() > 1):
        return 0, 0, count
    found = []
    for end in ends:
        cut = np.zeros_like(visible)
        for c in range(channels):
            cut |= cells(pixels[:h, :w, c] == end)
        found.append(int((cut & visible).sum()))
    return found[0], found[1], count
