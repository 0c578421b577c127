"""A blend of two denoisers: its share, and the module that mixes them."""

from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.denoising import denoise
from n2n_cli.errors import ShapeError
from n2n_cli.images import Picture
from n2n_cli.nn import Conv2d, Module, Residual, Sequential
from n2n_cli.nn.bands import Counting
from n2n_cli.nn.functional import Array, Pair
from n2n_cli.nn.parallel import Replicas
from n2n_cli.single_image.blend import Blend, OfChannels, best_share, correlation, for_channels
from n2n_cli.single_image.learner import Crops, model_of
from n2n_cli.tiling import apply
from tests.nn.unet import unet


def conv(channels: int, kernel_size: int, rng: np.random.Generator) -> Conv2d:
    return Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, rng=rng)


def network_of(channels: int, rng: np.random.Generator) -> Module:
    """A U-Net of RGB, or for gray what sees a little more than a pixel."""
    return unet(rng) if channels == 3 else Residual(conv(1, 3, rng), conv(1, 3, rng))


def noisy_crops(clean: Array, sigma: float, rng: np.random.Generator) -> Crops:
    """Of a clean (H, W, C) picture with noise."""
    return Crops([Picture((clean + rng.normal(0, sigma, clean.shape)).astype(np.float32))], rng=rng)


def blurred(x: Array, reach: int = 2) -> Array:
    """The mean of the pixels that are so far away along either axis, at most."""
    padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="edge")
    (h, w), shifts = x.shape[2:], range(2 * reach + 1)
    mean: Array = np.mean([padded[:, :, i : i + h, j : j + w] for i in shifts for j in shifts], axis=0)
    return mean


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_makes_up_for_what_each_of_two_gets_wrong(share: float, rng: np.random.Generator) -> None:
    crops = noisy_crops(np.full((90, 70, 3), 0.5), 0.05, rng)
    too_bright, too_dark = 0.5 + 0.1 * (1 - share), 0.5 - 0.1 * share
    found = best_share(lambda x: np.full_like(x, too_bright), lambda x: np.full_like(x, too_dark), crops, 32, rng=rng)
    assert found == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("side", [8, 64])
def test_who_keeps_the_noise_has_no_share(side: int, rng: np.random.Generator) -> None:
    crops = noisy_crops(np.full((128, 128, 1), 0.5), 0.1, rng)
    assert best_share(lambda x: x, blurred, crops, side, rng=rng) < 0.1
    assert best_share(blurred, lambda x: np.full_like(x, 0.3), crops, side, rng=rng) > 0.9


def test_two_that_do_the_same_are_the_first(rng: np.random.Generator) -> None:
    crops = noisy_crops(np.zeros((40, 40, 1)), 1.0, rng)
    assert best_share(blurred, blurred, crops, 32, rng=rng) == 1
    assert best_share(lambda x: x, lambda x: x, crops, 32, rng=rng) == 1


def test_where_there_is_little_noise_details_that_only_their_own_pixel_tells_are_kept(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    dots = np.full((96, 96, 1), 0.4)
    dots[rng.random(dots.shape) < 0.01] = 0.8
    crops = noisy_crops(dots, 0.005, rng)

    def duller(x: Array) -> Array:
        return 0.8 * x + 0.2 * blurred(x, 1)

    assert best_share(lambda x: x, duller, crops, 64, rng=rng) > 0.8
    monkeypatch.setattr("n2n_cli.single_image.blend._SEEN", 1.0)
    monkeypatch.setattr("n2n_cli.single_image.blend._WHITE", 1.0)
    assert best_share(lambda x: x, duller, crops, 64, rng=rng) < 0.2


def test_when_the_seconds_are_over_no_more_crops_are_looked_at(rng: np.random.Generator) -> None:
    crops = noisy_crops(np.full((200, 200, 1), 0.5), 0.1, rng)
    passes: list[int] = []

    def counted(x: Array) -> Array:
        passes.append(len(x))
        return blurred(x)

    best_share(lambda x: x, counted, crops, 40, rng=rng, seconds=60)
    whole = len(passes)
    passes.clear()
    best_share(lambda x: x, counted, crops, 40, rng=rng, seconds=0)
    assert 0 < len(passes) <= 7  # of one crop
    assert whole > 10 * len(passes)


def test_where_more_than_noise_was_removed_guesses_are_not_enough(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    stripes = np.full((96, 96, 1), 0.4)
    stripes[::8] = 0.8
    crops = noisy_crops(stripes, 0.005, rng)
    assert best_share(lambda x: x, blurred, crops, 64, rng=rng) > 0.9
    monkeypatch.setattr("n2n_cli.single_image.blend._WHITE", 1.0)
    assert best_share(lambda x: x, blurred, crops, 64, rng=rng) < 0.8


@pytest.mark.parametrize(
    ("shift", "wanted"), [((0, 1), 0.5), ((1, -1), 0.5), ((1, 1), 0.5), ((2, 0), 0.5), ((3, 0), 0.0)]
)
def test_the_correlation_of_a_residual(shift: Pair, wanted: float, rng: np.random.Generator) -> None:
    white = [rng.normal(size=(1, 3, 60, 60)) for _ in range(4)]
    assert correlation(white) < 0.03
    assert correlation([x - np.roll(x, shift, (2, 3)) for x in white]) == pytest.approx(wanted, abs=0.03)
    assert correlation([np.zeros((1, 1, 8, 8))]) == 0


def test_a_blend_is_the_weighted_mean(rng: np.random.Generator) -> None:
    one, other = conv(2, 3, rng), Sequential(conv(2, 5, rng), conv(2, 1, rng))
    x = rng.random((2, 2, 9, 11), dtype=np.float32)
    blend = Blend(one, other, 0.3).eval()
    np.testing.assert_allclose(blend(x), 0.3 * one(x) + 0.7 * other(x), atol=1e-6)
    assert blend.input_span(4, 6, 0) == (2, 8)
    assert [name for name, _ in blend.named_parameters()][:2] == ["first.weight", "first.bias"]


@pytest.mark.parametrize("size", [(48, 72), (37, 50)])
def test_in_tiles_a_blend_is_the_same(size: Pair, rng: np.random.Generator) -> None:
    network = Blend(unet(rng), Residual(conv(3, 5, rng)), 0.6).eval()
    assert network.period(0) == unet(rng).period(0) > 1
    x = rng.random((1, 3, *size))
    whole = apply(Replicas(network), x, tile=200)
    np.testing.assert_allclose(apply(Replicas(network, threads=2), x, tile=8), whole, atol=1e-12)


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


@pytest.mark.parametrize(("own", "channels", "count"), [(1, 3, 1), (3, 1, 1), (3, 1, 2), (3, 3, 2)])
def test_in_bands_it_is_the_same(own: int, channels: int, count: int, rng: np.random.Generator) -> None:
    network = Blend(for_channels(network_of(channels, rng), own, channels), Residual(conv(own, 5, rng)), 0.6).eval()
    x = rng.random((count, own, 400, 176))
    replicas = Replicas(network, threads=2)
    np.testing.assert_allclose(replicas.in_bands(x), network(x), atol=1e-6)


@pytest.mark.parametrize(("own", "channels"), [(1, 3), (3, 1)])
def test_the_memory_of_bands_is_told_without_taking_it(own: int, channels: int, rng: np.random.Generator) -> None:
    network = Blend(OfChannels(network_of(channels, rng), own, channels), Residual(conv(own, 5, rng)), 0.6).eval()
    counting = Counting()
    network.in_bands(counting.empty((1, own, 40_000, 40_000)), counting)
    assert counting.memory > 3 * 4 * 40_000**2


@pytest.mark.parametrize("module", [Blend(Module(), Module(), 0.5), OfChannels(Module(), 1, 3)])
def test_there_is_no_way_back(module: Module) -> None:
    with pytest.raises(NotImplementedError, match="is for denoising alone"):
        module.backward(np.zeros((1, 1, 2, 2)))
