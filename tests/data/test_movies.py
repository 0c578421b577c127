"""Movies as training data: frames, blocks of time, pairs and corrections."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.config import DataConfig
from n2n_cli.data.movie_pairs import MoviePairs, matched, shifted
from n2n_cli.data.movies import movie_of, stacks_in_blocks
from n2n_cli.data.pairs import Dataset
from n2n_cli.data.sources import open_dataset
from n2n_cli.errors import DataError, UsageError
from n2n_cli.images import Picture, write_picture
from n2n_cli.nn.functional import Array
from tests.movies import counted, still, write_movie
from tests.shots import scene


def opened(source: Path, channels: int = 1, **extra: Any) -> Dataset:
    values: dict[str, Any] = {"size": 16, "pairs": 24, "validation_pairs": 6, "kind": "movie"} | extra
    return open_dataset(replace(DataConfig(source=str(source)), **values), channels, seed=0)


def notes_of(dataset: Dataset) -> str:
    return " | ".join(dataset.notes)


def numbered(count: int) -> Array:
    """Frames of a constant value: 100 plus the frame number."""
    return np.full((count, 16, 16), 100, np.uint16) + np.arange(count, dtype=np.uint16)[:, None, None]


# Blocks of time


@pytest.mark.parametrize(("frames", "gap"), [(1, 1), (1, 3), (3, 1), (5, 2)])
@pytest.mark.parametrize("length", [60, 400])
def test_training_and_validation_frames_are_disjoint(frames: int, gap: int, length: int) -> None:
    train, held_out, count = stacks_in_blocks([length], frames, gap, "x")
    sides = []
    for stacks in (train, held_out):
        assert len(stacks)
        seen = set()
        for pair in range(len(stacks)):
            _, inputs, targets = stacks.numbers(pair)
            assert not set(inputs) & set(targets)
            assert {abs(a - b) for a, b in zip(inputs, targets, strict=True)} <= set(range(1, gap + 1))
            assert min(inputs + targets) >= 0
            assert max(inputs + targets) < length
            seen |= {*inputs, *targets}
        sides.append(seen)
    assert not sides[0] & sides[1]
    assert len(sides[1]) <= count <= length / 4


def test_pairs_have_both_orders() -> None:
    train, _, _ = stacks_in_blocks([20], 1, 1, "x")
    pairs = {(inputs[0], targets[0]) for _, inputs, targets in map(train.numbers, range(len(train)))}
    assert pairs == {(b, a) for a, b in pairs}
    assert (0, 1) in pairs


def test_short_movie_is_refused() -> None:
    with pytest.raises(DataError, match=r"`x` is too short: 11 frames in time; .* need 6 each"):
        stacks_in_blocks([11], 3, 1, "x")


# Sequences of frames


def test_channels_and_depths_are_separate_sequences(tmp_path: Path) -> None:
    description = "ImageJ=1.53\nimages=24\nchannels=2\nslices=3\nframes=4\nhyperstack=true\n"
    path = write_movie(tmp_path / "x.tif", numbered(24), description)
    movie, _ = movie_of(str(path))
    assert movie.lengths == (4,) * 6
    with movie.opened() as lines:
        assert [int(lines[1].page(t).pixels[0, 0, 0]) - 100 for t in range(4)] == [1, 7, 13, 19]
    assert movie_of(str(path), "TYX")[0].lengths == (24,)


def test_folder_of_numbered_frames_is_read_in_natural_order(tmp_path: Path) -> None:
    for i, frame in enumerate(numbered(12)):
        write_picture(tmp_path / f"f{i}.tif", Picture(frame[..., None]))
    movie, _ = movie_of(str(tmp_path))
    assert movie.lengths == (12,)
    with movie.opened() as lines:
        assert int(lines[0].page(10).pixels[0, 0, 0]) == 110


def test_each_file_is_a_sequence(tmp_path: Path) -> None:
    for name, count in (("a", 5), ("b", 7)):
        write_movie(tmp_path / f"{name}.tif", numbered(count))
    assert movie_of(str(tmp_path))[0].lengths == (5, 7)


def test_stack_without_time_is_refused(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "z.tif", numbered(6), "ImageJ=1.53\nimages=6\nslices=6\n")
    with pytest.raises(DataError, match="no frames in time"):
        movie_of(str(path))
    with pytest.raises(DataError, match="there is no movie"):
        movie_of(str(tmp_path / "no.tif"))
    with pytest.raises(UsageError, match="does not fit"):
        movie_of(str(path), "T4YX")


# Pairs


def test_pairs_are_adjacent_frames_with_one_transform(tmp_path: Path) -> None:
    clean = still(24)
    data = opened(write_movie(tmp_path / "m.tif", counted(clean)))
    assert data.values is not None
    assert data.values.kind == "linear"
    noisy, target = data.train.batch(range(24))
    assert noisy.shape == target.shape == (24, 1, 16, 16)
    noise = np.nanstd(noisy - target) * (data.values.high - data.values.low)
    assert noise == pytest.approx(np.sqrt(2 * (clean.mean() + 4)), rel=0.2)
    assert "0.0% of the pixels moved" in notes_of(data)
    assert "brightness changes by +0.0%" in notes_of(data)


def test_frames_of_a_stack_are_channels(tmp_path: Path) -> None:
    frames = counted(still(40))
    data = opened(write_movie(tmp_path / "m.tif", frames), channels=3, frames=3, values="display")
    noisy, target = data.train.batch(range(4))
    seen = np.rint(np.concatenate([noisy, target], axis=1) * 65535)  # (N, 6, H, W)
    windows = np.lib.stride_tricks.sliding_window_view(frames, (16, 16), axis=(1, 2))
    number = [[np.argwhere((windows == channel).all(axis=(3, 4)))[0] for channel in pair] for pair in seen]
    times = np.array(number)[..., 0]
    assert (np.diff(times[:, :3], axis=1) == 2).all()
    offsets = times[:, 3:] - times[:, :3]
    assert (np.abs(offsets) == 1).all()
    assert (offsets == offsets[:, :1]).all()
    assert (np.diff(np.array(number)[..., 1:], axis=1) == 0).all()  # at the same place


def test_pair_depends_only_on_its_number_and_epoch(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "m.tif", counted(still(24)))
    pairs = [opened(path, redraw=True, recrop=True, augment=True).train for _ in range(2)]
    later = pairs[0].batch([3, 7], 1)
    np.testing.assert_array_equal(pairs[1].batch([7], 1)[0], later[0][1:])
    np.testing.assert_array_equal(pairs[0].batch([7], 0)[1], pairs[1].batch([7], 0)[1])
    assert (pairs[0].batch([3], 0)[0] != later[0][:1]).any()


def test_windows_read_are_limited_by_memory(tmp_path: Path) -> None:
    data = opened(write_movie(tmp_path / "m.tif", counted(still(48))))
    assert isinstance(data.train, MoviePairs)
    movie, stacks, noise = data.train.movie, data.train.stacks, data.train.noise
    few = MoviePairs(movie, stacks, 200, 40, noise, seed=0, redraw=True, max_bytes=6 * 2 * 40 * 48 * 4)
    shown = {crop.tobytes() for epoch in range(3) for crop in few.batch(range(12), epoch)[0][:, 0, :, 4:36]}
    assert 12 < len(shown) <= 18 * 9


# Corrections


def test_moved_pixels_are_not_targets(tmp_path: Path) -> None:
    clean = still(24, peak=60)
    for t in range(24):
        clean[t, 4 * (t % 8) : 4 * (t % 8) + 5, 10:18] = 400
    data = opened(write_movie(tmp_path / "m.tif", counted(clean)), size=40)
    noisy, target = data.train.batch(range(8))
    unknown = np.isnan(target[:, 0])
    assert not np.isnan(noisy).any()
    assert 0.02 < unknown.mean() < 0.2
    assert unknown[:, :, 22:].mean() < 0.01
    error = np.nan_to_num(noisy - target)[:, 0]
    assert np.abs(error).max() < 0.5  # the moving block is much brighter
    assert "of the pixels moved" in notes_of(data)


def test_moving_parts_have_targets_in_crops_of_half_the_size(tmp_path: Path) -> None:
    clean = still(40, peak=60)
    for t in range(40):
        clean[t, 4 * (t % 8) : 4 * (t % 8) + 5, 10:18] = 400
    path = write_movie(tmp_path / "m.tif", counted(clean))
    shares = []
    for augment in (False, True):
        noisy, target = opened(path, channels=3, frames=3, augment=augment, pairs=64).train.batch(range(64))
        bright = noisy > noisy.max() / 2
        assert bright.mean() > 0.01
        shares.append(np.isfinite(target[bright]).mean())
    assert shares[1] > shares[0] + 0.1


def test_flicker_and_drift_are_corrected(tmp_path: Path) -> None:
    wide = 600 * scene(96, 96, seed=3).mean(axis=2)
    # The brightness also flickers.
    clean = np.stack([wide[t : 64 + t, 10:74] * (1 - 0.2 * (t % 2)) for t in range(24)])
    data = opened(write_movie(tmp_path / "m.tif", counted(clean)), size=32)
    assert data.values is not None
    noisy, target = data.train.batch(range(16))
    error = (noisy - target) * (data.values.high - data.values.low)
    assert np.isnan(error).mean() < 0.2
    assert np.nanstd(error) < 1.35 * np.sqrt(2 * clean.mean() + 8)
    assert re.search(
        r"the scene shifts by -\d+ down and 0 right pixels .*, by up to -?1 down and 0 right", notes_of(data)
    )
    assert "between two frames: matched" in notes_of(data)


def test_shift_of_an_object_is_not_drift(rng: np.random.Generator) -> None:
    """An object that moves in front of a noisy background is not drift."""
    one, other = (
        np.full((64, 64, 1), 0.2, np.float32) + rng.normal(0, 0.02, (64, 64, 1)).astype(np.float32) for _ in "ab"
    )
    for i in range(4, 64, 10):
        one[i, 4:60:9] += 0.3
        other[i, 4:60:9] += 0.3
    one[20:40, 20:40] += 1
    other[20:40, 23:43] += 1
    assert matched(one, other).shift == (0, 0)


def test_shifted_frames_are_nan_outside() -> None:
    frame = np.arange(20, dtype=np.float32).reshape(4, 5, 1)
    moved = shifted(frame, (1, -2))
    assert moved[0, 2, 0] == frame[1, 0, 0]
    assert np.isnan(moved[3]).all()
    assert np.isnan(moved[:, :2]).all()


def test_missing_values_are_not_targets(tmp_path: Path) -> None:
    frames = still(16).astype(np.float32) + np.random.default_rng(0).normal(0, 3, (16, 40, 48)).astype(np.float32)
    frames[:, 5:9, 7:12] = np.nan
    data = opened(write_movie(tmp_path / "m.tif", frames), size=40)
    noisy, target = data.train.batch(range(4))
    assert np.isfinite(noisy).all()
    assert np.isnan(target).sum(axis=(1, 2, 3)).min() >= 15


# Unsuitable movies


def test_copies_are_refused(tmp_path: Path) -> None:
    frame = counted(still(1))
    with pytest.raises(DataError, match="copies of each other"):
        opened(write_movie(tmp_path / "m.tif", np.repeat(frame, 12, axis=0)))


def test_unrelated_frames_are_refused(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).uniform(100, 40_000, (16, 10, 12))
    frames = counted(levels.repeat(4, axis=1).repeat(4, axis=2))
    with pytest.raises(DataError, match="do not show one scene"):
        opened(write_movie(tmp_path / "m.tif", frames))


def test_network_of_several_frames_needs_a_movie(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", Picture(np.zeros((16, 16, 1), np.uint8)))
    with pytest.raises(DataError, match=r"takes 3 frames of a movie, but .* is not a movie"):
        opened(tmp_path, channels=3, frames=3, kind="pictures")


def test_frames_smaller_than_a_crop_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="smaller than 64x64"):
        opened(write_movie(tmp_path / "m.tif", counted(still(12))), size=64)
