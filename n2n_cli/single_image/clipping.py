"""Where a picture's noise was cut off at black or white.

What noise remains there is of one side and has a mean of its own. Whoever learns from noisy targets learns that mean,
too: black becomes gray. So a model that knows better should not learn there, nor be judged by what the pixels there
are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from n2n_cli.data.neighbour_sampling import cells
from n2n_cli.images import Picture
from n2n_cli.nn.functional import Array

_FEW = 2e-4
"""Share of 2x2 cells that are wholly black, or wholly white, up to which nothing counts as cut off there: impulses, of
up to a tenth of the pixels, rarely fill a cell."""
_REACH = 2.5
"""Standard deviations from black or white, up to which noise counts as cut off. At that distance one pixel in 160 is,
which moves their mean by 0.002 standard deviations."""
_KEPT = 0.25
"""Of the noise's variance, what a denoiser removes at least where it was cut off, in mean squares, if it keeps none:
black is left with a half."""


class Clipping:
    """Where noise was cut off, told from the denoised picture: noisy pixels would choose themselves by their noise.

    Parameters
    ----------
    pictures : sequence of Picture
        Of the same kind: one, or the parts of one. Floats beyond [0, 1] tell that nothing was cut off.
    sigma : float
        Standard deviation of the noise, in [0, 1].

    Attributes
    ----------
    black, white : bool
        Whether anything was cut off there.
    """

    def __init__(self, pictures: Sequence[Picture], sigma: float) -> None:
        self._sigma = sigma
        counts = np.sum([_cut_cells(picture) for picture in pictures], axis=0)
        self.black, self.white = (bool(cut > _FEW * counts[2]) for cut in counts[:2])

    @property
    def found(self) -> bool:
        """Whether anything was cut off."""
        return self.black or self.white

    def __call__(self, denoised: Array) -> Array:
        """(N, C, H, W) -> (N, 1, H, W) bool array: where noise of any channel was cut off."""
        margin = _REACH * self._sigma
        cut = np.zeros((len(denoised), 1, *denoised.shape[2:]), bool)
        if self.black:
            cut |= (denoised < margin).any(axis=1, keepdims=True)
        if self.white:
            cut |= (denoised > 1 - margin).any(axis=1, keepdims=True)
        return cut

    def is_kept(self, removed: Array) -> bool:
        """Whether a denoiser keeps the noise, from what it removes of any pixels where that was cut off."""
        return bool(len(removed) and np.square(removed, dtype=np.float64).mean() < _KEPT * self._sigma**2)


def _cut_cells(picture: Picture) -> tuple[int, int, int]:
    """2x2 cells of which a channel is all black, those of which one is all white, and all of them; invisible ones left
    out."""
    pixels = picture.pixels
    h, w, channels = (pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2, pixels.shape[2])
    visible = np.ones((h // 2, w // 2), bool) if picture.alpha is None else cells(picture.alpha[:h, :w] > 0)
    count = int(visible.sum())
    ends: tuple[float, float] = (0, 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max)
    if picture.value_range is not None:
        ends = picture.value_range
    elif pixels.dtype.kind == "f" and (pixels.min() < 0 or pixels.max() > 1):
        return 0, 0, count
    found = []
    for end in ends:
        cut = np.zeros_like(visible)
        for c in range(channels):
            cut |= cells(pixels[:h, :w, c] == end)
        found.append(int((cut & visible).sum()))
    return found[0], found[1], count
