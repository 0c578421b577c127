"""Built-in images and their cache."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.config import DataConfig
from n2n_cli.data import built_in, sources
from n2n_cli.data.built_in import built_in_pictures
from n2n_cli.data.dead_leaves import dead_leaves
from n2n_cli.data.pairs import Dataset
from n2n_cli.data.sources import open_dataset
from n2n_cli.errors import DataError
from n2n_cli.nn.functional import Array
from n2n_cli.system.cpu import available_cores
from tests.pictures import colour, error_of


def words(dataset: Dataset) -> str:
    return " | ".join(dataset.notes)


@pytest.fixture
def made() -> list[int]:
    """Numbers of built-in images generated, one entry per call."""
    return []


@pytest.fixture
def threads_used() -> list[int]:
    """Numbers of threads used to generate them."""
    return []


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: list[int], threads_used: list[int]) -> Path:
    """Path of the cache, with four quickly made images instead of dead leaves."""

    def make(count: int, side: int, *, seed: int, threads: int) -> Array:
        made.append(count)
        threads_used.append(threads)
        return colour(count * side, side, seed).reshape(count, side, side, 3)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(built_in, "PIXELS", 3 * 256**2)
    monkeypatch.setattr(built_in, "LEAST", 4)
    monkeypatch.setattr(sources, "HELD_OUT", 2)
    monkeypatch.setattr(built_in, "dead_leaves", make)
    return tmp_path / "cache" / "n2n" / f"dead-leaves-{built_in.VERSION}-4x256"


def test_built_in_pictures_are_made_once(cache: Path, made: list[int]) -> None:
    pictures, notes = built_in_pictures(8, 3)
    assert [picture.shape for picture in pictures] == [(256, 256, 3)] * 4
    assert {picture.dtype for picture in pictures} == {np.dtype(np.uint8)}
    assert notes == (f"made 4 dead-leaves pictures of 256x256 pixels, kept in `{cache}`",)
    again, notes = built_in_pictures(8, 3)
    assert (made, notes) == ([4], ())
    np.testing.assert_array_equal(again, pictures)
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


def test_number_of_threads_is_passed_on(cache: Path, threads_used: list[int]) -> None:
    built_in_pictures(8, 3)
    open_dataset(DataConfig(size=300), 3, seed=0, threads=3)
    assert threads_used == [available_cores(), 3]


def test_larger_crops_need_larger_pictures(cache: Path) -> None:
    pictures, _ = built_in_pictures(300, 3)
    assert [picture.shape for picture in pictures] == [(300, 300, 3)] * 4
    assert [path.name for path in cache.parent.iterdir()] == [f"dead-leaves-{built_in.VERSION}-4x300"]


def test_pictures_beyond_the_memory_limit_are_refused() -> None:
    error = error_of(DataError, lambda: built_in_pictures(5774, 3))  # 40 images, 3 bytes per pixel
    assert error.message == "built-in pictures of 5774x5774 pixels need more than 4 GB"


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no array"),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"),
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: path.write_bytes(pickle.dumps([1, 2, 3])),
        lambda path: path.chmod(0o666),
    ],
    ids=["empty", "text", "cut off", "poisoned", "longer", "pickle", "others may write it"],
)
def test_damaged_cache_is_replaced(damage: Callable[[Path], Any], cache: Path, made: list[int]) -> None:
    pictures, _ = built_in_pictures(8, 3)
    whole = cache.read_bytes()
    damage(cache)
    again, _ = built_in_pictures(8, 3)
    np.testing.assert_array_equal(again, pictures)
    assert made == [4, 4]
    assert cache.read_bytes() == whole


def test_unwritable_cache_is_reported(cache: Path) -> None:
    cache.parent.parent.write_text("a file where the folder should be")
    pictures, notes = built_in_pictures(8, 3)
    assert len(pictures) == 4
    assert notes == (f"made 4 dead-leaves pictures; they could not be kept in `{cache}`: Not a directory",)


def test_folder_in_place_of_the_cache_is_kept(cache: Path) -> None:
    cache.mkdir(parents=True)
    pictures, notes = built_in_pictures(8, 3)
    assert len(pictures) == 4
    assert "could not be kept" in notes[0]
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


def test_gray_pictures_are_the_mean_of_the_colours(cache: Path) -> None:
    colours, _ = built_in_pictures(8, 3)
    grays, _ = built_in_pictures(8, 1)
    assert [gray.shape for gray in grays] == [(256, 256, 1)] * 4
    np.testing.assert_array_equal(grays[1][..., 0], colours[1].astype(int).sum(axis=2) // 3)


def test_built_in_data_set_is_generated_and_split(cache: Path) -> None:
    dataset = open_dataset(DataConfig(pairs=9, validation_pairs=4), 3, seed=0)
    assert (len(dataset.train), len(dataset.validation)) == (9, 4)
    assert dataset.train.batch([0])[0].shape == (1, 3, 32, 32)
    assert "2 pictures for training, 2 held out for validation" in words(dataset)
    assert "made 4 dead-leaves pictures" in words(dataset)


def test_built_in_pictures_are_dead_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(built_in, "PIXELS", 256**2)
    monkeypatch.setattr(built_in, "LEAST", 0)
    pictures, _ = built_in_pictures(8, 3)
    np.testing.assert_array_equal(pictures, dead_leaves(1, 256, seed=0))


def test_user_without_a_home_has_no_cache(
    cache: Path, made: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(built_in, "cache_folder", lambda: None)
    for _ in range(2):
        pictures, notes = built_in_pictures(8, 3)
        assert len(pictures) == 4
        assert notes[0].startswith("made 4 dead-leaves pictures; they are not kept: this user has no home folder")
    assert made == [4, 4]
    assert list(tmp_path.iterdir()) == []
