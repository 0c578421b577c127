"""Zero-Shot Noise2Noise: a small network that learns to denoise one picture from that picture alone.

A noisy picture is halved twice, by the means of either diagonal of its 2x2 cells. The two halves show the same picture
with independent noise, so a network can learn to guess one from the other; that what it makes of the whole picture,
halved, agrees with what it makes of the halves, lets it do for the whole what it learned on them.

References
----------
Mansour and Heckel (2023), "Zero-Shot Noise2Noise: Efficient Image Denoising without any Data", arXiv:2303.11253.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import DTypeLike

from n2n_cli.data.neighbour_sampling import cells
from n2n_cli.engine.channels_last import empty_nchw
from n2n_cli.engine.executor import Executor
from n2n_cli.engine.fused_conv import Shared
from n2n_cli.engine.fusion import kernel_for
from n2n_cli.engine.kernel import TrainableKernel
from n2n_cli.engine.tape import do
from n2n_cli.engine.workers import Parts
from n2n_cli.errors import ShapeError
from n2n_cli.models.predictor import Predictor
from n2n_cli.models.trainer import Trainer
from n2n_cli.nn import Adam, Conv2d, LeakyReLU, Module, Residual, Sequential
from n2n_cli.nn.averaging import MovingAverage
from n2n_cli.nn.functional import Array, Shape
from n2n_cli.nn.geometry import Geometry
from n2n_cli.nn.init import UNDRAWN
from n2n_cli.single_image.learner import BLOCK, EDGE, Crops, Effort, Learned, MaskedSquares, learn
from n2n_cli.system.blas import one_blas_thread
from n2n_cli.system.cpu import available_cores

WIDTH, SLOPE = 48, 0.2
BEYOND = 2
"""Pixels that the network sees beyond one, on each side."""
MIN_SIDE = 4 * BEYOND + 2
"""Pixels of a side of a crop, at least, so that there is something to compare."""

EFFORT = Effort(steps=3000, every=150, patience=3)
SIDE, BATCH = 32, 4
"""Side of crops in pixels, and crops of a step: of as many pixels, many steps of few small crops learn more."""
LEARNING_RATE, BETAS, DECAY = 3e-3, (0.9, 0.99), 0.998
DEVIATION = 0.25
"""What the pictures' standard deviation is made for the network, so that dark pictures are learned as bright ones."""


def halves(x: Array) -> Array:
    """(N, C, H, W) -> (2N, C, H/2, W/2): the means of all diagonals / of the 2x2 cells, then those of the others."""
    n, c, h, w = x.shape
    out = empty_nchw((2 * n, c, h // 2, w // 2), x.dtype)
    for part, first, second in _diagonals(x):
        y = out[:n] if part == 0 else out[n:]
        do(np.add, first, second, out=y)
    do(np.multiply, out, 0.5, out=out)
    return out


def halves_adjoint(u: Array) -> Array:
    """(2N, C, H/2, W/2) -> (N, C, H, W): half of each value goes to the two pixels that it is the mean of."""
    n, (c, h, w) = len(u) // 2, u.shape[1:]
    out = empty_nchw((n, c, 2 * h, 2 * w), u.dtype)
    for part, first, second in _diagonals(out):
        half = u[:n] if part == 0 else u[n:]
        do(np.multiply, half, 0.5, out=first)
        do(np.copyto, second, first)
    return out


def _diagonals(x: Array) -> Iterator[tuple[int, Array, Array]]:
    """Of each diagonal, the pixels in the upper row of the cells and those in the lower row: views (N, C, H/2, W/2)."""
    yield 0, x[:, :, ::2, 1::2], x[:, :, 1::2, ::2]
    yield 1, x[:, :, ::2, ::2], x[:, :, 1::2, 1::2]


def noise_network(
    channels: int, *, rng: np.random.Generator | None = None, dtype: DTypeLike = np.float32
) -> Sequential:
    """The network of the paper, which guesses the noise of a picture, of all but two border pixels."""
    return Sequential(*_layers(channels, 0, rng, dtype))


def _layers(channels: int, padding: int, rng: np.random.Generator | None, dtype: DTypeLike) -> list[Module]:
    return [
        Conv2d(channels, WIDTH, 3, padding=padding, rng=rng, dtype=dtype),
        LeakyReLU(SLOPE),
        Conv2d(WIDTH, WIDTH, 3, padding=padding, rng=rng, dtype=dtype),
        LeakyReLU(SLOPE),
        Conv2d(WIDTH, channels, 1, rng=rng, dtype=dtype),
    ]


class ZeroShot(TrainableKernel, Geometry):
    """From noisy crops, the four differences whose mean square is half of the method's loss.

    With y1, y2 the two halves of a crop y, f the network, D1, D2 the two ways to halve: y1 - f(y1) - y2 and
    y2 - f(y2) - y1, then y1 - f(y1) - D1(y - f(y)) and y2 - f(y2) - D2(y - f(y)). Nothing is padded: there are
    differences wherever the network sees only the crop.

    Parameters
    ----------
    network : Sequential
        Of `noise_network`, without padding.
    """

    tapes = True

    def __init__(self, network: Sequential) -> None:
        super().__init__(self)
        # Compiled twice: a kernel keeps what the backward pass of one forward pass needs, and there are two.
        shared = Shared()
        self._network, self._twin = kernel_for(network, shared), kernel_for(network, shared)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W), the sides even -> (N, 4C, H/2 - 4, W/2 - 4)."""
        n, c = x.shape[:2]
        shape = self.output_shape(x.shape)
        y = halves(x)  # (2N, C, H/2, W/2)
        noise = self._network(y)
        whole = _inside(x)
        whole_noise = self._twin(whole)
        whole_denoised = empty_nchw(whole_noise.shape, x.dtype)
        do(np.subtract, _inside(whole), whole_noise, out=whole_denoised)
        y = _inside(y)
        denoised = empty_nchw(noise.shape, x.dtype)
        do(np.subtract, y, noise, out=denoised)
        errors = empty_nchw(shape, x.dtype)
        halved = halves(whole_denoised)
        for i, (own, other) in enumerate(((slice(n), slice(n, None)), (slice(n, None), slice(n)))):
            do(np.subtract, denoised[own], y[other], out=errors[:, i * c : (i + 1) * c])
            do(np.subtract, denoised[own], halved[own], out=errors[:, (2 + i) * c : (3 + i) * c])
        self.keep(shape)
        return errors

    def accumulate(self, grad_output: Array) -> None:
        (shape,) = self.use_up()
        self.check_gradient(grad_output.shape, shape)
        n, c = len(grad_output), shape[1] // 4
        grad_noise = empty_nchw((2 * n, c, *shape[2:]), grad_output.dtype)
        grad_halved = empty_nchw(grad_noise.shape, grad_output.dtype)
        for i, own in enumerate((slice(n), slice(n, None))):
            first, second = (grad_output[:, k * c : (k + 1) * c] for k in (i, 2 + i))
            do(np.add, first, second, out=grad_noise[own])
            do(np.copyto, grad_halved[own], second)
        do(np.negative, grad_noise, out=grad_noise)
        self._network.accumulate(grad_noise)
        self._twin.accumulate(halves_adjoint(grad_halved))  # two minus signs meet

    def output_shape(self, shape: Shape) -> Shape:
        self.check_shape(shape)
        n, c, h, w = shape
        if h % 2 or w % 2 or min(h, w) < MIN_SIDE:
            raise ShapeError(
                f"{type(self).__name__} got crops of {h}x{w} pixels; sides must be even, {MIN_SIDE} at least"
            )
        return n, 4 * c, h // 2 - 2 * BEYOND, w // 2 - 2 * BEYOND

    def most_values(self, shape: Shape) -> int:
        return WIDTH * (shape[2] - 6) * (shape[3] - 6)


def _inside(x: Array) -> Array:
    return x[:, :, BEYOND:-BEYOND, BEYOND:-BEYOND]


def denoiser(learned: Sequential, channels: int, mean: float, scale: float, *, threads: int | None = None) -> Predictor:
    """The predictor that takes from images the noise that a network has learned on (image - mean) * scale."""
    layers = _layers(channels, 1, UNDRAWN, np.float32)
    for layer, module in zip(layers, learned, strict=True):
        layer.load_state_dict(module.state_dict())
    (first, first_bias), (last, last_bias) = ([values for values, _ in layers[i].param()] for i in (0, -1))
    first *= scale
    first_bias -= mean * first.sum(axis=(1, 2, 3))
    last *= -1 / scale
    last_bias *= -1 / scale
    return Predictor.of(Residual(*layers), channels, threads=threads).as_ensemble()


def unchanging(channels: int, *, threads: int | None = None) -> Predictor:
    """A predictor that returns every image as it is: its weights are zeros."""
    return Predictor.of(Residual(*_layers(channels, 1, UNDRAWN, np.float32)), channels, threads=threads)


def learning_parts(channels: int) -> tuple[Executor, MaskedSquares]:
    """The executor that learns, with weights of zeros, and its loss: what a worker process makes again."""
    return zero_shot_executor(noise_network(channels, rng=UNDRAWN)), MaskedSquares()


def zero_shot_executor(network: Sequential, *, threads: int = 1) -> Executor:
    """The executor of the method's loss on a network of `noise_network`."""
    parameters = [parameter for _, parameter in network.named_parameters()]
    return Executor(ZeroShot(network), parameters, threads=threads)


class ZeroShotLearner:
    """Steps of the method on crops of pictures, and its loss on what is held out of them.

    Parameters
    ----------
    crops : Crops
        Of pictures of which no side is shorter than `MIN_SIDE`: one, or the parts of one.
    rng : numpy.random.Generator
        Draws the weights.
    threads : int, optional
        By default one for each core that this process may use; `learn` has as many processes in their place. Results
        do not depend on it but for rounding.
    """

    def __init__(self, crops: Crops, *, rng: np.random.Generator, threads: int | None = None) -> None:
        self.crops = crops
        self._scale = DEVIATION / self.crops.deviation
        self._side = min(SIDE, self.crops.least // 2 * 2)
        channels = self.crops.channels
        self.network = noise_network(channels, rng=rng)
        self._executor = zero_shot_executor(self.network, threads=available_cores() if threads is None else threads)
        optimizer = Adam(self.network.param(), lr=LEARNING_RATE, betas=BETAS)
        self.trainer = Trainer(self._executor, optimizer, MaskedSquares())
        self.average = MovingAverage(self.network.named_parameters(), DECAY)
        windows, _ = self.crops.at([(i, top - EDGE, left - EDGE) for i, top, left in self.crops.held], BLOCK + 2 * EDGE)
        self._held_out = self._scaled(windows)

    def step(self) -> None:
        """Take one step."""
        self.trainer.step(*self.batch())

    def batch(self) -> tuple[Array, Array]:
        """Scaled crops, and a mask of the differences that are learned from: the next step's input and target."""
        x, learned = self.crops.at(self.crops.draw(BATCH, self._side), self._side)
        return self._scaled(x), _inside(cells(learned)).astype(np.float32)

    def in_processes(self) -> AbstractContextManager[None]:
        """Take the steps of the block with processes in place of threads."""
        return self.trainer.in_processes(Parts(learning_parts, (self.crops.channels,)))

    def held_out(self) -> float:
        """The loss on the held-out blocks; not a number where there are none."""
        if not len(self._held_out):
            return math.nan
        with one_blas_thread():
            return 2 * float(np.mean(np.square(self._executor(self._held_out)), dtype=np.float64))

    def learn(self, effort: Effort = EFFORT) -> tuple[Predictor, Learned]:
        """The predictor that was learned, for the pictures' channels, and how the learning went."""
        with self.in_processes():
            learned = learn(self.step, self.held_out, self.average, effort)
        self.network.load_state_dict(learned.weights)
        threads, channels = self._executor.threads, self.crops.channels
        return denoiser(self.network, channels, self.crops.mean, self._scale, threads=threads), learned

    def _scaled(self, x: Array) -> Array:
        scaled: Array = (x - np.float32(self.crops.mean)) * np.float32(self._scale)
        return scaled
