"""Points of a sweep: configurations, names and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from n2n_cli.errors import ConfigError, UsageError
from n2n_cli.sweeps.grid import MOST_POINTS, points_of
from tests.trainings import small_config

CONFIG = small_config(Path("photos"))


def test_each_value_is_a_point_that_changes_only_its_key() -> None:
    points = points_of(CONFIG, [("train.lr", [1e-5, 0.25, 1])])
    assert [point.config.train.lr for point in points] == [1e-5, 0.25, 1]
    assert [point.config.override("train.lr", 0.5, "") for point in points] == [CONFIG] * 3
    assert [point.values for point in points] == [{"train.lr": 1e-5}, {"train.lr": 0.25}, {"train.lr": 1.0}]
    assert [point.name for point in points] == ["train.lr=1e-05", "train.lr=0.25", "train.lr=1"]
    assert [point.folder for point in points] == [point.name for point in points]


def test_two_keys_give_all_combinations() -> None:
    points = points_of(CONFIG, [("train.lr", [0.5, 2]), ("data.noise", ["gaussian:25", "pixelate:2"])])
    assert [(point.config.train.lr, point.config.data.noise) for point in points] == [
        (0.5, "gaussian:25"),
        (0.5, "pixelate:2"),
        (2, "gaussian:25"),
        (2, "pixelate:2"),
    ]
    assert points[1].name == "train.lr=0.5 data.noise=pixelate:2"
    assert points[1].folder == "train.lr=0.5,data.noise=pixelate-2"


@pytest.mark.parametrize(
    ("key", "values", "read"),
    [
        ("train.optimizer", ["SGD", "Adam"], ["SGD", "Adam"]),
        ("data.redraw", [True, False], [True, False]),
        ("schedule.name", ["constant", "cosine"], ["constant", "cosine"]),
    ],
)
def test_any_key_can_be_varied(key: str, values: list[Any], read: list[Any]) -> None:
    section, _, name = key.partition(".")
    points = points_of(CONFIG, [(key, values)])
    assert [point.config.tables()[section][name] for point in points] == read
    assert [point.values[key] for point in points] == read


def test_long_and_odd_values_have_different_folder_names() -> None:
    sources = ["/a/b", "/a-b", "x" * 100, "x" * 101, "../..", "ö"]
    folders = [point.folder for point in points_of(CONFIG, [("data.source", sources)])]
    assert len({*folders}) == len(sources)
    assert not any("/" in folder for folder in folders)
    assert max(map(len, folders)) < 100
    assert folders[5] == "data.source=ö"


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ([("train.lr", [0.001, 1e-3])], "`train.lr=0.001` occurs twice among the values"),
        ([("train.lr", [1, 1.0])], "`train.lr=1` occurs twice among the values"),
        ([("train.lr", [1]), ("train.lr", [2])], "a sweep is over one key or two different ones, not over train.lr, "),
        ([("train.lr", [1]), ("train.seed", [2]), ("data.size", [8])], "a sweep is over one key or two different"),
        ([], "a sweep is over one key or two different ones, not over none"),
        ([("train.seed", [*range(101)]), ("data.pairs", [*range(1, 101)])], f"at most {MOST_POINTS:,} trainings"),
    ],
)
def test_invalid_grids_are_refused(grid: list[tuple[str, list[Any]]], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        points_of(CONFIG, grid)
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.lrr", 1, "`--param train.lrr --values`: unknown key `train.lrr`"),
        ("train.lr", 0, "`--param train.lr --values`: `train.lr` is 0, it must be a number above 0"),
        ("train.momentum", "x", '`--param train.momentum --values`: `train.momentum` is "x", it must be'),
        ("data.size", 9, "`data.size` is 9, this network needs a multiple of 2"),
    ],
)
def test_invalid_value_is_refused_before_any_training(key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        points_of(CONFIG, [(key, [value])])
    assert message in caught.value.message
