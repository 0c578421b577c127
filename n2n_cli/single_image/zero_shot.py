"""Zero-Shot Noise2Noise: a small network trained on the noisy picture alone.

The picture is downsampled twice: to the means of one diagonal of its 2x2 cells, and to those of the other. The two
half-sized pictures show the same content with independent noise, so a network learns to predict one from the other
(residual loss). A consistency loss makes the denoised picture, downsampled, agree with the denoised half-sized
pictures, so that the network also works at full size. Held-out blocks decide when to stop (`learner`).

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
"""Radius of the network's receptive field, in pixels."""
MIN_SIDE = 4 * BEYOND + 2
"""Minimum side of a crop, in pixels: below it, the loss has no elements."""

EFFORT = Effort(steps=3000, every=150, patience=3)
SIDE, BATCH = 32, 4
"""Side of the training crops, in pixels, and number of crops per step. For the same number of pixels, many steps on few
small crops give the lower loss."""
LEARNING_RATE, BETAS, DECAY = 3e-3, (0.9, 0.99), 0.998
DEVIATION = 0.25
"""Standard deviation that the picture is scaled to, so that dark pictures are learned like bright ones."""


def halves(x: Array) -> Array:
    """(N, C, H, W) -> (2N, C, H/2, W/2): means of the diagonals of each 2x2 cell.

    The first N are the means of the diagonals that rise to the right, the others those of the falling ones.
    """
    n, c, h, w = x.shape
    out = empty_nchw((2 * n, c, h // 2, w // 2), x.dtype)
    for part, first, second in _diagonals(x):
        y = out[:n] if part == 0 else out[n:]
        do(np.add, first, second, out=y)
    do(np.multiply, out, 0.5, out=out)
    return out


def halves_adjoint(u: Array) -> Array:
    """(2N, C, H/2, W/2) -> (N, C, H, W): the adjoint of `halves`.

    Each of the two pixels of a mean gets half of its value.
    """
    n, (c, h, w) = len(u) // 2, u.shape[1:]
    out = empty_nchw((n, c, 2 * h, 2 * w), u.dtype)
    for part, first, second in _diagonals(out):
        half = u[:n] if part == 0 else u[n:]
        do(np.multiply, half, 0.5, out=first)
        do(np.copyto, second, first)
    return out


def _diagonals(x: Array) -> Iterator[tuple[int, Array, Array]]:
    """Number of each diagonal, with views of its upper and of its lower pixels.

    The views have shape (N, C, H/2, W/2).
    """
    yield 0, x[:, :, ::2, 1::2], x[:, :, 1::2, ::2]
    yield 1, x[:, :, ::2, ::2], x[:, :, 1::2, 1::2]


def noise_network(
    channels: int, *, rng: np.random.Generator | None = None, dtype: DTypeLike = np.float32
) -> Sequential:
    """The network of the paper, which predicts the noise of a picture.

    It has no padding: the output lacks two pixels at each border.
    """
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
    """The four differences of the loss, for noisy crops.

    Their mean square is half of the method's loss. D1 and D2 downsample, y1 = D1(y) and y2 = D2(y) are the half-sized
    pictures of a crop y, and f is the network, which predicts noise. The residual loss has y1 - f(y1) - y2 and
    y2 - f(y2) - y1, the consistency loss y1 - f(y1) - D1(y - f(y)) and y2 - f(y2) - D2(y - f(y)). There is no padding:
    the differences exist where the receptive field lies inside the crop.

    Parameters
    ----------
    network : Sequential
        A result of `noise_network`, without padding.
    """

    tapes = True

    def __init__(self, network: Sequential) -> None:
        super().__init__(self)
        # Compiled twice: a kernel keeps the values of one forward pass for its backward pass, and there are two.
        shared = Shared()
        self._network, self._twin = kernel_for(network, shared), kernel_for(network, shared)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) with even sides -> (N, 4C, H/2 - 4, W/2 - 4)."""
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
        self._twin.accumulate(halves_adjoint(grad_halved))  # two minus signs cancel

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
    """Predictor that subtracts the predicted noise from images.

    The network was trained on (image - mean) * scale; the scaling is folded into its first and last layers. The result
    is the average over eight flips and rotations.
    """
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
    """Predictor that returns every image unchanged: its weights are zeros."""
    return Predictor.of(Residual(*_layers(channels, 1, UNDRAWN, np.float32)), channels, threads=threads)


def learning_parts(channels: int) -> tuple[Executor, MaskedSquares]:
    """Training executor with weights of zeros, and its loss, rebuilt in each worker."""
    return zero_shot_executor(noise_network(channels, rng=UNDRAWN)), MaskedSquares()


def zero_shot_executor(network: Sequential, *, threads: int = 1) -> Executor:
    """Executor of the method's differences for a result of `noise_network`."""
    parameters = network.parameters()
    return Executor(ZeroShot(network), parameters, threads=threads)


class ZeroShotLearner:
    """Trains the network on crops of pictures, and measures its held-out loss.

    Parameters
    ----------
    crops : Crops
        Crops of one picture, or of the parts of one; no side is shorter than `MIN_SIDE`.
    rng : numpy.random.Generator
        Draws the weights.
    threads : int, optional
        Number of threads; `learn` uses as many processes instead. Default: one per available core. Results do not
        depend on it, except for rounding.
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
        """Take one training step."""
        self.trainer.step(*self.batch())

    def batch(self) -> tuple[Array, Array]:
        """Draw the next step's input and target.

        Returns
        -------
        (N, C, H, W) array, (N, 1, H/2 - 4, W/2 - 4) array
            Scaled crops, and the mask of the differences that are learned from.
        """
        x, learned = self.crops.at(self.crops.draw(BATCH, self._side), self._side)
        return self._scaled(x), _inside(cells(learned)).astype(np.float32)

    def in_processes(self) -> AbstractContextManager[None]:
        """Train with processes instead of threads inside the block."""
        return self.trainer.in_processes(Parts(learning_parts, (self.crops.channels,)))

    def held_out(self) -> float:
        """The loss on the held-out blocks; NaN if there are none."""
        if not len(self._held_out):
            return math.nan
        with one_blas_thread():
            return 2 * float(np.mean(np.square(self._executor(self._held_out)), dtype=np.float64))

    def learn(self, effort: Effort = EFFORT) -> tuple[Predictor, Learned]:
        """Train the network; return its predictor, and a report of the training."""
        with self.in_processes():
            learned = learn(self.step, self.held_out, self.average, effort)
        self.network.load_state_dict(learned.weights)
        threads, channels = self._executor.threads, self.crops.channels
        return denoiser(self.network, channels, self.crops.mean, self._scale, threads=threads), learned

    def _scaled(self, x: Array) -> Array:
        scaled: Array = (x - np.float32(self.crops.mean)) * np.float32(self._scale)
        return scaled
