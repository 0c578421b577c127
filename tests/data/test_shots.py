"""Grouping of files into scenes: folders, tables, bursts and stacks."""

from __future__ import annotations

import itertools
import os
import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from n2n_cli.data.shots import Scene, bursts, listed_pairs, paired_folders, single_pictures
from n2n_cli.data.stack_shots import StackPage, shot_file
from n2n_cli.errors import DataError
from tests.nn.cases import some_examples
from tests.pictures import error_of


def pictures(folder: Path, *names: str) -> Path:
    """Create empty files with names of images; the tests open none of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def table(folder: Path, text: str | bytes) -> Path:
    path = folder / "pairs.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# Two folders


def test_two_folders_pair_pictures_of_the_same_name(tmp_path: Path) -> None:
    a, b = (pictures(tmp_path / name, "2.png", "1.tif", "._1.tif", "notes.txt") for name in "ab")
    assert paired_folders(a, b) == [
        Scene("1.tif", (a / "1.tif", b / "1.tif"), ((0, 1),)),
        Scene("2.png", (a / "2.png", b / "2.png"), ((0, 1),)),
    ]


def test_pictures_without_a_partner_are_named(tmp_path: Path) -> None:
    a, b = pictures(tmp_path / "a", "1.png", "2.png", "3.png"), pictures(tmp_path / "b", "2.png", "4.png")
    error = error_of(DataError, lambda: paired_folders(a, b))
    assert error.message == (
        f"`{a}` and `{b}` do not hold the same pictures: `{b}/1.png` is missing; `{b}/3.png` is missing; "
        f"`{a}/4.png` is missing"
    )


@pytest.mark.parametrize("other", ["a", "./a/", "link"])
def test_same_folder_twice_is_refused(other: str, tmp_path: Path) -> None:
    a = pictures(tmp_path / "a", "1.png")
    (tmp_path / "link").symlink_to("a")
    assert "are the same folder" in error_of(DataError, lambda: paired_folders(a, tmp_path / other)).message


def test_missing_and_empty_folders_are_refused(tmp_path: Path) -> None:
    a = pictures(tmp_path / "a", "1.png")
    assert (
        error_of(DataError, lambda: paired_folders(a, tmp_path / "b")).message == f"there is no folder `{tmp_path}/b`"
    )
    empty = pictures(tmp_path / "empty")
    assert error_of(DataError, lambda: paired_folders(a, empty)).message == f"the folder `{empty}` holds no pictures"


# Tables


@pytest.mark.parametrize(
    "text",
    [
        "1.png,sub/2.png\n3.png,4.png\n",
        "first,second\n1.png,sub/2.png\n3.png,4.png",
        "\ufeff1.png,sub/2.png\n3.png,4.png",
        "\ufeffshot a,shot b\r\n1.png,sub/2.png\r\n\r\n3.png,4.png\r\n",
        '"1.png", "sub/2.png"\n 3.png , 4.png \n,\n'.replace(', "', ',"'),
    ],
)
def test_table_is_relative_to_its_folder(text: str, tmp_path: Path) -> None:
    assert listed_pairs(table(tmp_path, text)) == [
        Scene("1.png", (tmp_path / "1.png", tmp_path / "sub/2.png"), ((0, 1),)),
        Scene("3.png", (tmp_path / "3.png", tmp_path / "4.png"), ((0, 1),)),
    ]


def test_paths_may_be_absolute_and_hold_commas(tmp_path: Path) -> None:
    (scene,) = listed_pairs(table(tmp_path, '/data/x.png,"y, z.png"\n'))
    assert scene.shots == (Path("/data/x.png"), tmp_path / "y, z.png")


def test_rows_with_a_common_picture_are_one_scene(tmp_path: Path) -> None:
    scenes = listed_pairs(table(tmp_path, "a.png,b.png\nx.png,y.png\nc.png,d.png\n./b.png,c.png\na.png,b.png\n"))
    assert [scene.name for scene in scenes] == ["a.png", "x.png"]
    assert [shot_file(shot).name for shot in scenes[0].shots] == ["a.png", "b.png", "c.png", "d.png"]
    assert scenes[0].pairs == ((0, 1), (2, 3), (1, 2))
    assert scenes[0].targets(1) == (2,)
    assert scenes[0].targets(3) == ()


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda pair: pair[0] != pair[1]), min_size=1))
@some_examples
def test_scenes_are_disjoint_and_keep_all_pairs(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int]]
) -> None:
    text = "".join(f"{a}.png,{b}.png\n" for a, b in rows)
    scenes = listed_pairs(table(tmp_path_factory.mktemp("rows"), text))
    members = [set(scene.shots) for scene in scenes]
    assert all(not one & other for one, other in itertools.combinations(members, 2))
    found = {tuple(int(shot_file(scene.shots[i]).stem) for i in pair) for scene in scenes for pair in scene.pairs}
    assert found == set(rows)


TABLES = {
    "semicolons": "ä 1.png;ü, 2.png\r\n3.png;4.png\r\n".encode(),
    "a line of Excel": "sep=;\r\nä 1.png;ü, 2.png\r\n3.png;4.png\r\n".encode(),
    "tabs": "ä 1.png\tü, 2.png\n3.png\t4.png\n".encode(),
    "Windows-1252": "first;second\r\nä 1.png;ü, 2.png\r\n3.png;4.png\r\n".encode("cp1252"),
    "UTF-16 and tabs": "first\tsecond\r\nä 1.png\tü, 2.png\r\n3.png\t4.png\r\n".encode("utf-16"),
    "letters in two parts": unicodedata.normalize("NFD", 'ä 1.png,"ü, 2.png"\n3.png,4.png\n').encode(),
}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES.keys())
def test_tables_of_spreadsheets_and_systems(text: bytes, form: Literal["NFC", "NFD"], tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, name) for name in ("ä 1.png", "ü, 2.png", "3.png", "4.png")]
    pictures(tmp_path, *names)
    scenes = listed_pairs(table(tmp_path, text))
    assert [shot for scene in scenes for shot in scene.shots] == [tmp_path / name for name in names]


def test_names_match_in_any_unicode_form(tmp_path: Path) -> None:
    composed, parts = "é.png", unicodedata.normalize("NFD", "é.png")
    a, b = pictures(tmp_path / "a", composed, "1.png"), pictures(tmp_path / "b", parts, "1.png")
    assert [scene.shots for scene in paired_folders(a, b)] == [(a / "1.png", b / "1.png"), (a / composed, b / parts)]
    both = pictures(tmp_path / "c", composed, parts, "1.png")
    error = error_of(DataError, lambda: paired_folders(a, both))
    assert error.message.endswith(f"do not hold the same pictures: `{a / parts}` is missing")
    other = pictures(tmp_path / "d", composed, parts, "1.png")
    scenes = paired_folders(both, other)
    assert all(len({shot_file(shot).name for shot in scene.shots}) == 1 for scene in scenes)


def test_all_wrong_rows_are_named(tmp_path: Path) -> None:
    path = table(tmp_path, "a.png,b.png\nc.png\nd.png,e.png,f.png\ng.png,\n./h.png,h.png\ni\0.png,j.png\n")
    error = error_of(DataError, lambda: listed_pairs(path))
    assert error.message == (
        f"`{path}` is not a table of pairs: row 2 has 1 names; row 3 has 3 names; row 4 has 1 names; "
        "row 5 names the same picture twice; row 6 has an impossible file name"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no pairs"),
        ("first,second\n", "holds no pairs"),
        (b"\xff,\x00", "is not a table of pairs: 'utf-8' codec"),
        ('"a.png,b.png\n', "is not a table of pairs: unexpected end of data"),
    ],
)
def test_file_that_is_no_table_is_refused(text: str | bytes, message: str, tmp_path: Path) -> None:
    assert message in error_of(DataError, lambda: listed_pairs(table(tmp_path, text))).message


def test_missing_table_folder_or_long_file_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "no.csv"
    assert error_of(DataError, lambda: listed_pairs(missing)).message == f"there is no table of pairs `{missing}`"
    assert "is a folder, not a table" in error_of(DataError, lambda: listed_pairs(tmp_path)).message
    long = table(tmp_path, "a.png,b.png")
    os.truncate(long, 100_000_001)
    assert "is too long" in error_of(DataError, lambda: listed_pairs(long)).message


# Bursts and single pictures


def test_burst_has_all_ordered_pairs_of_a_folder(tmp_path: Path) -> None:
    pictures(tmp_path / "b", "1.png", "2.png", "3.png")
    pictures(tmp_path / "a", "y.png", "x.png", "log.txt")
    pictures(tmp_path / ".hidden", "1.png")
    pictures(tmp_path, "cover.png")
    first, second = bursts(tmp_path)
    assert first == Scene("a", (tmp_path / "a/x.png", tmp_path / "a/y.png"), ((0, 1), (1, 0)))
    assert second.pairs == ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))
    assert second.targets(1) == (0, 2)


def test_folders_that_are_no_burst_are_named(tmp_path: Path) -> None:
    pictures(tmp_path / "a", "1.png")
    pictures(tmp_path / "b", "1.png", "2.png")
    pictures(tmp_path / "c")
    error = error_of(DataError, lambda: bursts(tmp_path))
    assert error.message == (
        f"`{tmp_path}` does not hold bursts: the folder `{tmp_path}/a` holds one shot; "
        f"the folder `{tmp_path}/c` holds no pictures"
    )


def test_folder_without_bursts_is_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png")
    assert error_of(DataError, lambda: bursts(tmp_path)).message == f"`{tmp_path}` holds no folders of shots"
    assert "there is no folder" in error_of(DataError, lambda: bursts(tmp_path / "x")).message


def test_single_pictures_are_scenes_of_one_shot(tmp_path: Path) -> None:
    pictures(tmp_path, "2.png", "1.png")
    assert single_pictures(tmp_path) == [Scene(name, (tmp_path / name,)) for name in ("1.png", "2.png")]


# Stacks


def stack(path: Path, shape: tuple[int, ...], axes: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pages = np.arange(np.prod(shape), dtype=np.uint16).reshape(*shape, 1, 1) + np.zeros((4, 5), np.uint16)
    tifffile.imwrite(path, pages, ome=True, metadata={"axes": axes}, photometric="minisblack")
    return path


def test_pages_of_a_stack_are_a_burst(tmp_path: Path) -> None:
    pictures(tmp_path / "a", "1.png", "2.png")
    path = stack(tmp_path / "movie.tif", (3,), "TYX")
    pictures(tmp_path, "cover.png")
    stack(tmp_path / "cover.tif", (1,), "TYX")
    one, other = bursts(tmp_path)
    assert one.name == "a"
    assert other == Scene(
        "movie.tif", tuple(StackPage(path, i) for i in range(3)), ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))
    )
    assert bursts(path) == [other]
    assert str(other.shots[2]) == f"{path}, page 3"


def test_depths_and_channels_of_a_stack_are_separate_scenes(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif", (2, 3, 2), "TZCYX")
    found = {scene.name: scene.shots for scene in bursts(tmp_path)}
    assert list(found) == [f"a.tif, Z {z}, C {c}" for z in (1, 2, 3) for c in (1, 2)]
    assert found["a.tif, Z 2, C 1"] == (StackPage(path, 2), StackPage(path, 8))


def test_stacks_of_a_folder_are_shots_of_each_plane(tmp_path: Path) -> None:
    paths = [stack(tmp_path / "cell" / f"{i}.tif", (3,), "ZYX") for i in range(2)]
    found = {scene.name: scene.shots for scene in bursts(tmp_path)}
    assert found["cell, Z 3"] == tuple(StackPage(path, 2) for path in paths)
    assert len(found) == 3


def test_stack_without_time_is_refused(tmp_path: Path) -> None:
    path = stack(tmp_path / "z.tif", (3,), "ZYX")
    message = f"`{tmp_path}` does not hold bursts: `{path}` holds one shot of each of 3 planes"
    assert error_of(DataError, lambda: bursts(tmp_path)).message == message


def test_long_burst_pairs_nearby_shots(tmp_path: Path) -> None:
    (scene,) = bursts(stack(tmp_path / "long.tif", (200,), "TYX"))
    assert len(scene.pairs) == len(set(scene.pairs)) == 10_000
    assert {min((i - j) % 200, (j - i) % 200) for i, j in scene.pairs} == set(range(1, 26))


def test_pages_are_single_pictures(tmp_path: Path) -> None:
    path = stack(tmp_path / "z.tif", (3,), "ZYX")
    assert [scene.shots for scene in single_pictures(tmp_path)] == [(StackPage(path, i),) for i in range(3)]
