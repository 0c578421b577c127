from __future__ import annotations

import numpy as np
import pytest

from n2n_cli.data.leaves import drop_leaves, topmost_leaves


def test_each_sample_shows_the_topmost_leaf() -> None:
    size = 11
    for seed in range(5):
        leaves = drop_leaves(size, rng=np.random.default_rng(seed))
        middle = (np.arange(3 * size) + 0.5) / 3
        dx, dy = middle - leaves.x[:, None, None], middle[:, None] - leaves.y[:, None, None]  # (N, 1, S), (N, S, 1)
        cos, sin = leaves.cos[:, None, None], leaves.sin[:, None, None]
        along, across = (cos * dx + sin * dy) / leaves.a[:, None, None], (cos * dy - sin * dx) / leaves.b[:, None, None]
        box = np.maximum(abs(along), abs(across)) <= 1
        over = np.where(leaves.box[:, None, None], box, np.hypot(along, across) <= 1)  # (N, S, S)
        assert over[0].all()
        top = np.where(over, np.arange(len(over))[:, None, None], 0).max(axis=0)
        wanted = top.reshape(size, 3, size, 3).transpose(1, 3, 0, 2).reshape(9, size * size)
        assert np.array_equal(topmost_leaves(leaves, size), wanted)


def test_leaves_are_boxes_and_ellipses_of_any_place_and_direction() -> None:
    leaves = [drop_leaves(64, rng=np.random.default_rng(seed)) for seed in range(40)]
    assert 0.2 < np.mean([some.box.mean() for some in leaves]) < 0.6
    for axis in ("x", "y"):
        places = np.concatenate([getattr(some, axis)[1:] for some in leaves])
        assert 0 <= places.min() < 1
        assert 63 < places.max() <= 64
    cos, sin = (np.concatenate([getattr(some, name) for some in leaves]) for name in ("cos", "sin"))
    assert np.hypot(cos, sin) == pytest.approx(np.ones(len(cos)))
    assert abs(np.mean(cos**2 - sin**2)) < 0.05


def test_radii_follow_a_power_law() -> None:
    leaves = [drop_leaves(256, rng=np.random.default_rng(seed)) for seed in range(20)]
    radius = np.concatenate([np.sqrt(some.a * some.b)[1:] / np.sqrt(some.a * some.b)[1:].min() for some in leaves])
    # The number of leaves above radius r falls as r^-2: 1/4 are above twice the minimum.
    assert np.mean(radius > 2) == pytest.approx(1 / 4, abs=0.03)
    assert np.mean(radius > 4) == pytest.approx(1 / 16, abs=0.02)
