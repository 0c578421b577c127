"""Simulated movement in stacks of frames."""

from __future__ import annotations

import numpy as np

from n2n_cli.data.moving_patches import add_moving_patches


def test_input_and_target_move_together(rng: np.random.Generator) -> None:
    """Their difference remains noise, taken from other places; NaN moves along."""
    scene = rng.random((48, 56, 1), dtype=np.float32).repeat(3, axis=2)
    noise = rng.integers(1, 4, (48, 56, 3)).astype(np.float32)
    target = scene + noise
    target[5:9] = np.nan
    changed = []
    for seed in range(8):
        one, other = add_moving_patches(scene, target, 3, rng=np.random.default_rng(seed))
        assert one.shape == other.shape == scene.shape
        difference = other - one
        known = ~np.isnan(difference)
        assert known.mean() > 0.85
        np.testing.assert_allclose(difference[known], np.rint(difference[known]), atol=1e-5)
        assert set(np.rint(difference[known])) == {1, 2, 3}
        changed.append((one != scene).any(axis=(0, 1)))
        assert (one != scene).any(axis=2).mean() < 0.7
    assert np.all(changed, axis=1).sum() >= 4
    again = add_moving_patches(scene, target, 3, rng=np.random.default_rng(7))
    np.testing.assert_array_equal(again[0], one)


def test_frames_differ_where_something_moves(rng: np.random.Generator) -> None:
    scene = np.zeros((48, 56, 1), np.float32).repeat(3, axis=2)
    scene[::8] = 1
    moved = [add_moving_patches(scene, scene, 3, rng=np.random.default_rng(seed))[0] for seed in range(6)]
    assert sum((frame[..., 0] != frame[..., 2]).any() for frame in moved) >= 4
