"""Neighbor2Neighbor: fine-tuning of a trained network to one noisy picture.

Two adjacent pixels are drawn from each 2x2 cell of the picture y. They form two half-sized pictures g1(y) and g2(y) of
nearly the same content with independent noise, and the network f learns to predict g2 from g1. As the content is not
quite the same, a regularisation term lets f(g1) differ from g2 by as much as the same pixels differ in the denoised
picture f(y). Training stops when the estimated risk on held-out blocks no longer falls (`risk_estimate`).

Noise that was clipped at black or white has a mean other than 0, which the network would learn from its neighbours. At
such pixels, the output of the original network is the target, unless that network keeps the noise.

References
----------
Huang, Li, Jia, Lu, Liu (2021), "Neighbor2Neighbor: Self-Supervised Denoising from Single Noisy Images",
arXiv:2101.02824, algorithm 1; TaoHuang2018/Neighbor2Neighbor, train.py.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from n2n_cli.data.neighbour_sampling import cells, draw_neighbours, neighbours
from n2n_cli.errors import ShapeError
from n2n_cli.images import Picture
from n2n_cli.models.channels import with_channels
from n2n_cli.models.model import Model
from n2n_cli.nn import Adam, Loss
from n2n_cli.nn.averaging import MovingAverage
from n2n_cli.nn.functional import Array
from n2n_cli.noise.correlation import noise_correlation
from n2n_cli.single_image.learner import BLOCK, Crops, Effort, Learned, learn
from n2n_cli.single_image.risk_estimate import Risk, Window, window

WEIGHT = 1.0
"""Weight of the regularisation term of the loss: the paper's for real noise."""
EFFORT = Effort(steps=150, every=10, patience=3)
SIDE, BATCH = 128, 2
"""Side of the training crops, in pixels, and number of crops per step."""
LEARNING_RATE, GROWTH, LAST_RATE = 1e-5, 1.05, 5e-4
"""First learning rate, its growth factor per step, and its maximum. A picture like the training pictures needs a few
small steps, and early stopping ends the training before larger ones do harm; a picture of another kind keeps improving
and gets larger steps."""
DECAY = 0.9
_PART = 4
"""One block in `_PART` is held out: improvements are small, and many blocks separate them from chance."""
_WINDOWS = 8
"""Maximum number of crops on which the held-out loss is measured."""


class NeighborLoss(Loss):
    """The loss of Neighbor2Neighbor, masked.

    mask * (|f(g1) - g2|^2 + weight * |f(g1) - g2 - (g1(f(y)) - g2(f(y)))|^2), mean over all elements of f(g1). The
    target holds, concatenated along the channels, g2, the difference g1(f(y)) - g2(f(y)), and the mask of one channel:
    see `target_of`. No gradient flows through the difference, as in the paper.

    Parameters
    ----------
    weight : float
        Weight of the regularisation term.
    """

    def __init__(self, weight: float = WEIGHT) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, prediction: Array, target: Array) -> float:
        """(N, C, H, W) and (N, 2C + 1, H, W) -> the loss."""
        c = prediction.shape[1]
        if target.shape != (len(prediction), 2 * c + 1, *prediction.shape[2:]):
            raise ShapeError(f"{self} got a prediction of shape {prediction.shape} and a target of {target.shape}")
        guessed, differing, mask = _parts(target)
        error = prediction - guessed
        unlike = error - differing
        value = np.square(error) + self.weight * np.square(unlike)
        self.keep(mask * (error + self.weight * unlike))
        return float(np.mean(mask * value, dtype=np.float64))

    def backward(self) -> Array:
        """2/n mask * (f(g1) - g2 + weight * (f(g1) - g2 - difference))."""
        (kept,) = self.use_up()
        grad: Array = kept * np.asarray(2 / kept.size, kept.dtype)
        return grad


def target_of(second: Array, denoised: Array, drawn: Array, mask: Array) -> Array:
    """Target of `NeighborLoss`: (N, 2C + 1, H, W), concatenated along the channels.

    Parameters
    ----------
    second : (N, C, H, W) array
        g2, the second drawn pixel of each cell of the noisy crops.
    denoised : (N, C, 2H, 2W) array
        f(y), the denoised crops.
    drawn : (2, N, 1, 1, H, W) array
        The drawn pixels, of `draw_neighbours`.
    mask : (N, 1, H, W) array
        Cells that are learned from.
    """
    one, other = neighbours(denoised, drawn)
    return np.concatenate([second, one - other, mask.astype(second.dtype)], axis=1)


def _parts(target: Array) -> tuple[Array, Array, Array]:
    """Views of the three parts of the target: g2, the difference, the mask."""
    c = target.shape[1] // 2
    return target[:, :c], target[:, c:-1], target[:, -1:]


class Adapter:
    """Fine-tunes a copy of a model to pictures, and measures its held-out risk.

    The method's own loss is no measure of the result: it is taken on half-sized pictures, and also falls when the
    network gets worse on full-sized ones. Therefore the risk is estimated on full-sized crops: see `risk_estimate`.

    Parameters
    ----------
    model : Model
        Not modified.
    pictures : sequence of Picture
        With the same number of channels: one, or the parts of one.
    rng : numpy.random.Generator
        Draws the crops, the neighbours and the held-out blocks.

    Attributes
    ----------
    crops : Crops
    possible : bool
        True if the pictures are large enough for crops and for held-out blocks.
    side : int
        Side of crops, in pixels; 0 if the pictures are too small for the network.
    """

    def __init__(self, model: Model, pictures: Sequence[Picture], *, rng: np.random.Generator) -> None:
        self._rng = rng
        self.crops = Crops(pictures, rng=self._rng, part=_PART)
        self._before = model
        network = copy.deepcopy(model.network)
        optimizer = Adam(network.param(), lr=LEARNING_RATE)
        self.model = Model(network, optimizer, NeighborLoss(), threads=model.threads)
        self._average = MovingAverage(network.named_parameters(), DECAY)
        self._channels = model.channels
        whole = 2 * math.lcm(network.period(0), network.period(1))
        self.side = min(SIDE, self.crops.least) // whole * whole
        self._windows = self._held_out_windows() if self.side else []
        self.possible = bool(self._windows)
        self._denoised = [self.model.predict(x) for x, _ in self._windows]  # by the model before fine-tuning
        self._cuts = self._knows_better()
        looked_at = [self._looked_at(x, held, y) for (x, held), y in zip(self._windows, self._denoised, strict=True)]
        self._risk = Risk(looked_at, self.crops.sigma if looked_at else math.nan)

    def learn(self, effort: Effort = EFFORT) -> Learned:
        """Fine-tune `self.model`; its held-out loss does not rise."""
        learned = learn(self.step, self.held_out, self._average, effort)
        self.model.network.load_state_dict(learned.weights)
        return replace(learned, who="the model")

    def correlation(self) -> float:
        """Correlation between neighbouring pixels of the part that the model removes.

        Measured before fine-tuning; NaN if the pictures are too small.
        """
        return max(noise_correlation(_stacked([x for x, _ in self._windows]), _stacked(self._denoised)))

    def step(self) -> None:
        """Take one training step."""
        optimizer = self.model.optimizer
        optimizer.lr = min(LEARNING_RATE * GROWTH**optimizer.steps, LAST_RATE)
        self.model.step(*self.batch())

    def batch(self) -> tuple[Array, Array]:
        """Draw the input and the target (see `target_of`) of the next step."""
        x, learned = self.crops.at(self.crops.draw(BATCH, self.side), self.side)
        x, mask = with_channels(x, self._channels), self._spread(cells(learned))
        drawn = draw_neighbours(len(x), *mask.shape[2:], rng=self._rng)
        first, second = neighbours(x, drawn)
        denoised = self.model.predict(x)
        target = target_of(second, denoised, drawn, mask)
        if self._cuts:
            cut, (guessed, differing, _) = ~cells(~self.crops.clipping(denoised)), _parts(target)
            np.copyto(guessed, self._before.predict(first), where=cut)
            np.copyto(differing, 0, where=cut)
        return first, target

    def held_out(self) -> float:
        """Estimated risk in the held-out blocks minus that before fine-tuning.

        NaN if there are no held-out blocks.
        """
        return self._risk(self.model.predict)

    def _held_out_windows(self) -> list[tuple[Array, Array]]:
        """Crops around held-out blocks, with the network's channels, and their masks."""
        side, corners = self.side, list[tuple[int, int, int]]()
        for i, row, column in self.crops.held:
            room = side - BLOCK
            seen = any(k == i and 0 <= row - top <= room and 0 <= column - left <= room for k, top, left in corners)
            if not seen and len(corners) < _WINDOWS:
                corners.append((i, *self.crops.around(i, (row, column), side)))
        found = [self.crops.at([corner], side) for corner in corners]
        return [(with_channels(crop, self._channels), ~learned[0, 0]) for crop, learned in found]

    def _knows_better(self) -> bool:
        """True if noise was clipped, and the model removes it at clipped pixels."""
        if not self._windows or not self.crops.clipping.found:
            return False
        removed = [
            (x - y)[np.broadcast_to(self.crops.clipping(y), x.shape)]
            for (x, _), y in zip(self._windows, self._denoised, strict=True)
        ]
        return not self.crops.clipping.is_kept(np.concatenate(removed))

    def _looked_at(self, x: Array, held: Array, denoised: Array) -> Window:
        cut = self.crops.clipping(denoised).any(axis=(0, 1)) & self._cuts
        return window(x, held & ~cut, held & cut, rng=self._rng)

    def _spread(self, mask: Array) -> Array:
        """Repeat the masks for crops that `with_channels` has split by channel."""
        alone = self._channels == 1 < self.crops.channels
        return np.repeat(mask, self.crops.channels, axis=0) if alone else mask


def _stacked(crops: Sequence[Array]) -> Picture:
    """One picture of the crops (N, C, H, W), stacked vertically."""
    return Picture(np.concatenate([np.moveaxis(x, 1, -1).reshape(-1, x.shape[3], x.shape[1]) for x in crops]))
