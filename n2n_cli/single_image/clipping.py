"""Where a picture's noise was cut off at black or white.

What noise remains there is of one side and has a mean of its own. Whoever learns from noisy targets learns that mean,
too: black becomes gray. So nothing is learned there, and nothing told from what the pixels there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from n2n_cli.images import Picture
from n2n_cli.nn.functional import Array

_FEW = 2e-4
"""Of all 2x2 cells, those that are black or white as a whole, up to which nothing was cut off: impulses are alone."""
_REACH = 2.5
"""Standard deviations: from black or white, up to where noise is cut off. At that distance, one pixel in 160 is, which
moves their mean by 0.002."""


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
    found : bool
        Whether anything was cut off.
    """

    def __init__(self, pictures: Sequence[Picture], sigma: float) -> None:
        cells = [_cut_cells(picture.pixels) for picture in pictures]
        self.found = sum(cut for cut, _ in cells) > _FEW * sum(count for _, count in cells)
        self._margin = _REACH * sigma

    def __call__(self, denoised: Array) -> Array:
        """(N, C, H, W) -> (N, 1, H, W) bool array: where noise of any channel was cut off."""
        if not self.found:
            return np.zeros((len(denoised), 1, *denoised.shape[2:]), bool)
        cut = (denoised < self._margin) | (denoised > 1 - self._margin)
        return np.asarray(cut.any(axis=1, keepdims=True))

    def of(self, denoise: Callable[[Array], Array], x: Array) -> Array:
        """As for `denoise(x)`, which is computed only where it matters."""
        return self(denoise(x) if self.found else x)


def _cut_cells(pixels: Array) -> tuple[int, int]:
    """2x2 cells of (H, W, C) pixels of which a channel is all black or all white, and how many cells there are."""
    h, w, channels = pixels.shape
    cells = (h // 2) * (w // 2)
    if pixels.dtype.kind == "f":
        if pixels.min() < 0 or pixels.max() > 1:
            return 0, cells
        brightest = 1
    else:
        brightest = np.iinfo(pixels.dtype).max
    cut = np.zeros((h // 2, w // 2), bool)
    for c in range(channels):
        for end in (0, brightest):
            at_end = pixels[: h // 2 * 2, : w // 2 * 2, c] == end
            cut |= at_end[::2, ::2] & at_end[::2, 1::2] & at_end[1::2, ::2] & at_end[1::2, 1::2]
    return int(cut.sum()), cells
