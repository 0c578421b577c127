"""Folders of real noisy images as training data, with held-out scenes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n2n_cli.config import DataConfig
from n2n_cli.data.pairs import Dataset
from n2n_cli.data.shot_pairs import ShotPairs
from n2n_cli.data.single_pairs import SinglePairs
from n2n_cli.data.sources import open_dataset
from n2n_cli.errors import DataError
from tests.pictures import colour, error_of, numbered, save
from tests.shots import noisy, scene, write_burst, write_bursts


def opened(source: Path, kind: str, channels: int = 3, **extra: Any) -> Dataset:
    values: dict[str, Any] = {"size": 8, "pairs": 30, "validation_pairs": 6, "kind": kind} | extra
    return open_dataset(replace(DataConfig(source=str(source)), **values), channels, seed=0)


def words(dataset: Dataset) -> str:
    return " | ".join(dataset.notes)


def values(dataset: Dataset) -> list[set[int]]:
    """Pixel values of the training pairs and of the validation pairs."""
    parts = (dataset.train, dataset.validation)
    return [{int(v) for view in part.batch(range(len(part))) for v in np.rint(view * 255).ravel()} for part in parts]


def flat_bursts(folder: Path, scenes: int) -> Path:
    """Write scenes of two constant shots; scene i has the values 2 i and 2 i + 1."""
    for i in range(scenes):
        write_burst(folder / f"{i:02}", [np.full((8, 8, 1), 2 * i + j, np.uint8) for j in (0, 1)])
    return folder


def test_scenes_are_held_out_whole(tmp_path: Path) -> None:
    dataset = opened(flat_bursts(tmp_path, 41), "bursts", 1, pairs=200, validation_pairs=30)
    held_out = {0, 1, 40, 41, 80, 81}
    assert values(dataset) == [set(range(82)) - held_out, held_out]
    note = "38 scenes for training, with 76 shots and 76 pairs of shots; 3 scenes held out whole for validation"
    assert note in dataset.notes


@pytest.mark.parametrize(("shape", "what", "part"), [((50, 40), "rows", 10), ((20, 90), "columns", 18)])
def test_region_of_a_single_scene_is_held_out(shape: tuple[int, int], what: str, part: int, tmp_path: Path) -> None:
    first = numbered(*shape)
    for name in "ab":
        (tmp_path / name).mkdir()
        save(tmp_path / name / "1.png", first + np.uint16(name == "b"))
    dataset = opened(
        tmp_path / "a", "pairs", 1, second=str(tmp_path / "b"), pairs=300, validation_pairs=300, values="display"
    )
    assert f"the last {part} {what} of this only scene are held out" in words(dataset)
    learned, measured = (np.rint(pairs.batch(range(300))[0] * 65535) for pairs in (dataset.train, dataset.validation))
    assert not set(learned.ravel()) & set(measured.ravel())
    border = first[-part, 0, 0] if what == "rows" else first[0, -part, 0]
    inside = measured >= border if what == "rows" else measured % shape[1] >= border
    assert inside.all()


def test_small_single_scene_is_refused(tmp_path: Path) -> None:
    write_burst(tmp_path / "a", [colour(15, 15, 0), colour(15, 15, 1)])
    error = error_of(DataError, lambda: opened(tmp_path, "bursts"))
    assert (
        "is the only scene, and too small for a training part and a validation part of 8 pixels each" in error.message
    )
    write_burst(tmp_path / "a", [colour(16, 15, 0), colour(16, 15, 1)])
    assert len(opened(tmp_path, "bursts").train) == 30


def test_bursts_are_validated_against_the_mean_of_the_other_shots(tmp_path: Path) -> None:
    dataset = opened(write_bursts(tmp_path, shots=4), "bursts")
    assert "validation PSNR is against the mean of the scene's other shots, whose noise keeps it low" in words(dataset)
    shot, mean = dataset.validation.batch(range(6))
    assert (shot - mean).std() * 255 == pytest.approx(10 * (1 + 1 / 3) ** 0.5, rel=0.1)
    assert isinstance(dataset.train, ShotPairs)
    shot, other = dataset.train.batch(range(30))
    assert (shot - other).std() * 255 == pytest.approx(10 * 2**0.5, rel=0.1)


def test_pairs_go_from_the_first_folder_to_the_second(tmp_path: Path) -> None:
    for i in range(3):
        clean = scene(24, 24, seed=i)
        for name, sigma in (("a", 20), ("b", 2)):
            (tmp_path / name).mkdir(exist_ok=True)
            save(tmp_path / name / f"{i}.png", noisy(clean, sigma, seed=i))
    dataset = opened(tmp_path / "a", "pairs", second=str(tmp_path / "b"))
    table = tmp_path / "pairs.csv"
    table.write_text("".join(f"a/{i}.png,b/{i}.png\n" for i in range(3)))
    for got in (dataset, opened(table, "pairs")):
        assert "2 scenes for training, with 4 shots and 2 pairs of shots; 1 scene held out" in words(got)
        assert "validation PSNR is against the other shot, whose noise keeps it low" in words(got)
        assert "the shots have their own noise: `data.noise` is not used" in words(got)
        noise = [np.diff(view, axis=3).std() for view in got.train.batch(range(30))]
        assert noise[0] > 1.5 * noise[1]
        np.testing.assert_array_equal(got.train.batch([4])[0], dataset.train.batch([4])[0])


def test_corrections_reach_the_pairs(tmp_path: Path) -> None:
    clean = scene(90, 90)
    views = [clean[5:85, 5:85], (clean[2:82, 9:89] + 0.05) / 1.2]
    write_burst(tmp_path / "a", [noisy(view, 2, seed=i) for i, view in enumerate(views)])
    plain = opened(tmp_path, "bursts")
    better = opened(tmp_path, "bursts", match_exposure=True, align=True)
    for dataset, sign in ((plain, "corrects it"), (better, "all are made as bright")):
        assert sign in words(dataset)
    differences = [np.subtract(*dataset.train.batch(range(30))).std() * 255 for dataset in (plain, better)]
    assert differences[0] > 10
    assert differences[1] == pytest.approx(2 * 2**0.5, rel=0.25)


def test_single_pictures_are_split_and_small_ones_left_out(tmp_path: Path) -> None:
    for i in range(21):
        save(tmp_path / f"{i:02}.png", np.full((16, 16, 1), i, np.uint8))
    save(tmp_path / "small.png", np.full((15, 40, 1), 99, np.uint8))
    dataset = opened(tmp_path, "single", 1, pairs=60)
    assert isinstance(dataset.train, SinglePairs)
    x, _ = dataset.train.batch(range(60))
    assert {int(v) for v in np.rint(x * 255).ravel()} == set(range(1, 20))
    assert values(dataset)[1] == {0, 20}
    assert "19 pictures for training; 2 pictures held out whole for validation" in words(dataset)
    assert "1 of 22 scenes are smaller than 16 pixels: left out" in words(dataset)
    assert "validation PSNR is of one neighbour against the other" in words(dataset)


def test_region_of_one_single_picture_is_held_out(tmp_path: Path) -> None:
    save(tmp_path / "a.png", numbered(16, 40))
    dataset = opened(tmp_path, "single", 1)
    assert "1 picture for training; the last 16 columns of this only picture are held out" in words(dataset)
    save(tmp_path / "a.png", numbered(16, 31))
    assert "too small" in error_of(DataError, lambda: opened(tmp_path, "single", 1)).message


@pytest.mark.parametrize("kind", ["bursts", "single"])
def test_networks_of_other_channels_are_refused(kind: str, tmp_path: Path) -> None:
    assert "takes 2 channels" in error_of(DataError, lambda: opened(tmp_path, kind, 2)).message
