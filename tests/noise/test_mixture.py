from __future__ import annotations

import re

import numpy as np
import pytest

from n2n_cli.data.pairs import CropPairs
from n2n_cli.errors import ArgumentError
from n2n_cli.noise import NOISE_MODELS, Gaussian, Mixture, Strength, parse_noise

FLAT = np.full((40, 50, 3), 128, np.uint8)


def test_models_are_drawn_by_their_shares(rng: np.random.Generator) -> None:
    mixture = parse_noise("mix: 3 gaussian:1; 1 gaussian:20")
    strong = [(mixture.draw(FLAT, rng=rng) * 255).std() > 10 for _ in range(800)]
    assert np.mean(strong) == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 800))


def test_views_of_a_pair_share_model_and_strength_but_not_noise(rng: np.random.Generator) -> None:
    mixture = parse_noise("mix: 1 gaussian:1~4; 1 gaussian:10~40")
    clean = mixture.clean(FLAT)
    for _ in range(40):
        view, target = (made - clean for made in mixture.draw_pair(FLAT, rng=rng))
        assert view.std() == pytest.approx(target.std(), rel=0.05)
        assert np.mean(view * target) / (view.std() * target.std()) == pytest.approx(0, abs=4 / np.sqrt(view.size))


def test_training_pair_has_the_noise_of_one_model() -> None:
    mixture = parse_noise("mix: 1 gaussian:1; 1 gaussian:20")
    pairs = CropPairs([np.full((40, 40, 3), 128, np.uint8)], 64, 32, mixture, seed=1)
    noisy, target = (views - np.float32(128 / 255) for views in pairs.batch(range(64)))
    strong = [view.std() * 255 > 10 for view in noisy]
    assert [view.std() * 255 > 10 for view in target] == strong
    assert 16 < sum(strong) < 48


def test_pair_of_a_single_model_is_a_view_and_a_target() -> None:
    model = Gaussian(Strength(0, 50))
    view, target = model.draw_pair(FLAT, rng=np.random.default_rng(3))
    rng = np.random.default_rng(3)
    assert np.array_equal(view, model.draw(FLAT, rng=rng))
    assert np.array_equal(target, model.draw_target(FLAT, rng=rng))


def test_targets_are_neither_clipped_nor_rounded(rng: np.random.Generator) -> None:
    white = np.full((40, 50, 3), 255, np.uint8)
    view, target = parse_noise("mix: 1 rounded:20").draw_pair(white, rng=rng)
    assert view.max() == 1
    assert (target > 1).mean() == pytest.approx(0.5, abs=0.03)
    assert len(np.unique(target)) > 0.9 * target.size


@pytest.mark.parametrize(
    "text",
    ["mix: 1 gaussian:25", "mix: 0.5 grain:0-50,0-1; 8 camera:0.0001~0.015", "mix: 2 poisson:4~1000; 1 jpeg:40-95,0-5"],
)
def test_text_round_trip(text: str) -> None:
    assert isinstance(parse_noise(text), Mixture)
    assert str(parse_noise(text)) == text


def test_white_space_is_ignored() -> None:
    assert str(parse_noise("mix:2 gaussian:25;\n  1  poisson:30 ")) == "mix: 2 gaussian:25; 1 poisson:30"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("mix:", "''"),
        ("mix: gaussian:25", "'gaussian:25'"),
        ("mix: 1 gaussian:25;", "''"),
        ("mix: 0 gaussian:25", "'0 gaussian:25'"),
        ("mix: -1 gaussian:25", "'-1 gaussian:25'"),
        ("mix: nan gaussian:25", "'nan gaussian:25'"),
        ("mix: inf gaussian:25", "'inf gaussian:25'"),
        ("mix: 1 gaussian:25, 1 poisson:30", "`gaussian:25`, from 0 to 255 grey levels, in place of"),
        ("mix: 1 gaussian:25; 2 foo:3", "in place of 'foo:3'"),
        ("mix: 1 gaussian:25; 2 mix: 1 poisson:30", "in place of 'mix: 1 poisson:30'"),
        ("mix: 1 gaussian:25; 2 pixelate:8", "a mixture of models whose views are of one size"),
    ],
)
def test_error_quotes_the_wrong_part(text: str, part: str) -> None:
    with pytest.raises(ArgumentError, match="^" + re.escape(f"`noise` is {text!r}, it must be ")) as caught:
        parse_noise(text)
    assert part in caught.value.needed


def test_examples_of_all_models_are_valid() -> None:
    for model in NOISE_MODELS.values():
        assert str(parse_noise(model.example)) == model.example
    assert str(parse_noise(Mixture.example)) == Mixture.example
