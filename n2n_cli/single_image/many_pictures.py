"""Model that learns from many single noisy pictures, by Neighbor2Neighbor.

Ordinary Noise2Noise needs two noisy shots of each scene. Here both come from one shot: each 2x2 cell gives one random
pixel to the network's input and an adjacent one to its target, two half-sized pictures with independent noise. A
regularisation term corrects for the different positions of the two pixels.

References
----------
Huang, Li, Jia, Lu, Liu (2021), "Neighbor2Neighbor: Self-Supervised Denoising from Single Noisy Images",
arXiv:2101.02824, algorithm 1.
"""

from __future__ import annotations

from n2n_cli.config import Config
from n2n_cli.data.neighbour_sampling import neighbours
from n2n_cli.data.single_pairs import drawn_in
from n2n_cli.models.model import Model
from n2n_cli.nn import Loss
from n2n_cli.nn.functional import Array
from n2n_cli.single_image.neighbor2neighbor import NeighborLoss, target_of


class SingleImageModel(Model):
    """Model that learns from crops of single noisy pictures.

    Its criterion must be a `NeighborLoss`. One drawn pixel of each 2x2 cell goes to the input, another to the target.
    The two may differ by as much as they do in the denoised crop; for this term of the loss, the crop is denoised with
    the current weights, and no gradient flows through it.
    """

    @staticmethod
    def _criterion_of(config: Config) -> Loss:
        return NeighborLoss()

    def step(self, noisy: Array, target: Array) -> float:
        """Take one optimiser step on a batch of `SinglePairs`; return its loss.

        The loss is that before the step.

        Parameters
        ----------
        noisy : (N, C, 2H, 2W) array
            Noisy crops.
        target : (N, 2, H, W) array
            Numbers of the two drawn pixels of each cell.

        Raises
        ------
        TrainingError, StopError
            As from `Model.step`.
        """
        drawn = drawn_in(target)
        first, second = neighbours(noisy, drawn)
        denoised = self.predict(noisy) if len(noisy) else noisy
        return super().step(first, target_of(second, denoised, drawn))
