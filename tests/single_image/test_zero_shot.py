"""Zero-Shot Noise2Noise: half-sized pictures, loss, gradient and training."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from n2n_cli.denoising.picture import denoise
from n2n_cli.errors import ShapeError
from n2n_cli.evaluation.metrics import psnr
from n2n_cli.images import Picture
from n2n_cli.nn import MSE, LeakyReLU, Sequential
from n2n_cli.nn.functional import Array
from n2n_cli.single_image import zero_shot
from n2n_cli.single_image.learner import BLOCK, Crops, Effort
from n2n_cli.single_image.zero_shot import (
    ZeroShot,
    ZeroShotLearner,
    denoiser,
    halves,
    halves_adjoint,
    noise_network,
    zero_shot_executor,
)


def pair(rng: np.random.Generator, channels: int = 3, dtype: Any = np.float64) -> tuple[Sequential, ZeroShot]:
    """A network, and the kernel of its loss."""
    network = noise_network(channels, rng=rng, dtype=dtype)
    return network, ZeroShot(network)


def blocks(rng: np.random.Generator, side: int = 64, channels: int = 3) -> Array:
    """A picture of flat squares of 16 pixels, (C, H, W)."""
    coarse = rng.uniform(0.2, 0.8, size=(channels, side // 16, side // 16)).astype(np.float32)
    return coarse.repeat(16, axis=1).repeat(16, axis=2)


def as_picture(pixels: Array) -> Picture:
    return Picture(np.ascontiguousarray(np.moveaxis(pixels, 0, -1)))


def learner_of(picture: Picture, *, seed: int = 0, threads: int = 1) -> ZeroShotLearner:
    rng = np.random.default_rng(seed)
    return ZeroShotLearner(Crops([picture], rng=rng), rng=rng, threads=threads)


def loss(module: ZeroShot, x: Array) -> float:
    return 2 * MSE()(module(x), np.zeros(module.output_shape(x.shape)))


def test_halves_are_means_of_the_diagonals_of_cells() -> None:
    x = np.array([[1.0, 2, 10, 20], [3, 4, 30, 40]])[None, None]
    np.testing.assert_array_equal(halves(x)[:, 0, 0], [[2.5, 25], [2.5, 25]])
    x[0, 0, 0, 1] = 8
    np.testing.assert_array_equal(halves(x)[:, 0, 0], [[5.5, 25], [2.5, 25]])  # the first half has the diagonal /


def test_all_first_halves_come_before_the_second_ones(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 4, 6))
    np.testing.assert_array_equal(halves(x), np.concatenate([halves(x[:1])[:1], halves(x[1:])[:1],
                                                             halves(x[:1])[1:], halves(x[1:])[1:]]))  # fmt: skip


def test_halves_have_their_adjoint(rng: np.random.Generator) -> None:
    x, u = rng.normal(size=(2, 3, 4, 6)), rng.normal(size=(4, 3, 2, 3))
    assert np.vdot(halves_adjoint(u), x) == pytest.approx(np.vdot(u, halves(x)))


def test_loss_has_the_numeric_gradient(rng: np.random.Generator) -> None:
    (network, module), x = pair(rng), rng.normal(size=(2, 3, 14, 18))
    criterion = MSE()
    criterion(module(x), np.zeros(module.output_shape(x.shape)))
    module.accumulate(2 * criterion.backward())
    for name, parameter in network.named_parameters():
        way, own = rng.normal(size=parameter.data.shape), parameter.data.copy()
        values = []
        module.train(False)
        for step in (1e-7, -1e-7):  # small, so that few values change their sign
            parameter.data[...] = own + step * way
            values.append(loss(module, x))
        parameter.data[...] = own
        wanted = (values[0] - values[1]) / 2e-7
        assert np.vdot(parameter.grad, way) == pytest.approx(wanted, rel=1e-5, abs=1e-8), name


def test_loss_and_gradient_equal_those_of_the_paper_in_pytorch(torch: Any, rng: np.random.Generator) -> None:
    (network, module), x = pair(rng), rng.normal(size=(1, 3, 16, 20))
    criterion = MSE()
    got = 2 * criterion(module(x), np.zeros(module.output_shape(x.shape)))
    module.accumulate(2 * criterion.backward())

    weights = [torch.tensor(parameter.data, requires_grad=True) for _, parameter in network.named_parameters()]

    def f(y: Any) -> Any:  # without padding: the output is of the inner pixels
        for i in (0, 2, 4):
            y = torch.nn.functional.conv2d(y, weights[i], weights[i + 1])
            y = y if i == 4 else torch.nn.functional.leaky_relu(y, 0.2)
        return y

    def inside(y: Any) -> Any:
        return y[:, :, 2:-2, 2:-2]

    def halved(y: Any, kernel: list[list[float]]) -> Any:
        return torch.nn.functional.conv2d(y, torch.tensor(kernel, dtype=y.dtype).expand(3, 1, 2, 2), stride=2, groups=3)

    first, second = [[0, 0.5], [0.5, 0]], [[0.5, 0], [0, 0.5]]
    y = torch.tensor(x)
    y1, y2 = halved(y, first), halved(y, second)
    denoised = inside(inside(y)) - f(inside(y))
    pred1, pred2 = inside(y1) - f(y1), inside(y2) - f(y2)
    mse = torch.nn.functional.mse_loss
    residual = (mse(inside(y1), pred2) + mse(inside(y2), pred1)) / 2
    consistency = (mse(pred1, halved(denoised, first)) + mse(pred2, halved(denoised, second))) / 2
    wanted = residual + consistency
    wanted.backward()
    assert got == pytest.approx(wanted.item())
    for (name, parameter), weight in zip(network.named_parameters(), weights, strict=True):
        np.testing.assert_allclose(parameter.grad, weight.grad.numpy(), atol=1e-12, err_msg=name)


def test_pass_from_the_tape_gives_the_same_gradient(rng: np.random.Generator) -> None:
    network, _ = pair(rng, dtype=np.float32)
    x = rng.normal(size=(1, 3, 14, 14)).astype(np.float32)
    executor, target = zero_shot_executor(network), np.zeros((1, 12, 3, 3), np.float32)
    grads = []
    for _ in range(3):  # the second pass records the tape that the third one runs
        network.zero_grad()
        executor.accumulate(x, target, MSE())
        grads.append([grad.copy() for _, grad in network.param()])
    for first, third in zip(grads[0], grads[2], strict=True):
        np.testing.assert_array_equal(first, third)
        assert np.abs(first).max() > 0


@pytest.mark.parametrize("shape", [(1, 3, 11, 12), (1, 3, 12, 11), (1, 3, 8, 12), (1, 3, 12, 8)])
def test_crops_of_odd_or_too_small_sides_are_refused(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    with pytest.raises(ShapeError, match=rf"crops of {shape[2]}x{shape[3]} pixels; sides must be even, 10 at"):
        pair(rng)[1](np.zeros(shape))


def test_denoiser_subtracts_mean_noise_of_eight_orientations(rng: np.random.Generator) -> None:
    learned = noise_network(3, rng=rng)
    x = rng.random((1, 3, 12, 14), dtype=np.float32)
    wanted = np.mean([_turned_back(i, x, learned) for i in range(8)], axis=0)
    got = denoiser(learned, 3, 0.4, 5, threads=1).predict(x)
    np.testing.assert_allclose(got[:, :, 2:-2, 2:-2], wanted, atol=1e-6)


def _turned_back(i: int, x: Array, learned: Sequential) -> Array:
    """The inner pixels of x minus the noise found in x in orientation i, rotated back."""
    flips = tuple(axis for axis, bit in ((2, 1), (3, 2)) if i & bit)
    turned = np.flip(x, flips).swapaxes(2, 3) if i & 4 else np.flip(x, flips)
    noise = learned((np.ascontiguousarray(turned) - np.float32(0.4)) * np.float32(5)) / 5
    noise = np.flip(noise.swapaxes(2, 3) if i & 4 else noise, flips)
    clean: Array = x[:, :, 2:-2, 2:-2] - noise
    return clean


def test_network_has_size_and_slopes_of_the_paper(rng: np.random.Generator) -> None:
    network = noise_network(3, rng=rng)
    assert sum(parameter.size for parameter, _ in network.param()) == 22_275
    assert [layer.negative_slope for layer in network if isinstance(layer, LeakyReLU)] == [0.2, 0.2]


@pytest.mark.parametrize(("channels", "spread"), [(3, 1.0), (1, 0.01)])
def test_noisy_pictures_of_any_brightness_are_denoised(channels: int, spread: float, rng: np.random.Generator) -> None:
    clean = blocks(rng, 96, channels) * np.float32(spread)
    noisy = clean + (0.1 * spread * rng.normal(size=clean.shape)).astype(np.float32)
    model, learned = learner_of(as_picture(noisy)).learn(Effort(steps=150, every=50))
    assert learned.best < learned.first
    errors = [np.mean((picture - clean) ** 2) for picture in (denoise(model, noisy), noisy)]
    assert errors[0] < errors[1] / 4


def test_mask_leaves_out_held_out_cells() -> None:
    pixels = np.zeros((100, 90, 1), np.float32)
    for _, top, left in Crops([Picture(pixels)], rng=np.random.default_rng(7)).held:
        pixels[top : top + BLOCK, left : left + BLOCK] = 1
    learner = learner_of(Picture(pixels), seed=7)
    x, mask = (np.concatenate(parts) for parts in zip(*(learner.batch() for _ in range(40)), strict=True))
    bright = x > 0
    held = bright[..., ::2, ::2] | bright[..., 1::2, ::2] | bright[..., ::2, 1::2] | bright[..., 1::2, 1::2]
    np.testing.assert_array_equal(mask, ~held[..., 2:-2, 2:-2])
    assert 0.01 < 1 - mask.mean() < 0.2


def test_weights_depend_on_seed_and_not_on_threads(rng: np.random.Generator) -> None:
    picture = as_picture(blocks(rng) + rng.normal(0, 0.1, (3, 64, 64)).astype(np.float32))
    effort = Effort(steps=6, every=3)
    models = [
        learner_of(picture, seed=seed, threads=threads).learn(effort)[0] for seed, threads in ((1, 1), (1, 2), (2, 1))
    ]
    first, same, other = ([parameter.data for parameter in model.executor.parameters] for model in models)
    for values, same_values, other_values in zip(first, same, other, strict=True):
        np.testing.assert_array_equal(values, same_values)
        assert (values != other_values).any()


def test_weights_do_not_depend_on_processes(rng: np.random.Generator) -> None:
    picture = as_picture(blocks(rng) + rng.normal(0, 0.1, (3, 64, 64)).astype(np.float32))
    alone, together = (learner_of(picture, threads=threads) for threads in (1, 2))
    until = time.monotonic() + 60
    with together.in_processes():
        helped = 0
        while helped < 3:  # counts steps once the worker is ready
            alone.step()
            together.step()
            workers = together.trainer.executor.workers  # type: ignore[attr-defined]
            helped += len(workers) == 1 and workers[0].ready()
            assert time.monotonic() < until
    for name, values in alone.network.state_dict().items():
        np.testing.assert_array_equal(values, together.network.state_dict()[name])


def test_large_picture_is_never_converted_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    to_unit = Picture.to_unit

    def watched(picture: Picture, part: Array) -> Array:
        nonlocal largest
        largest = max(largest, part.size)
        return to_unit(picture, part)

    monkeypatch.setattr(Picture, "to_unit", watched)
    pixels = np.random.default_rng(0).integers(256, size=(3000, 2000, 1), dtype=np.uint8)
    learner_of(Picture(pixels)).learn(Effort(steps=2))
    assert 0 < largest < pixels.size / 4


def test_constant_picture_stays_as_it_is() -> None:
    flat = np.full((3, 40, 40), 0.5, np.float32)
    model, _ = learner_of(as_picture(flat)).learn(Effort(steps=60))
    assert psnr(denoise(model, flat), flat) > 30


def test_too_small_picture_gets_identity_model(rng: np.random.Generator) -> None:
    x = rng.random((3, 5, 7), dtype=np.float32)
    np.testing.assert_array_equal(denoise(zero_shot.unchanging(3, threads=1), x), x)
