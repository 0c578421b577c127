"""Lists of shots by scene: from folders, a table of pairs, bursts, single shots."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from n2n_cli.data.folders import entries, find_file, image_files, matched, subfolders
from n2n_cli.data.stack_shots import Shot, views_of
from n2n_cli.errors import DataError, ImageError
from n2n_cli.images import FORMATS, PAGED_FORMATS, ending_of, has_ending
from n2n_cli.nn.functional import Pair

MAX_TABLE = 100_000_000
"""Maximum size of a table of pairs, in bytes."""

_MOST_PAIRS = 10_000
"""Maximum number of pairs of a burst: all pairs of a hundred shots."""
_SEPARATORS = (",", ";", "\t")
"""Separators of the columns of a table; the first one wins if several fit equally."""
_TABLE = "a row of a table of pairs is two file names, `first.png,second.png`, relative to the table's folder"


@dataclass(frozen=True)
class Scene:
    """Shots of one scene.

    Attributes
    ----------
    name : str
        Name of the scene in messages.
    shots : tuple of Shot
        Picture files, or pages of stacks.
    pairs : tuple of (int, int)
        Training pairs: the number of the shot to denoise, and of its target. Empty for a scene of one shot.
    """

    name: str
    shots: tuple[Shot, ...]
    pairs: tuple[Pair, ...] = ()

    def targets(self, shot: int) -> tuple[int, ...]:
        """Numbers of the shots that are targets of a shot."""
        return tuple(target for source, target in self.pairs if source == shot)


def paired_folders(first: Path, second: Path) -> list[Scene]:
    """Make a scene for every file name of two folders: shots to denoise, and targets.

    Raises
    ------
    DataError
        When a folder cannot be read, or pictures are in only one of them; the message lists these.
    """
    if os.path.realpath(first) == os.path.realpath(second):
        raise DataError(
            f"`{first}` and `{second}` are the same folder: a picture cannot be its own second shot",
            hint="two folders, each with a shot of every scene, or `--single-image` with one",
        )
    pairs, alone, others_alone = matched(image_files(first), image_files(second))
    lonely = [f"`{second / path.name}` is missing" for path in alone]
    lonely += [f"`{first / path.name}` is missing" for path in others_alone]
    if lonely:
        raise DataError(
            f"`{first}` and `{second}` do not hold the same pictures: " + "; ".join(lonely),
            hint="give the two shots of a scene the same file name, or list them in a table: `--pairs pairs.csv`",
        )
    return [Scene(one.name, (one, other), ((0, 1),)) for one, other in pairs]


def listed_pairs(table: Path) -> list[Scene]:
    """Read pairs from a table of two columns: the picture to denoise and its target.

    Paths are relative to the table; a first row without pictures is a heading. Pairs that share a picture form one
    scene. The columns are separated by commas, semicolons or tabs, and the text is UTF-8, UTF-16 or Windows-1252, as
    spreadsheets write it in different countries.

    Raises
    ------
    DataError
        When the table cannot be read, holds no pair, or has wrong rows; the message lists these.
    """
    pairs: list[tuple[Path, Path]] = []
    problems: list[str] = []
    for number, row in _rows(table):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        named = [has_ending(cell) for cell in cells]
        if number == 1 and not any(named):
            continue
        if len(cells) != 2 or not all(cells):
            problems.append(f"row {number} has {len([cell for cell in cells if cell])} names")
            continue
        if any("\0" in cell for cell in cells):
            problems.append(f"row {number} has an impossible file name")
            continue
        one, other = (find_file(table.parent, cell) for cell in cells)
        if os.path.realpath(one) == os.path.realpath(other):
            problems.append(f"row {number} names the same picture twice")
            continue
        pairs.append((one, other))
    if problems:
        raise DataError(f"`{table}` is not a table of pairs: " + "; ".join(problems), hint=_TABLE)
    if not pairs:
        raise DataError(f"`{table}` holds no pairs", hint=_TABLE)
    return _grouped(pairs)


def bursts(source: Path) -> list[Scene]:
    """Make a scene for every subfolder of shots and every stack.

    The pairs of a scene are ordered pairs of different shots. The shots of a stack are its pages along time; each depth
    and each channel is a separate scene. A subfolder may hold stacks, too. Single pictures beside the subfolders are
    not used.

    Parameters
    ----------
    source : path
        A folder, or a stack.

    Raises
    ------
    DataError
        When there is no subfolder and no stack, or some of them cannot be read or do not hold two shots; the message
        lists these.
    """
    scenes, problems = [], []
    for place in burst_places(source):
        try:
            views = views_of(image_files(place) if place.is_dir() else [place])
        except (DataError, ImageError) as error:
            problems.append(error.message)
            continue
        if place != source and not place.is_dir() and sum(map(len, views.values())) == 1:
            continue
        few = [view for view, shots in views.items() if len(shots) < 2]
        if few:
            which = "" if few == [""] else f" of {few[0]}" if len(few) == 1 else f" of each of {len(few)} planes"
            problems.append(f"{'the folder ' * place.is_dir()}`{place}` holds one shot{which}")
            continue
        for view, shots in views.items():
            scenes.append(Scene(f"{place.name}, {view}" if view else place.name, tuple(shots), _all_pairs(len(shots))))
    hint = "bursts are a folder with a folder or a stack (TIFF) for every scene, each with two or more shots of it"
    if problems:
        raise DataError(f"`{source}` does not hold bursts: " + "; ".join(problems), hint=hint)
    if not scenes:
        raise DataError(f"`{source}` holds no folders of shots", hint=hint)
    return scenes


def burst_places(source: Path) -> list[Path]:
    """List the places of bursts: subfolders, then possible stacks.

    A source that is a file is its only place.

    Raises
    ------
    DataError
        When the folder does not exist or cannot be read.
    """
    if source.is_file():
        return [source]
    files = [path for path in entries(source) if FORMATS.get(ending_of(path)) in PAGED_FORMATS]
    return subfolders(source) + [path for path in files if not path.name.startswith(".") and path.is_file()]


def _all_pairs(count: int) -> tuple[Pair, ...]:
    """List ordered pairs of different shots, near each other in a long burst.

    The last shots of a long burst are paired with the first ones, too.
    """
    if count * (count - 1) <= _MOST_PAIRS:
        return tuple(itertools.permutations(range(count), 2))
    near = range(1, max(1, _MOST_PAIRS // (2 * count)) + 1)
    return tuple((shot, (shot + step) % count) for shot in range(count) for gap in near for step in (gap, -gap))


def single_pictures(folder: Path) -> list[Scene]:
    """Make a scene of one shot for every picture and every stack page of a folder.

    Raises
    ------
    DataError
        When the folder cannot be read, or holds no picture.
    """
    scenes = []
    for path in image_files(folder):
        try:
            shots = [shot for view in views_of([path]).values() for shot in view]
        except ImageError:  # reported with all other problems when the file is read for use
            shots = [path]
        scenes += [Scene(path.name, (shot,)) for shot in shots]
    return scenes


def _rows(table: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        if table.is_dir():
            raise DataError(
                f"`{table}` is a folder, not a table of pairs", hint="name the second folder, too: `--pairs A B`"
            )
        if table.stat().st_size > MAX_TABLE:
            raise DataError(f"`{table}` is too long: a table of pairs has at most {MAX_TABLE:,} bytes", hint=_TABLE)
        text = _text(table.read_bytes())
        reader = _reader(text, max(_SEPARATORS, key=lambda separator: _pairs_by(text, separator)))
        yield from ((reader.line_num, row) for row in reader)
    except FileNotFoundError:
        raise DataError(f"there is no table of pairs `{table}`", hint=_TABLE) from None
    except OSError as error:
        raise DataError(f"the table of pairs `{table}` cannot be read: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"`{table}` is not a table of pairs: {error}", hint=_TABLE) from None


def _text(data: bytes) -> str:
    """Decode the text of a table, whose encoding is unknown."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in data:
            raise
        with suppress(UnicodeDecodeError):
            return data.decode("cp1252")
        raise error from None


def _reader(text: str, separator: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)


def _pairs_by(text: str, separator: str) -> int:
    """Count the rows that have two cells with this separator."""
    count = 0
    with suppress(csv.Error):
        for row in _reader(text, separator):
            count += len(row) == 2
    return count


def _grouped(pairs: list[tuple[Path, Path]]) -> list[Scene]:
    """Group pairs that share a picture into scenes, in the order of their first pairs."""
    keys = [(os.path.realpath(one), os.path.realpath(other)) for one, other in pairs]
    above = {key: key for key in itertools.chain(*keys)}  # union-find: a forest whose trees are the scenes

    def root(key: str) -> str:
        while above[key] != key:
            above[key] = above[above[key]]
            key = above[key]
        return key

    for one, other in keys:
        above[root(other)] = root(one)
    groups: dict[str, list[int]] = {}
    for i, (one, _) in enumerate(keys):
        groups.setdefault(root(one), []).append(i)
    scenes = []
    for members in groups.values():
        shots = {key: path for i in members for key, path in zip(keys[i], pairs[i], strict=True)}
        number = {key: i for i, key in enumerate(shots)}
        numbered = dict.fromkeys((number[keys[i][0]], number[keys[i][1]]) for i in members)
        paths = tuple(shots.values())
        scenes.append(Scene(paths[0].name, paths, tuple(numbered)))
    return scenes
