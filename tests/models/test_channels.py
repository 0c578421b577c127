"""Networks applied to images with another number of channels."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.errors import ShapeError
from n2n_cli.models.predictor import Predictor
from n2n_cli.nn import Conv2d, Residual, Sequential


def conv(channels: int, kernel_size: int, rng: np.random.Generator) -> Conv2d:
    return Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, rng=rng)


def predictor(channels: int, rng: np.random.Generator, threads: int = 1) -> Predictor:
    return Predictor.of(Sequential(Residual(conv(channels, 3, rng), conv(channels, 3, rng))), threads=threads)


def test_gray_image_is_denoised_as_the_mean_of_equal_channels(rng: np.random.Generator) -> None:
    colour = predictor(3, rng)
    gray = colour.for_channels(1)
    x = rng.random((2, 1, 20, 30), dtype=np.float32)
    wanted = colour.predict(x.repeat(3, axis=1)).mean(axis=1, keepdims=True)
    assert gray.channels == 1
    for _ in range(3):  # the second and third on tape
        assert gray.predict(x) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_of_other_images_are_denoised_independently(channels: int, rng: np.random.Generator) -> None:
    network = predictor(channels, rng, threads=2)
    x = rng.random((2, 5, 20, 30), dtype=np.float32)
    found = network.for_channels(5).predict(x)
    wanted = [network.predict(x[:, i : i + 1].repeat(channels, axis=1)).mean(axis=1) for i in range(5)]
    assert found == pytest.approx(np.stack(wanted, axis=1), abs=1e-6)


def test_image_with_undeclared_channels_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ShapeError):
        predictor(3, rng).for_channels(1).predict(np.zeros((1, 2, 20, 30), np.float32))


def test_predictor_of_the_same_channels_is_the_same_object(rng: np.random.Generator) -> None:
    same = predictor(3, rng)
    assert same.for_channels(3) is same
