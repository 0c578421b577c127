from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.errors import ArgumentError
from n2n_cli.images.pixels import to_float
from n2n_cli.nn.functional import Array
from n2n_cli.nn.registering import RegistrationError
from n2n_cli.noise import (
    NOISE_MODELS,
    Bernoulli,
    Blurred,
    Camera,
    Gaussian,
    Grain,
    Impulse,
    Jpeg,
    NoiseModel,
    Pixelate,
    Poisson,
    PoissonGaussian,
    Rounded,
    Row,
    Strength,
    Text,
    parse_noise,
    register_noise,
    within,
)
from tests.nn.cases import some_examples
from tests.registries import restored

models = pytest.mark.parametrize(
    "model",
    [
        Gaussian(25),
        Gaussian(Strength(0, 50)),
        Grain(25, 1),
        Poisson(30),
        PoissonGaussian(30, 5),
        Bernoulli(0.5),
        Impulse(0.3),
        Text(0.25),
        Pixelate(4),
        Blurred(30, 1),
        Row(2, 10),
        Camera(0.003),
        Rounded(20),
        Jpeg(60, 5),
    ],
    ids=str,
)


def picture(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(256, size=shape, dtype=np.uint8)


def blocks(source: Array, block: int) -> Array:
    """(H, W, C) -> (H // block, W // block, block * block, C), by slicing."""
    h, w = source.shape[0] // block, source.shape[1] // block
    return np.array(
        [
            [
                source[y * block : (y + 1) * block, x * block : (x + 1) * block].reshape(-1, source.shape[2])
                for x in range(w)
            ]
            for y in range(h)
        ]
    ).reshape(h, w, block * block, source.shape[2])


@pytest.mark.parametrize("sigma_255", [1.0, 25.0, 100.0])
def test_gaussian_noise_has_mean_0_and_the_given_variance(rng: np.random.Generator, sigma_255: float) -> None:
    source = picture(rng, 200, 300, 3)
    noise = Gaussian(sigma_255).draw(source, rng=rng) - to_float(source)
    sigma = sigma_255 / 255
    assert noise.mean() == pytest.approx(0, abs=4 * sigma / np.sqrt(noise.size))
    assert noise.std() == pytest.approx(sigma, rel=4 / np.sqrt(2 * noise.size))
    assert np.mean(np.abs(noise) < sigma) == pytest.approx(0.6827, abs=4 * 0.47 / np.sqrt(noise.size))


def test_gaussian_noise_is_not_clipped(rng: np.random.Generator) -> None:
    black, white = np.zeros((50, 60, 3), np.uint8), np.full((50, 60, 3), 255, np.uint8)
    assert np.mean(Gaussian(25).draw(black, rng=rng) < 0) == pytest.approx(0.5, abs=0.03)
    assert np.mean(Gaussian(25).draw(white, rng=rng) > 1) == pytest.approx(0.5, abs=0.03)


def test_gaussian_noise_is_not_rounded_to_grey_levels(rng: np.random.Generator) -> None:
    view = Gaussian(25).draw(np.full((50, 60, 3), 128, np.uint8), rng=rng)
    assert len(np.unique(view)) > 0.99 * view.size


def test_gaussian_noise_is_white_in_space_and_colour(rng: np.random.Generator) -> None:
    noise = Gaussian(255).draw(np.zeros((100, 110, 3), np.float32), rng=rng)
    for a, b in ((noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1]), (noise[..., 1:], noise[..., :-1])):
        assert np.mean(a * b) == pytest.approx(0, abs=4 / np.sqrt(a.size))


def test_two_gaussian_views_have_independent_noise(rng: np.random.Generator) -> None:
    source = picture(rng, 100, 110, 3)
    model = Gaussian(255)
    a, b = (model.draw(source, rng=rng) - to_float(source) for _ in range(2))
    assert np.mean(a * b) == pytest.approx(0, abs=4 / np.sqrt(a.size))


def test_gaussian_of_zero_is_the_clean_picture(rng: np.random.Generator) -> None:
    source = picture(rng, 4, 5, 3)
    assert np.array_equal(Gaussian(0).draw(source, rng=rng), to_float(source))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_clean_picture_of_gaussian_noise_is_the_source(rng: np.random.Generator, dtype: type) -> None:
    source = rng.integers(np.iinfo(dtype).max, size=(4, 5, 1), dtype=dtype)
    assert np.array_equal(Gaussian(25).clean(source), to_float(source))


@models
def test_same_seed_draws_the_same_view(model: NoiseModel, rng: np.random.Generator) -> None:
    source = picture(rng, 16, 20, 3)
    for draw in (model.draw, model.draw_target):
        views = [draw(source, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)]
        assert np.array_equal(views[0], views[1])
        assert not np.array_equal(views[0], views[2])


@models
@pytest.mark.parametrize("size", [(16, 20, 3), (17, 23, 1), (3, 9, 3), (4, 4, 3), (1, 1, 1), (1, 1, 3)])
def test_views_are_float32_of_the_scaled_size_and_the_source_is_kept(
    model: NoiseModel, rng: np.random.Generator, size: tuple[int, int, int]
) -> None:
    source = to_float(picture(rng, *size))
    copy = source.copy()
    for made in (*model.draw_pair(source, rng=rng), model.clean(source)):
        assert made.shape == (size[0] // model.scale, size[1] // model.scale, size[2])
        assert made.dtype == np.float32
    assert np.array_equal(source, copy)


@given(st.integers(2, 5), st.integers(1, 23), st.integers(1, 23), st.integers(1, 3), st.integers(0, 99))
@some_examples
def test_pixelated_view_picks_a_pixel_of_each_block(block: int, h: int, w: int, c: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = picture(rng, h, w, c)
    view = Pixelate(block).draw(source, rng=rng)
    choices = to_float(blocks(source, block))  # (H, W, block * block, C)
    assert (view[:, :, None] == choices).all(axis=3).any(axis=2).all()


def test_all_pixels_of_a_block_are_equally_likely(rng: np.random.Generator) -> None:
    source = np.tile(np.arange(16, dtype=np.uint8).reshape(4, 4, 1), (1, 1000, 1))  # equal blocks side by side
    counts = sum(
        np.bincount((Pixelate(4).draw(source, rng=rng) * 255).round().astype(int).ravel(), minlength=16)
        for _ in range(16)
    )
    assert counts == pytest.approx(np.full(16, 1000), abs=5 * np.sqrt(1000))


def test_pixelation_picks_independently_per_block_and_once_for_all_channels(rng: np.random.Generator) -> None:
    source = np.tile(np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4, 1), (100, 110, 3))
    view = Pixelate(4).draw(source, rng=rng)  # (100, 110, 3)
    assert np.array_equal(view, np.broadcast_to(view[..., :1], view.shape))
    picks = view[..., 0]
    for a, b in ((picks[1:], picks[:-1]), (picks[:, 1:], picks[:, :-1])):
        assert np.mean(a * b) == pytest.approx(0, abs=4 * np.var(source) / np.sqrt(a.size))


@pytest.mark.parametrize("size", [(8, 12), (11, 14)])
def test_mean_of_many_pixelated_views_is_the_clean_picture(rng: np.random.Generator, size: tuple[int, int]) -> None:
    source, model = picture(rng, *size, 3), Pixelate(4)
    mean = np.mean([model.draw(source, rng=rng) for _ in range(4000)], axis=0)
    spread = to_float(blocks(source, 4)).std(axis=2)
    assert (np.abs(mean - model.clean(source)) < 5 * spread / np.sqrt(4000)).all()


@pytest.mark.parametrize("size", [(8, 12), (11, 14)])
def test_clean_picture_of_pixelation_is_the_block_mean(rng: np.random.Generator, size: tuple[int, int]) -> None:
    source = picture(rng, *size, 3)
    wanted = blocks(source, 4).mean(axis=2) / 255
    assert Pixelate(4).clean(source) == pytest.approx(wanted, abs=2**-23)


def test_pixelation_keeps_constant_pictures(rng: np.random.Generator) -> None:
    source = np.full((9, 13, 3), [10, 200, 255], np.uint8)
    view = Pixelate(4).draw(source, rng=rng)
    assert np.array_equal(view, Pixelate(4).clean(source))
    assert np.array_equal(view, np.broadcast_to(to_float(source[0, 0]), (2, 3, 3)))


def test_two_pixelated_views_are_independent(rng: np.random.Generator) -> None:
    source, model = picture(rng, 256, 256, 1), Pixelate(4)
    a, b = (model.draw(source, rng=rng) - model.clean(source) for _ in range(2))
    assert np.mean(a * b) / np.mean(a * a) == pytest.approx(0, abs=4 / np.sqrt(a.size))


@pytest.mark.parametrize(
    ("text", "kind", "scale"),
    [
        ("gaussian:25", Gaussian, 1),
        ("gaussian:0.5", Gaussian, 1),
        ("gaussian:0", Gaussian, 1),
        ("gaussian:255", Gaussian, 1),
        ("gaussian:0-50", Gaussian, 1),
        ("gaussian:0.001", Gaussian, 1),
        ("poisson:30", Poisson, 1),
        ("poisson:5-50", Poisson, 1),
        ("poisson-gaussian:30,5", PoissonGaussian, 1),
        ("poisson-gaussian:10-30,0-5", PoissonGaussian, 1),
        ("bernoulli:0.5", Bernoulli, 1),
        ("impulse:0.1-0.5", Impulse, 1),
        ("text:0.25", Text, 1),
        ("pixelate:2", Pixelate, 2),
        ("pixelate:8", Pixelate, 8),
        ("pixelate:64", Pixelate, 64),
    ],
)
def test_text_of_a_model_round_trips(text: str, kind: type, scale: int) -> None:
    model = parse_noise(text)
    assert isinstance(model, kind)
    assert model.scale == scale
    assert str(model) == text


@pytest.mark.parametrize("text", ["", "25", ":25", "foo:3", "Gaussian:25", "a:b:c"])
def test_unknown_noise_model_is_refused_with_all_known_ones(text: str) -> None:
    with pytest.raises(
        ArgumentError, match="^" + re.escape(f"`noise` is {text!r}, it must be a noise model")
    ) as caught:
        parse_noise(text)
    assert caught.value.name == "noise"
    for model in NOISE_MODELS.values():
        assert f"`{model.example}`" in caught.value.needed


SIGMA, BLOCK = "from 0 to 255 grey levels", "a whole number from 2 to 64 pixels"
BOTH = "photons on white, from 0.1 to 1000000, and " + SIGMA


@pytest.mark.parametrize(
    ("texts", "needed"),
    [
        (["gaussian", "gaussian:", "gaussian:x", "gaussian:1,2"], SIGMA),
        (["gaussian:" + s for s in ("-1", "255.5", "nan", "inf", "-inf", "1e400", "5-2", "1-2-3", "-5--2")], SIGMA),
        (["pixelate:" + s for s in ("1", "1.5", "2.5", "0", "-8", "65", "nan", "inf", "2-3")], BLOCK),
        (["poisson:0", "poisson:1e7"], "photons on white, from 0.1 to 1000000"),
        (["poisson-gaussian:30", "poisson-gaussian:0,5", "poisson-gaussian:30,256", "poisson-gaussian:1,2,3"], BOTH),
        (["bernoulli:0.96", "bernoulli:-0.1"], "the fraction of lost pixels, from 0 to 0.95"),
        (["impulse:1"], "the fraction of wrong pixels, from 0 to 0.95"),
        (["text:0.5"], "the fraction of pixels under letters, from 0 to 0.45"),
    ],
)
def test_strength_out_of_range_is_refused(texts: list[str], needed: str) -> None:
    for text in texts:
        example = NOISE_MODELS[text.partition(":")[0]].example
        message = f"`noise` is {text!r}, it must be `{example}`, {needed}"
        with pytest.raises(ArgumentError, match="^" + re.escape(message) + "$"):
            parse_noise(text)


class Speckle(NoiseModel):
    """Noise proportional to the brightness."""

    name, example, needed = "speckle", "speckle:0.2", "from 0 to 1"

    def __init__(self, strength: Strength | float) -> None:
        self.strength = within(self, strength, 0, 1)

    def draw(self, source: Array, *, rng: np.random.Generator) -> Array:
        clean = self.clean(source)
        noise = rng.standard_normal(clean.shape, dtype=np.float32)
        view: Array = clean + np.float32(self.strength.draw(rng)) * clean * noise
        return view


def test_registered_noise_model_is_found_by_name(rng: np.random.Generator) -> None:
    with restored():
        assert register_noise(Speckle) is Speckle
        model = parse_noise("speckle:0.1-0.3")
        assert isinstance(model, Speckle)
        assert model.strength == Strength(0.1, 0.3)
        assert model.draw(np.zeros((4, 5, 3), np.uint8), rng=rng).dtype == np.float32
        with pytest.raises(ArgumentError, match=r"it must be `speckle:0\.2`, from 0 to 1$"):
            parse_noise("speckle:2")
        with pytest.raises(RegistrationError, match=r"^the name `speckle` is taken: there is a noise model"):
            register_noise(Speckle)
    with pytest.raises(ArgumentError, match="must be a noise model and its strength"):
        parse_noise("speckle:0.2")


@pytest.mark.parametrize(
    ("bases", "own", "message"),
    [
        ((Gaussian,), {}, "the name `gaussian` is taken: there is a noise model `gaussian` already"),
        ((Speckle,), {"name": "a:b"}, "the noise model `Mine` has the name `a:b`: it must be without `:`"),
        ((Speckle,), {"needed": None}, "the noise model `Mine` needs a `needed`, a text"),
        ((NoiseModel,), {}, "the noise model `Mine` needs a `name`, a text"),
        (
            (NoiseModel,),
            {"name": "a", "example": "a:1", "needed": "1"},
            "the noise model `Mine` has no method `__init__`",
        ),
        ((), {"name": "a", "example": "a:1", "needed": "1"}, "`Mine` cannot be registered as a noise model: "),
    ],
)
def test_unsuitable_noise_models_are_refused(bases: tuple[type, ...], own: dict[str, Any], message: str) -> None:
    with pytest.raises(RegistrationError, match=f"^{re.escape(message)}"):
        register_noise(type("Mine", bases, own))


def test_minimum_loss_of_a_model() -> None:
    assert Gaussian(25).floor == "the noise variance, 0.00961"
    assert Gaussian(Strength(0, 50)).floor == "the noise variance, 0.01282"  # (50 / 255)^2 / 3
    assert Pixelate(8).floor == "the mean variance inside a block"


def test_each_view_draws_its_strength_from_the_range(rng: np.random.Generator) -> None:
    source = np.zeros((40, 50, 3), np.float32)
    sigmas = np.array([Gaussian(Strength(10, 50)).draw(source, rng=rng).std() * 255 for _ in range(400)])
    assert 9.5 < sigmas.min() < 12
    assert 48 < sigmas.max() < 51.5
    assert sigmas.mean() == pytest.approx(30, abs=4 * 40 / np.sqrt(12 * 400))
    assert np.mean(sigmas**2) == pytest.approx(Strength(10, 50).mean_square(), rel=0.06)


@pytest.mark.parametrize(
    ("model", "variance"),
    [
        (Poisson(30), lambda clean: clean / 30),
        (PoissonGaussian(30, 20), lambda clean: clean / 30 + (20 / 255) ** 2),
        (Bernoulli(0.4), lambda clean: clean**2 * 0.4 / 0.6),
        # wrong / (1 - wrong) as for Bernoulli noise; the colours are uniform, with variance 1/12.
        (Impulse(0.2), lambda clean: (0.2 / 12 + 0.16 * (clean - 0.5) ** 2) / 0.8**2),
    ],
    ids=str,
)
def test_targets_have_the_clean_mean_and_the_model_s_variance(
    model: NoiseModel, variance: Callable[[float], float], rng: np.random.Generator
) -> None:
    source = np.broadcast_to(np.linspace(0, 1, 5, dtype=np.float32)[:, None, None], (5, 20_000, 2))
    target = model.draw_target(source, rng=rng)
    for row, clean in zip(target, (0, 0.25, 0.5, 0.75, 1), strict=True):
        wanted = variance(clean)
        assert row.mean() == pytest.approx(clean, abs=5 * np.sqrt(wanted / row.size * 2) + 1e-6)
        assert row.var() == pytest.approx(wanted, rel=0.05, abs=1e-9)


def test_negative_values_have_no_photons(rng: np.random.Generator) -> None:
    view = Poisson(1000).draw(np.array([[[-0.5], [1.5]]], np.float32), rng=rng)
    assert view[0, 0] == 0
    assert view[0, 1] == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(("model", "part"), [(Bernoulli(0.3), 0.3), (Impulse(0.3), 0.3), (Text(0.3), 0.3)], ids=str)
def test_given_share_of_pixels_changes_in_all_channels(
    model: NoiseModel, part: float, rng: np.random.Generator
) -> None:
    source = np.full((100, 120, 3), 0.5, np.float32)
    changed = model.draw(source, rng=rng) != source
    assert (changed.any(axis=2) == changed.all(axis=2)).mean() > 0.999
    assert changed.any(axis=2).mean() == pytest.approx(part, abs=0.03)


def test_bernoulli_noise_keeps_pixels_or_sets_them_to_0(rng: np.random.Generator) -> None:
    source = rng.uniform(0.1, 1, (30, 40, 3)).astype(np.float32)
    view = Bernoulli(0.5).draw(source, rng=rng)
    assert set(np.unique(view / source)) == {0, 1}


def test_half_of_the_grain_views_are_correlated(rng: np.random.Generator) -> None:
    source, model = np.full((40, 50, 3), 128, np.uint8), Grain(20, Strength(0.5, 1.5))
    pixels, channels, spreads = [], [], []
    for _ in range(200):
        noise = (model.draw(source, rng=rng) - model.clean(source)) * 255
        spreads.append(float(noise.std()))
        pixels.append(float(np.mean(noise[:, 1:] * noise[:, :-1]) / noise.var()))
        channels.append(float(np.mean(noise[..., 0] * noise[..., 1]) / noise.var()))
    together = [share > 0.2 for share in pixels]
    assert 0.35 < np.mean(together) < 0.65
    assert np.mean(spreads) == pytest.approx(20, rel=0.03)
    white = [share for share, blurred in zip(channels, together, strict=True) if not blurred]
    gray = [share for share, blurred in zip(channels, together, strict=True) if blurred]
    assert max(map(abs, white)) < 0.2
    assert max(gray) > 0.95
    assert min(gray) < 0.3


def test_blurred_noise_is_as_strong_at_the_edges() -> None:
    rng, model, source = np.random.default_rng(0), Grain(20, 1.5), np.full((16, 16, 1), 128, np.uint8)
    views = np.stack([model.draw(source, rng=rng) - np.float32(128 / 255) for _ in range(2000)]) * 255
    assert np.ptp(views.std(axis=(0, 3))) < 3
    assert not Grain(0, 1).draw(source, rng=rng).std()
