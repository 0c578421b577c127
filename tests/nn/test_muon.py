from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from n2n_cli.nn import AdamW, Muon
from n2n_cli.nn.muon import orthogonal

SHAPES = [(7, 3, 3, 3), (30, 4, 1, 2), (5, 11), (6, 6)]


@pytest.mark.parametrize(("rows", "columns"), [(5, 40), (40, 5), (12, 30), (1, 9)])
def test_orthogonalisation_keeps_singular_vectors_and_brings_values_near_1(
    rows: int, columns: int, rng: np.random.Generator
) -> None:
    matrix = rng.normal(size=(rows, columns))
    kept = matrix.copy()
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    among = left.T @ orthogonal(matrix) @ right.T
    values = np.diagonal(among)
    np.testing.assert_allclose(among, np.diag(values), atol=1e-9)
    assert 0.6 < values.min() <= values.max() < 1.3
    np.testing.assert_array_equal(matrix, kept)


def test_orthogonalised_zero_is_zero() -> None:
    assert not orthogonal(np.zeros((3, 4), np.float32)).any()


def test_muon_follows_its_formula(rng: np.random.Generator) -> None:
    weight, grad = rng.normal(size=(2, 4, 3, 5, 2))
    start, m = weight.copy(), 0.2 * grad
    optimizer = Muon([(weight, grad)], lr=0.1, betas=(0.8, 0.9), weight_decay=0.5)
    optimizer.step()
    step = orthogonal((0.2 * grad + 0.8 * m).reshape(4, 30)).reshape(weight.shape)
    np.testing.assert_allclose(weight, start * (1 - 0.1 * 0.5) - 0.1 * 0.2 * np.sqrt(30) * step, rtol=1e-12)
    second, m = weight.copy(), 0.8 * m + 0.2 * -grad
    grad *= -1
    optimizer.step()
    step = orthogonal((0.2 * grad + 0.8 * m).reshape(4, 30)).reshape(weight.shape)
    np.testing.assert_allclose(weight, second * (1 - 0.1 * 0.5) - 0.1 * 0.2 * np.sqrt(30) * step, rtol=1e-12)


def test_steps_have_the_size_of_adam_s_at_any_gradient_scale(rng: np.random.Generator) -> None:
    for shape in SHAPES:
        for scale in (1e-6, 1e6):
            weight = np.zeros(shape)
            Muon([(weight, scale * rng.normal(size=shape))], lr=0.01).step()
            assert 0.1 < np.sqrt(np.mean(weight**2)) / 0.01 < 0.25


def test_biases_follow_adamw() -> None:
    biases = []
    for kind in (Muon, AdamW):
        bias = np.array([1.0, -2, 3])
        optimizer = kind([(bias, np.array([3.0, 0, -1]))], betas=(0.7, 0.9), weight_decay=0.1)
        for _ in range(3):
            optimizer.step()
        biases.append(bias.tolist())
    assert biases[0] == biases[1]


def test_bias_lr_scales_the_steps_of_biases_alone() -> None:
    moved = []
    for bias_lr in (1, 0.1):
        weight, bias = np.zeros((2, 3)), np.zeros(2)
        Muon([(weight, np.eye(2, 3)), (bias, np.array([3.0, -1]))], lr=0.01, weight_decay=0, bias_lr=bias_lr).step()
        moved.append((weight, bias))
    np.testing.assert_array_equal(moved[1][0], moved[0][0])
    np.testing.assert_allclose(moved[1][1], 0.1 * moved[0][1], rtol=1e-12)


def test_entries_far_below_the_norm_count_as_zeros(rng: np.random.Generator) -> None:
    matrix = rng.normal(size=(6, 40)).astype(np.float32)
    dead = matrix.copy()
    dead[2], matrix[2] = 1e-20, 0
    np.testing.assert_array_equal(orthogonal(dead), orthogonal(matrix))


def test_matrices_keep_no_mean_square() -> None:
    optimizer = Muon([(np.zeros((2, 3)), np.ones((2, 3))), (np.zeros(2), np.ones(2))])
    optimizer.step()
    assert [array.size for array in optimizer.state_dict()["exp_avg_sq"]] == [0, 2]


@pytest.mark.parametrize("shape", SHAPES[2:])
def test_muon_matches_pytorch(torch: Any, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    weight = rng.normal(size=shape).astype(np.float32)
    twin = torch.nn.Parameter(torch.from_numpy(weight.copy()))
    grad = np.zeros_like(weight)
    ours = Muon([(weight, grad)], lr=0.02, weight_decay=0.3)
    theirs = torch.optim.Muon([twin], lr=0.02, weight_decay=0.3, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    start = weight.copy()
    for step in range(10):
        grad[...] = np.sin(3 * start + step)
        twin.grad = torch.from_numpy(grad.copy())
        ours.step()
        theirs.step()
    moved = np.abs(weight - start).max()
    # PyTorch orthogonalises in bfloat16, with 8 significant bits.
    np.testing.assert_allclose(weight, twin.detach().numpy(), atol=0.03 * moved)
