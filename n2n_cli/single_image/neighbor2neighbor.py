"""Neighbor2Neighbor: a trained network, fitted to the one noisy picture that it is to denoise.

Of every 2x2 cell of a picture two pixels that touch are drawn: two half-sized pictures of nearly the same content with
independent noise, from one of which the network learns to guess the other. Nearly: what two neighbours differ by in the
denoised picture, the guess may differ by, too.

Where noise was cut off at black or white its mean is not 0, and neighbours would teach it. There, what the network was
before tells the target, unless that keeps the noise.

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
"""Of the second part of the loss: the paper's for real noise."""
EFFORT = Effort(steps=150, every=10, patience=3)
SIDE, BATCH = 128, 2
"""Side of crops in pixels, and crops of a step."""
LEARNING_RATE, GROWTH, LAST_RATE = 1e-5, 1.05, 5e-4
"""The learning rate grows with every step: a picture like those that the model knows needs a little, and gets worse by
more, which ends it; a picture of another kind gets better for long."""
DECAY = 0.9
_PART = 4
"""One block in so many is held out: what is learned is little, and has to be told from chance."""
_WINDOWS = 8
"""Crops, at most, that the held-out loss is taken on."""


class NeighborLoss(Loss):
    """Mean of mask * (|f(g1) - g2|^2 + weight * |f(g1) - g2 - (g1(f(y)) - g2(f(y)))|^2) over all elements of f(g1).

    Its target has, behind one another in the channels, g2, the difference g1(f(y)) - g2(f(y)), and the mask of one
    channel: see `target_of`. Through the difference nothing is learned, as in the paper.

    Parameters
    ----------
    weight : float
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
        self._kept = mask * (error + self.weight * unlike)
        return float(np.mean(mask * value, dtype=np.float64))

    def backward(self) -> Array:
        """2/n mask * (f(g1) - g2 + weight * (f(g1) - g2 - difference))."""
        kept = self._use_up()
        grad: Array = kept * np.asarray(2 / kept.size, kept.dtype)
        return grad


def target_of(second: Array, denoised: Array, drawn: Array, mask: Array) -> Array:
    """What `NeighborLoss` compares with: g2, what the denoised crops' neighbours differ by, and the mask."""
    one, other = neighbours(denoised, drawn)
    return np.concatenate([second, one - other, mask.astype(second.dtype)], axis=1)


def _parts(target: Array) -> tuple[Array, Array, Array]:
    """Views of what `target_of` puts behind one another."""
    c = target.shape[1] // 2
    return target[:, :c], target[:, c:-1], target[:, -1:]


class Adapter:
    """Steps of the method that fit a copy of a model to pictures, and how well it guesses pixels that are held out.

    The method's loss says little of a fit to whole pictures: it falls, too, where the network forgets them for halved
    ones. So what is held out is measured on the picture as it is: see `risk`.

    Parameters
    ----------
    model : Model
        Stays as it is.
    pictures : sequence of Picture
        Of the same channels: one, or the parts of one.
    rng : numpy.random.Generator
        Draws the crops, the neighbours and what is held out.

    Attributes
    ----------
    crops : Crops
    possible : bool
        Whether the pictures are large enough to learn from them, and to tell whether that made it better.
    side : int
        Of crops, in pixels; 0 where the pictures are too small for the network.
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
        self._denoised = [self.model.predict(x) for x, _ in self._windows]  # as yet by the model as it was
        self._cuts = self._knows_better()
        looked_at = [self._looked_at(x, held, y) for (x, held), y in zip(self._windows, self._denoised, strict=True)]
        self._risk = Risk(looked_at, self.crops.sigma if looked_at else math.nan)

    def learn(self, effort: Effort = EFFORT) -> Learned:
        """Fit `self.model`; its held-out loss is then at most what it was."""
        learned = learn(self.step, self.held_out, self._average, effort)
        self.model.network.load_state_dict(learned.weights)
        return replace(learned, who="the model")

    def correlation(self) -> float:
        """Of what the model removed before it was fitted, between neighbouring pixels; not a number where the pictures
        are too small."""
        return max(noise_correlation(_stacked([x for x, _ in self._windows]), _stacked(self._denoised)))

    def step(self) -> None:
        """Take one step."""
        optimizer = self.model.optimizer
        optimizer.lr = min(LEARNING_RATE * GROWTH**optimizer.steps, LAST_RATE)
        self.model.step(*self.batch())

    def batch(self) -> tuple[Array, Array]:
        """The input and the target (see `target_of`) of the next step."""
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
        """By how much the model errs more than at first, in the held-out blocks; not a number where there are none."""
        return self._risk(self.model.predict)

    def _held_out_windows(self) -> list[tuple[Array, Array]]:
        """Crops around held-out blocks, of the network's channels, and where they are held out."""
        side, corners = self.side, list[tuple[int, int, int]]()
        for i, row, column in self.crops.held:
            room = side - BLOCK
            seen = any(k == i and 0 <= row - top <= room and 0 <= column - left <= room for k, top, left in corners)
            if not seen and len(corners) < _WINDOWS:
                corners.append((i, *self.crops.around(i, (row, column), side)))
        found = [self.crops.at([corner], side) for corner in corners]
        return [(with_channels(crop, self._channels), ~learned[0, 0]) for crop, learned in found]

    def _knows_better(self) -> bool:
        """Whether noise was cut off, and the model removes it where it was."""
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
        """A mask a crop, for crops as `with_channels` makes them."""
        alone = self._channels == 1 < self.crops.channels
        return np.repeat(mask, self.crops.channels, axis=0) if alone else mask


def _stacked(crops: Sequence[Array]) -> Picture:
    """Crops (N, C, H, W) above one another."""
    return Picture(np.concatenate([np.moveaxis(x, 1, -1).reshape(-1, x.shape[3], x.shape[1]) for x in crops]))
