"""Training on one picture: random crops, held-out blocks and early stopping.

Blocks that are spread over the picture are held out: their pixels are never targets of the training. The loss on them
is measured every few steps with the averaged weights. When it no longer falls, the network would only learn the noise,
and training stops with the weights of the lowest held-out loss. The clean picture is never used; there is none.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from n2n_cli.errors import DivergenceError
from n2n_cli.images import Picture
from n2n_cli.nn import Loss
from n2n_cli.nn.averaging import MovingAverage
from n2n_cli.nn.functional import Array
from n2n_cli.system.progress import advance, unreported

BLOCK, EDGE = 16, 4
"""Side of a held-out block, and distance of the first from the picture's border, in pixels. The distance lets networks
see all that surrounds a block."""
_PART, _MOST = 16, 128
"""One block in `_PART` is held out, and at most `_MOST` in all."""
_LEAST_DEVIATION = 1e-6
"""Standard deviation, in [0, 1], below which a picture counts as constant."""


@dataclass(frozen=True)
class Effort:
    """Limits of a training on one picture.

    Attributes
    ----------
    steps : int
        Maximum number of steps.
    seconds : float
        Maximum time from the start, in seconds; a step that has begun is finished.
    every : int
        Number of steps between two measurements of the held-out loss.
    patience : int
        Number of measurements without a new lowest loss after which training stops.
    """

    steps: int
    seconds: float = math.inf
    every: int = 50
    patience: int = 4


@dataclass(frozen=True)
class Learned:
    """Result of a training on one picture.

    Attributes
    ----------
    weights : dict of arrays
        The averaged weights at the lowest held-out loss; those after the last step if nothing is held out.
    steps : int
        Number of steps taken.
    first, best : float
        Held-out loss before the first step, and the lowest one; NaN if nothing is held out.
    """

    weights: dict[str, Array]
    steps: int
    first: float
    best: float

    def __str__(self) -> str:
        loss = "" if math.isnan(self.first) else f", held-out loss {self.first:.3g} before and {self.best:.3g} after"
        return f"a network of its own learned for {self.steps} steps{loss}"


def learn(
    step: Callable[[], object],
    held_out: Callable[[], float],
    average: MovingAverage,
    effort: Effort,
) -> Learned:
    """Train until the held-out loss stops falling or a limit is reached.

    Parameters
    ----------
    step : function
        Takes one step.
    held_out : function
        Returns the held-out loss of the network with its current weights; NaN if nothing is held out.
    average : MovingAverage
        Moving average of the network's weights; the held-out loss is measured with it.
    effort : Effort

    Returns
    -------
    Learned
        With copies of the averaged weights.
    """
    began = time.perf_counter()
    done, taken, since_best = 0.0, 0, 0
    with unreported():
        first = held_out()
    best, weights = math.inf if math.isnan(first) else first, _copied(average)

    def improved() -> bool:
        """Measure the held-out loss of the average; keep the average if it is the best."""
        nonlocal best, weights
        loss = math.nan
        with average.applied(), unreported(), suppress(DivergenceError):
            loss = held_out()
        if not (loss < best or math.isnan(first)):  # also if it is NaN
            return False
        best, weights = loss, _copied(average)
        return True

    while taken < effort.steps and since_best < effort.patience:
        seconds = time.perf_counter() - began
        if seconds >= effort.seconds:
            break
        with unreported():
            step()
        average.update()
        taken += 1
        part = max(taken / effort.steps, seconds / effort.seconds)
        if part > done:
            advance(part - done)
            done = part
        if taken % effort.every and taken < effort.steps:
            continue
        since_best = 0 if improved() else since_best + 1
    if taken % effort.every and taken < effort.steps:  # out of time: measure again, after the last steps
        improved()
    advance(max(0.0, 1 - done))
    return Learned(weights, taken, first, math.nan if math.isnan(first) else best)


def _copied(average: MovingAverage) -> dict[str, Array]:
    return {name: values.copy() for name, values in average.weights.items()}


class Crops:
    """Crops of pictures, with masks of their held-out pixels.

    Parameters
    ----------
    pictures : sequence of Picture
        One picture or several, or the parts of one, all with the same number of channels. They are converted to floats
        crop by crop, to save memory.
    rng : numpy.random.Generator
        Draws the held-out blocks, and the crops.

    Attributes
    ----------
    channels : int
    least : int
        Shortest side of all pictures, in pixels.
    mean, deviation : float
        Mean and standard deviation of all pixels, in [0, 1]; the deviation of constant pictures is given as 1.
    held : list of (picture, row, column)
        Upper left pixels of the held-out blocks.
    """

    def __init__(self, pictures: Sequence[Picture], *, rng: np.random.Generator) -> None:
        self._pictures, self._rng = pictures, rng
        shapes = [picture.pixels.shape for picture in pictures]
        self.channels = shapes[0][2]
        self.least = min(min(h, w) for h, w, _ in shapes)
        self._sides: Array = np.array(shapes)[:, :2]
        areas = self._sides.prod(axis=1, dtype=float)
        self._shares = areas / areas.sum()
        counts = [(_block_count(h), _block_count(w)) for h, w, _ in shapes]
        self._numbers = [(_block_numbers(h), _block_numbers(w)) for h, w, _ in shapes]
        self._blocks = [np.zeros((rows + 2, columns + 2), bool) for rows, columns in counts]
        ends = np.cumsum([rows * columns for rows, columns in counts])
        count = min(_MOST, int(ends[-1]) // _PART)
        self.held: list[tuple[int, int, int]] = []
        for number in sorted(rng.choice(ends[-1], count, replace=False).tolist()) if count else ():
            i = int(np.searchsorted(ends, number, side="right"))
            row, column = divmod(number - int(ends[i]) + math.prod(counts[i]), counts[i][1])
            self._blocks[i][row + 1, column + 1] = True
            self.held.append((i, EDGE + BLOCK * row, EDGE + BLOCK * column))
        self.mean, self.deviation = self._moments()

    def _moments(self) -> tuple[float, float]:
        """Mean and standard deviation, from at most about 2**20 pixels per picture."""
        total, squares, count = 0.0, 0.0, 0
        for picture in self._pictures:
            stride = max(1, math.ceil(math.sqrt(picture.pixels.shape[0] * picture.pixels.shape[1] / 2**20)))
            x = picture.to_unit(picture.pixels[::stride, ::stride]).astype(np.float64)
            total, squares, count = total + float(x.sum()), squares + float(np.square(x).sum()), count + x.size
        mean = total / count
        deviation = math.sqrt(max(0.0, squares / count - mean * mean))
        return mean, deviation if deviation > _LEAST_DEVIATION else 1.0

    def at(self, places: Sequence[tuple[int, int, int]], side: int) -> tuple[Array, Array]:
        """Square crops at (picture, row, column), and masks of pixels not held out.

        Returns
        -------
        (N, C, side, side) float32 array in [0, 1], (N, 1, side, side) bool array
        """
        crops = np.empty((len(places), side, side, self.channels), np.float32)
        learned = np.empty((len(places), 1, side, side), bool)
        for n, (i, top, left) in enumerate(places):
            picture = self._pictures[i]
            crops[n] = picture.to_unit(picture.pixels[top : top + side, left : left + side])
            rows, columns = self._numbers[i]
            blocks = rows[top : top + side, None], columns[left : left + side]
            np.logical_not(self._blocks[i][blocks], out=learned[n, 0])
        return crops.transpose(0, 3, 1, 2), learned

    def draw(self, count: int, side: int) -> list[tuple[int, int, int]]:
        """Draw places of crops, uniform over the pictures' area."""
        numbers = self._rng.choice(len(self._pictures), count, p=self._shares)
        places = self._rng.integers(self._sides[numbers] - side + 1)
        return [(i, top, left) for i, (top, left) in zip(numbers.tolist(), places.tolist(), strict=True)]


def _block_count(size: int) -> int:
    """Number of whole blocks along an axis of `size` pixels."""
    return max(0, (size - 2 * EDGE) // BLOCK)


def _block_numbers(size: int) -> Array:
    """Number of each pixel's block along an axis, from 1.

    Pixels before the first block have 0, and those after the last one number more than it.
    """
    numbers: Array = np.clip((np.arange(size) - EDGE) // BLOCK + 1, 0, _block_count(size) + 1)
    return numbers


class MaskedSquares(Loss):
    """Mean of mask * prediction^2 over every element of the prediction.

    The target is the mask, (N, 1, H, W), of zeros and ones.
    """

    def forward(self, prediction: Array, target: Array) -> float:
        masked = prediction * target
        self.keep(masked)
        return float(np.mean(np.square(masked), dtype=np.float64))

    def backward(self) -> Array:
        """2/n mask * prediction, the mask being 0 or 1."""
        (masked,) = self.use_up()
        grad: Array = masked * (2 / masked.size)
        return grad
