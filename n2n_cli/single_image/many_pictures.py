"""The model that learns from many single noisy pictures, with Neighbor2Neighbor's loss."""

from __future__ import annotations

import numpy as np

from n2n_cli.data.neighbour_sampling import neighbours
from n2n_cli.data.single_pairs import drawn_in
from n2n_cli.models.model import Model
from n2n_cli.nn.functional import Array
from n2n_cli.single_image.neighbor2neighbor import target_of


class SingleImageModel(Model):
    """A model that learns from crops of single noisy pictures; its criterion is to be a `NeighborLoss`.

    One drawn neighbour of every 2x2 pixels is what the network sees, the other its target. What the two differ by in
    the denoised crop, they may differ by in the guess, too; for that, the crop is denoised as far as the network can by
    now, and nothing is learned through it.
    """

    def step(self, noisy: Array, target: Array) -> float:
        """One step of the optimiser on one batch of `SinglePairs`; returns the batch's loss before the step.

        Parameters
        ----------
        noisy : (N, C, 2H, 2W) array
            Crops.
        target : (N, 2, H, W) array
            Which pixels of every cell are drawn.

        Raises
        ------
        TrainingError, StopError
            As from `Model.step`.
        """
        drawn = drawn_in(target)
        first, second = neighbours(noisy, drawn)
        everywhere = np.ones((len(noisy), 1, *target.shape[2:]), np.float32)
        denoised = self.predict(noisy) if len(noisy) else noisy
        return super().step(first, target_of(second, denoised, drawn, everywhere))
