"""Neighbor2Neighbor: the loss, and a model that is adapted to a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from n2n_cli.data.neighbour_sampling import draw_neighbours, neighbours
from n2n_cli.errors import ShapeError
from n2n_cli.images import Picture
from n2n_cli.models.model import Model
from n2n_cli.nn import MSE, SGD, Conv2d, Residual, Sequential
from n2n_cli.nn.functional import Array
from n2n_cli.nn.gradient_check import check_same_gradient, numeric_gradient
from n2n_cli.single_image.learner import Effort
from n2n_cli.single_image.neighbor2neighbor import Adapter, NeighborLoss, target_of


def model(channels: int = 3, kernel_size: int = 3) -> Model:
    """Model that returns its input."""
    conv = Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, rng=np.random.default_rng(0))
    for parameter, _ in conv.param():
        parameter.fill(0)
    network = Sequential(Residual(conv))
    return Model(network, SGD(network.param()), MSE(), threads=1)


def noisy_picture(channels: int = 3, side: int = 96) -> tuple[Picture, Array]:
    """A ramp with noise, and the clean ramp."""
    ramp = np.linspace(0.2, 0.8, side, dtype=np.float32)
    clean = np.broadcast_to(ramp[:, None, None], (side, side, channels))
    noise = np.random.default_rng(1).normal(0, 0.1, clean.shape).astype(np.float32)
    return Picture(clean + noise), clean


def adapter_of(model: Model, picture: Picture) -> Adapter:
    return Adapter(model, [picture], rng=np.random.default_rng(0))


def test_loss_is_the_formula_of_the_paper(rng: np.random.Generator) -> None:
    noisy, denoised, guess = rng.normal(size=(2, 3, 4, 6)), rng.normal(size=(2, 3, 4, 6)), rng.normal(size=(2, 3, 2, 3))
    drawn, mask = draw_neighbours(2, 2, 3, rng=rng), np.ones((2, 1, 2, 3))
    (_, second), (one, other) = neighbours(noisy, drawn), neighbours(denoised, drawn)
    wanted = np.mean((guess - second) ** 2) + 2 * np.mean((guess - second - (one - other)) ** 2)
    assert NeighborLoss(2)(guess, target_of(second, denoised, drawn, mask)) == pytest.approx(wanted)


def test_loss_has_the_numeric_gradient(rng: np.random.Generator) -> None:
    criterion, guess, target = NeighborLoss(3), rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 7, 4, 5))
    target[:, -1] = target[:, -1] > 0
    criterion(guess, target)
    wanted = numeric_gradient(lambda: criterion(guess, target), guess)
    criterion(guess, target)
    check_same_gradient("the guess", criterion.backward(), wanted, tolerance=1e-6)


def test_targets_of_another_shape_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ShapeError, match=r"prediction of shape \(1, 3, 2, 2\) and a target of \(1, 6, 2, 2\)"):
        NeighborLoss()(rng.normal(size=(1, 3, 2, 2)), rng.normal(size=(1, 6, 2, 2)))


@pytest.mark.parametrize(("own", "channels"), [(3, 3), (1, 3), (3, 1)])
def test_identity_model_learns_to_denoise(own: int, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n2n_cli.single_image.neighbor2neighbor.LEARNING_RATE", 2e-2)
    monkeypatch.setattr("n2n_cli.single_image.neighbor2neighbor.LAST_RATE", 2e-2)
    chosen, (picture, _) = model(channels), noisy_picture(own)
    adapter = adapter_of(chosen, picture)
    assert adapter.possible
    learned = adapter.learn(Effort(steps=80, every=20))
    assert learned.first == 0
    assert learned.best < -0.0005
    clean = np.broadcast_to(np.linspace(0.2, 0.8, 96, dtype=np.float32)[:, None], (1, channels, 96, 96))
    x = clean + np.random.default_rng(5).normal(0, 0.1, clean.shape).astype(np.float32)
    errors = [np.mean((m.predict(x) - clean) ** 2) for m in (adapter.model, chosen)]
    assert errors[0] < 0.85 * errors[1]
    assert all(not parameter.any() for parameter, _ in chosen.network.param())


def test_learning_rate_grows_to_its_last_value() -> None:
    adapter = adapter_of(model(), noisy_picture()[0])
    rates = []
    for _ in range(3):
        adapter.step()
        rates.append(adapter.model.optimizer.lr)
    assert rates == pytest.approx([1e-5, 1.05e-5, 1.1025e-5])
    adapter.model.optimizer.steps = 1000
    adapter.step()
    assert adapter.model.optimizer.lr == 5e-4


def test_fit_with_higher_held_out_loss_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, (picture, _) = model(), noisy_picture()
    adapter = adapter_of(chosen, picture)
    weights = adapter.model.network.param()[0][0]

    def worse() -> None:
        weights[...] -= 0.1

    monkeypatch.setattr(adapter, "step", worse)
    learned = adapter.learn(Effort(steps=100, every=2, patience=2))
    assert (learned.steps, learned.best) == (4, 0)
    assert not weights.any()


def test_mask_leaves_out_held_out_targets() -> None:
    picture, _ = noisy_picture()
    adapter = adapter_of(model(), picture)
    share = 1 - np.mean([adapter.batch()[1][:, -1] for _ in range(20)])
    # Six of 25 blocks of 64 cells are held out, and a few cells more when a crop starts at an odd position.
    assert share == pytest.approx(6 * 64 / 48**2, rel=0.3)


def test_target_holds_difference_of_denoised_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, _ = noisy_picture()
    adapter = adapter_of(model(), picture)
    monkeypatch.setattr(adapter.model, "predict", lambda x: 3 * x)
    first, target = adapter.batch()
    np.testing.assert_allclose(target[:, 3:6], 3 * (first - target[:, :3]), atol=1e-6)
    assert np.abs(target[:, 3:6]).max() > 0.1


def half_black(channels: int = 3) -> tuple[Picture, Array]:
    """A picture with a dark upper half, whose noise is clipped; and the clean one, (1, C, H, W)."""
    clean = np.full((96, 96, channels), 0.5, np.float32)
    clean[:47] = np.linspace(0, 0.08, 96)[:, None]
    noise = np.random.default_rng(1).normal(0, 0.08, clean.shape).astype(np.float32)
    return Picture(np.clip(clean + noise, 0, 1)), np.moveaxis(clean, -1, 0)[None]


def test_target_of_clipped_areas_is_the_output_of_the_first_model(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, denoised = half_black()
    before = model()
    monkeypatch.setattr("n2n_cli.single_image.clipping.Clipping.is_kept", lambda *_: False)
    adapter = adapter_of(before, picture)
    monkeypatch.setattr(adapter.model, "predict", lambda x: denoised)
    monkeypatch.setattr(adapter.crops, "draw", lambda *_: [(0, 0, 0)])
    monkeypatch.setattr(before, "predict", lambda x: x - 7)
    first, target = adapter.batch()
    np.testing.assert_array_equal(target[:, :3, :24], first[:, :, :24] - 7)  # cell row 23 is half dark
    np.testing.assert_array_equal(target[:, 3:6, :24], 0)
    assert np.abs(target[:, :3, 24:] - 0.5).max() < 0.5


@pytest.mark.parametrize(("own", "channels"), [(3, 3), (3, 1), (1, 3)])
def test_held_out_pixels_of_clipped_areas_are_silent(own: int, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n2n_cli.single_image.clipping.Clipping.is_kept", lambda *_: False)
    picture, _ = half_black(own)
    looked_at = adapter_of(model(channels), picture)._risk._windows
    held, silent = (np.array([each[k] for each in looked_at]) for k in (1, 2))
    assert not (held & silent).any()
    assert held[:, 47:].any()
    assert silent[:, :47].any()
    assert silent[:, 47:].mean() < 0.01 * silent[:, :47].mean()
    assert silent[:, :47].mean() < 0.5  # one block in four is held out
    assert held[:, :47].mean() < 0.2 * held[:, 47:].mean()


def test_model_that_keeps_clipped_noise_learns_from_clipped_areas(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, _ = half_black()
    chosen = model()
    adapter = adapter_of(chosen, picture)
    assert adapter.crops.clipping.found
    assert not any(each.silent.any() for each in adapter._risk._windows)
    monkeypatch.setattr(chosen, "predict", lambda x: x - 7)
    assert adapter.batch()[1].min() > -1


def test_weights_depend_on_seed_and_not_on_threads() -> None:
    picture, _ = noisy_picture()
    weights = []
    for seed, threads in ((1, 1), (1, 2), (2, 1)):
        chosen = model()
        chosen.executor.threads = threads
        adapter = Adapter(chosen, [picture], rng=np.random.default_rng(seed))
        for _ in range(3):
            adapter.step()
        weights.append(adapter.model.network.state_dict()["0.0.weight"])
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any()


@pytest.mark.parametrize("side", [1, 30])
def test_picture_without_held_out_blocks_is_too_small(side: int) -> None:
    assert not adapter_of(model(), noisy_picture(side=side)[0]).possible


def test_loss_agrees_with_pytorch(torch: Any, rng: np.random.Generator) -> None:
    guess, target = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 7, 4, 5))
    target[:, -1] = 1
    criterion = NeighborLoss(2)
    f, g2, exact = (torch.tensor(part) for part in (guess, target[:, :3], target[:, 3:6]))
    f.requires_grad_()
    wanted = torch.mean((f - g2) ** 2) + 2 * torch.mean((f - g2 - exact) ** 2)
    wanted.backward()
    assert criterion(guess, target) == pytest.approx(wanted.item())
    np.testing.assert_allclose(criterion.backward(), f.grad.numpy(), atol=1e-12)
