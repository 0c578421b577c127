"""Networks for pictures of other channels than their own."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.denoising.picture import denoise
from n2n_cli.errors import ShapeError
from n2n_cli.nn import Residual, Sequential
from n2n_cli.single_image.channels import for_channels
from n2n_cli.single_image.learner import model_of
from tests.single_image.test_blend import conv


@pytest.mark.parametrize(("own", "channels"), [(1, 3), (3, 1)])
def test_a_network_of_other_channels_does_as_denoising_with_it(
    own: int, channels: int, rng: np.random.Generator
) -> None:
    network = Sequential(Residual(conv(channels, 3, rng), conv(channels, 3, rng)))
    pixels = rng.random((own, 20, 30), dtype=np.float32)
    fitted = for_channels(network, own, channels)
    wanted = denoise(model_of(network, threads=1), pixels)
    assert model_of(fitted).channels == own
    np.testing.assert_allclose(denoise(model_of(fitted, threads=1), pixels), wanted, atol=1e-6)
    with pytest.raises(ShapeError):
        fitted.output_shape((1, 2, 20, 30))


def test_a_network_of_the_same_channels_is_itself(rng: np.random.Generator) -> None:
    network = conv(3, 3, rng)
    assert for_channels(network, 3, 3) is network
